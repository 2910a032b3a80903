import testing from "./testing.js";

export default testing;
export const { Fake } = testing;
