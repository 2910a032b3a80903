import * as sqs from "./sqs.js";

export * from "./sqs.js";
export default sqs;
