// An order pipeline behind an SQS queue: every message writes an order, its item's stock and a ledger entry.
//
// The stock is read, computed and written. Messages of one item must therefore not be worked on at the same time (by default, AFT does
// not prevent lost updates): a FIFO queue with the item as the message group does that.

import { call, process } from "./aft-batch.mjs";
import { Run } from "./faults.mjs";

/** Three writes that belong together. Fails on request, between them. */
async function work(record, aft) {
  const order = JSON.parse(record.body);
  const run = new Run(record.messageId);
  const { order: name, item, amount } = order;
  const before = (await aft.get(`stock/${item}`)) ?? { sold: 0, orders: [] };
  const stock = { sold: before.sold + amount, orders: [...before.orders, name] };

  await aft.put(`order/${name}`, { item, amount, state: "paid", run: run.number });
  run.failIfAsked(order, 1);
  await aft.put(`stock/${item}`, stock);
  run.failIfAsked(order, 2);
  await aft.put(`ledger/${name}`, { amount, sold: stock.sold, run: run.number });
  run.failIfAsked(order, 3);
  return { order: name, run: run.number };
}

export async function handler(event) {
  if (!event.audit) return process(event, work);
  // In the invocation's own transaction.
  const found = {};
  for (const key of event.audit) found[key] = await call("GET", `/v1/kv/${key}`, { absent: 404 });
  return found;
}
