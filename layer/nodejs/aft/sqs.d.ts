import type { Transaction } from "./index.js";

/** What this module looks at of a message; SQSRecord of @types/aws-lambda is one. */
export interface Message {
  messageId: string;
  body: string;
  eventSourceARN: string;
}

export interface BatchResponse {
  batchItemFailures: { itemIdentifier: string }[];
}

/**
 * Does the work of every message that has not committed before; resolves to those that failed. A message whose work rejected is
 * logged, and delivered again. On a FIFO queue what follows it is not begun, and delivered again, too.
 */
export declare function process<M extends Message>(
  event: { Records: M[] },
  work: (record: M, tx: Transaction) => unknown,
): Promise<BatchResponse>;
