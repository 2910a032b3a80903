// The checkout without Lambda, network and AFT's processes: npm install --no-save ../../layer/nodejs/aft && node --test

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { Fake } from "aft/testing";
import { handler } from "./app.mjs";

const order = JSON.parse(await readFile(new URL("events/order.json", import.meta.url)));
const shop = { "stock/apple": { left: 10, price: 250 }, "coupon/WELCOME": { off: 100 } };

const withShop = (work) => async () => {
  const fake = new Fake(shop, { isolation: "serializable" });
  try {
    await work(fake);
  } finally {
    fake.close();
  }
};

test(
  "an order takes from the stock and uses the coupon up",
  withShop(async (fake) => {
    const { statusCode, body } = await fake.invoke(handler, order);
    const made = JSON.parse(body);
    assert.deepEqual([statusCode, made.total], [201, 400]);
    assert.deepEqual(fake.data, {
      "stock/apple": { left: 8, price: 250 },
      "coupon/WELCOME": { off: 100, usedBy: made.id },
      [`order/${made.id}`]: made,
    });
  }),
);

test(
  "what is refused leaves nothing behind",
  withShop(async (fake) => {
    const items = [{ sku: "apple", quantity: 1 }];
    for (const [body, status] of [
      ["{", 400],
      [JSON.stringify({ items: [] }), 400],
      [JSON.stringify({ items: [...items, { sku: "pear", quantity: 1 }] }), 404],
      [JSON.stringify({ items: [{ sku: "apple", quantity: 11 }] }), 409],
    ]) {
      const { statusCode } = await fake.invoke(handler, { ...order, body });
      assert.equal(statusCode, status);
    }
    assert.deepEqual(fake.data, shop);
  }),
);
