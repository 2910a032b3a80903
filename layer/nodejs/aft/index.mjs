// The CommonJS module under ES names: there is one implementation, and one state.

import aft from "./index.js";

export default aft;
export const { get, getItem, getMany, put, putMany, current, abort, transaction } = aft;
export const { Transaction, AftError, Conflict, PreconditionFailed } = aft;
const { delete: remove } = aft;
export { remove as delete };
