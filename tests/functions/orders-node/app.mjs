// What examples/orders does with an order, in Node.js: for the tests of aft/sqs behind a queue.

import { process } from "aft/sqs";

async function work(record, tx) {
  const { restock, order, item, quantity } = JSON.parse(record.body);
  if (restock) {
    const { left } = await tx.get(`stock/${restock}`, { default: { left: 0 } });
    return tx.put(`stock/${restock}`, { left: left + quantity });
  }
  const stock = await tx.get(`stock/${item}`);
  if (!stock) throw new Error(`there was never any ${item}`);
  const left = stock.left - quantity;
  await tx.put(`order/${order}`, { item, quantity, state: "accepted" });
  await tx.put(`stock/${item}`, { left });
  await tx.put(`shipment/${order}`, { item, quantity, left });
}

export const handler = (event) => process(event, work);
