// A shop's checkout behind an HTTP API (payload format 2.0):
//
//   PUT /stock/{sku}        {"left": 10, "price": 250}
//   PUT /coupons/{code}     {"off": 100}
//   POST /orders            {"items": [{"sku": "apple", "quantity": 2}], "coupon": "WELCOME"}, with an Idempotency-Key
//   GET /orders/{id}
//
// Every request is one transaction. A checkout takes each item from the stock, uses the coupon up and makes the order, with an ID that
// is drawn anew each time the handler runs; under one Idempotency-Key it happens once, and every delivery gets the one response.

import { randomUUID } from "node:crypto";
import aft from "aft";

/** A request that is not served. Nothing was written, so the same key may try again. */
class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

const respond = (statusCode, body, headers = {}) => ({
  statusCode,
  headers: { "content-type": "application/json", ...headers },
  body: JSON.stringify(body),
});

function parsed({ body = "", isBase64Encoded }) {
  try {
    return JSON.parse(isBase64Encoded ? Buffer.from(body, "base64") : body);
  } catch {
    throw new Refused(400, "the body is not JSON");
  }
}

function wanted(event) {
  if (!event.headers["idempotency-key"]) throw new Refused(400, "an order needs an Idempotency-Key");
  const { items, coupon } = parsed(event);
  const isItem = ({ sku, quantity }) => typeof sku === "string" && Number.isInteger(quantity) && quantity > 0;
  const isList = Array.isArray(items) && items.length > 0 && items.every(isItem);
  if (!isList || new Set(items.map(({ sku }) => sku)).size < items.length) {
    throw new Refused(400, "items are a list of SKUs, each once, with quantities");
  }
  return { items, coupon };
}

async function checkOut(event) {
  const { items, coupon } = wanted(event);
  const found = await aft.getMany([...items.map(({ sku }) => `stock/${sku}`), ...(coupon ? [`coupon/${coupon}`] : [])]);
  const id = randomUUID();
  let total = 0;
  for (const { sku, quantity } of items) {
    const stock = found.get(`stock/${sku}`);
    if (!stock) throw new Refused(404, `there is no ${sku}`);
    if (stock.left < quantity) throw new Refused(409, `there are only ${stock.left} of ${sku}`);
    total += stock.price * quantity;
    await aft.put(`stock/${sku}`, { ...stock, left: stock.left - quantity });
  }
  if (coupon) {
    const value = found.get(`coupon/${coupon}`);
    if (!value) throw new Refused(404, `there is no coupon ${coupon}`);
    if (value.usedBy) throw new Refused(409, `the coupon ${coupon} is used up`);
    total = Math.max(0, total - value.off);
    await aft.put(`coupon/${coupon}`, { ...value, usedBy: id });
  }
  const order = { id, items, coupon, total };
  await aft.put(`order/${id}`, order);
  return respond(201, order, { location: `/orders/${id}` });
}

async function show(id) {
  const order = await aft.get(`order/${id}`);
  if (!order) throw new Refused(404, `there is no order ${id}`);
  return respond(200, order);
}

async function keep(key, value) {
  await aft.put(key, value);
  return respond(200, value);
}

async function serve(event) {
  switch (event.routeKey) {
    case "POST /orders":
      return checkOut(event);
    case "GET /orders/{id}":
      return show(event.pathParameters.id);
    case "PUT /stock/{sku}":
      return keep(`stock/${event.pathParameters.sku}`, parsed(event));
    case "PUT /coupons/{code}":
      return keep(`coupon/${event.pathParameters.code}`, parsed(event));
    default:
      throw new Refused(404, `there is no ${event.routeKey}`);
  }
}

export async function handler(event) {
  try {
    return await serve(event);
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    // An answer that leaves nothing behind, whatever was written on the way to it.
    await aft.abort();
    return respond(error.status, { message: error.message });
  }
}
