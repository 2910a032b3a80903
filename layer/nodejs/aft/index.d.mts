import * as aft from "./index.js";

export * from "./index.js";
export default aft;
