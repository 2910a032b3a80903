// The checkout without AFT, as one would write it first: atomic updates on conditions, which are taken back if a later one fails, and the
// response kept under the Idempotency-Key for whoever asks again.
//
// Every single write is right. What is between two of them is not: see ../README.md.

import { randomUUID } from "node:crypto";
import { DynamoDBClient } from "@aws-sdk/client-dynamodb";
import { DynamoDBDocumentClient, GetCommand, PutCommand, UpdateCommand } from "@aws-sdk/lib-dynamodb";

const database = DynamoDBDocumentClient.from(new DynamoDBClient(), { marshallOptions: { removeUndefinedValues: true } });
const TableName = process.env.TABLE;

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

async function get(pk) {
  const { Item } = await database.send(new GetCommand({ TableName, Key: { pk }, ConsistentRead: true }));
  return Item;
}

const put = (Item) => database.send(new PutCommand({ TableName, Item }));

/** One atomic update on a condition; whether it held. */
async function update(pk, expression, condition, values) {
  try {
    await database.send(
      new UpdateCommand({
        TableName,
        Key: { pk },
        UpdateExpression: expression,
        ConditionExpression: condition,
        ExpressionAttributeNames: expression.includes("#left") ? { "#left": "left" } : undefined,
        ExpressionAttributeValues: values,
      }),
    );
    return true;
  } catch (error) {
    if (error.name === "ConditionalCheckFailedException") return false;
    throw error;
  }
}

async function checkOut({ items, coupon }) {
  const id = randomUUID();
  const taken = [];
  try {
    let total = 0;
    for (const { sku, quantity } of items) {
      const stock = await get(`stock/${sku}`);
      if (!stock) throw new Refused(404, `there is no ${sku}`);
      const values = { ":quantity": quantity };
      const isTaken = await update(`stock/${sku}`, "SET #left = #left - :quantity", "#left >= :quantity", values);
      if (!isTaken) throw new Refused(409, `there are not so many of ${sku}`);
      taken.push({ sku, quantity });
      total += stock.price * quantity;
    }
    if (coupon) {
      const value = await get(`coupon/${coupon}`);
      if (!value) throw new Refused(404, `there is no coupon ${coupon}`);
      const isUsed = await update(`coupon/${coupon}`, "SET usedBy = :id", "attribute_not_exists(usedBy)", { ":id": id });
      if (!isUsed) throw new Refused(409, `the coupon ${coupon} is used up`);
      total = Math.max(0, total - value.off);
    }
    const order = { id, items, coupon, total };
    await put({ pk: `order/${id}`, ...order });
    return respond(201, order, { location: `/orders/${id}` });
  } catch (error) {
    for (const { sku, quantity } of taken) {
      await update(`stock/${sku}`, "SET #left = #left + :quantity", "attribute_exists(pk)", { ":quantity": quantity });
    }
    throw error;
  }
}

async function once(event) {
  const key = event.headers["idempotency-key"];
  if (!key) throw new Refused(400, "an order needs an Idempotency-Key");
  const kept = await get(`request/${key}`);
  if (kept && kept.body !== event.body) throw new Refused(422, "the key was used with another body");
  if (kept) return kept.response;
  const response = await checkOut(parsed(event));
  await put({ pk: `request/${key}`, body: event.body, response });
  return response;
}

async function serve(event) {
  switch (event.routeKey) {
    case "POST /orders":
      return once(event);
    case "PUT /stock/{sku}":
      await put({ pk: `stock/${event.pathParameters.sku}`, ...parsed(event) });
      return respond(200, parsed(event));
    case "PUT /coupons/{code}":
      await put({ pk: `coupon/${event.pathParameters.code}`, ...parsed(event) });
      return respond(200, parsed(event));
    default:
      throw new Refused(404, `there is no ${event.routeKey}`);
  }
}

export async function handler(event) {
  try {
    return await serve(event);
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    return respond(error.status, { message: error.message });
  }
}
