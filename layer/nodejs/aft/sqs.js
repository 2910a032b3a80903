// Exactly once for every message of an SQS batch: each in a transaction of its own, named by its message ID.
//
//     import { process } from "aft/sqs";
//
//     export const handler = (event) =>
//       process(event, async (record, tx) => {
//         await tx.put("order/17", { state: "paid" }); // with all else that the message writes, or not at all
//       });
//
// Turn on partial batch responses for the event source (FunctionResponseTypes: ReportBatchItemFailures).

"use strict";

const { transaction } = require("./lib/transactions.js");

async function process(event, work) {
  const records = event.Records;
  let failed = [];
  for (const [position, record] of records.entries()) {
    try {
      await transaction(record.messageId, (tx) => work(record, tx), { payload: record.body });
    } catch (error) {
      console.error(`message ${record.messageId} is to be delivered again:`, error);
      if (record.eventSourceARN.endsWith(".fifo")) {
        // What follows a failed message must not overtake it.
        failed = records.slice(position);
        break;
      }
      failed.push(record);
    }
  }
  return { batchItemFailures: failed.map((record) => ({ itemIdentifier: record.messageId })) };
}

module.exports = { process };
