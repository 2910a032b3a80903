import sqs from "./sqs.js";

export default sqs;
export const { process } = sqs;
