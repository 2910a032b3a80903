// Transactions for a Lambda function: what a handler writes through here happens once, whole, or not at all.
//
//     const aft = require("aft"); // or: import aft from "aft"
//
//     exports.handler = async (event) => {
//       const { left } = await aft.get("stock/apple", { default: { left: 0 } });
//       await aft.put("stock/apple", { left: left - 1 });
//       await aft.put("order/17", { state: "paid" }); // both, or neither
//       return "done";                                // released after the commit
//     };
//
// "aft/sqs" is for batches of messages, "aft/testing" for unit tests without Lambda. No dependencies. What everything does is said
// in the .d.ts files.

"use strict";

const { AftError, Conflict, PreconditionFailed } = require("./lib/errors.js");
const { Keys, Transaction, abort, transaction } = require("./lib/transactions.js");

const own = new Keys({});

module.exports = {
  get: own.get.bind(own),
  getItem: own.getItem.bind(own),
  getMany: own.getMany.bind(own),
  put: own.put.bind(own),
  putMany: own.putMany.bind(own),
  delete: own.delete.bind(own),
  current: own.current.bind(own),
  abort,
  transaction,
  Transaction,
  AftError,
  Conflict,
  PreconditionFailed,
};
