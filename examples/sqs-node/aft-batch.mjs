// Exactly once for every message of an SQS batch: each one in an explicit transaction of AFT, named by its message ID.
//
//     import { process } from "./aft-batch.mjs";
//
//     export const handler = (event) =>
//       process(event, async (record, aft) => {
//         await aft.put("order/17", { state: "paid" }); // with all else that the message writes, or not at all
//       });
//
// Turn on partial batch responses for the event source (FunctionResponseTypes: ReportBatchItemFailures). No dependencies.

const { AFT_ENDPOINT, AFT_TOKEN } = globalThis.process.env;

/** Calls work(record, aft) for every message that has not committed before; answers with those that failed. */
export async function process(event, work) {
  const records = event.Records;
  let failed = [];
  for (const [position, record] of records.entries()) {
    try {
      await once(record.messageId, record.body, (aft) => work(record, aft));
    } catch (error) {
      console.error(`message ${record.messageId} is to be delivered again: ${error}`);
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

/** Does the work of a key in a transaction of its own, unless it has committed before; returns the recorded response. */
export async function once(key, payload, work) {
  const begun = await call("POST", "/v1/transactions", { body: JSON.stringify({ key, payload }) });
  if (begun.state === "committed") return recorded(begun);
  const aft = new Transaction(begun);
  let response;
  try {
    response = await work(aft);
  } catch (error) {
    // Should this fail, too: it ends with the invocation at the latest.
    await aft.abort().catch(() => {});
    throw error;
  }
  return aft.commit(response);
}

/** An open explicit transaction, with documents as values. */
class Transaction {
  constructor({ transaction, attempt }) {
    this.path = `/v1/transactions/${transaction}`;
    // The attempt's number keeps out what an earlier attempt left running.
    this.headers = { "X-Aft-Transaction": transaction, "X-Aft-Attempt": String(attempt) };
  }

  get(key) {
    return call("GET", `/v1/kv/${encodeURIComponent(key)}`, { headers: this.headers, absent: 404 });
  }

  put(key, document) {
    return call("PUT", `/v1/kv/${encodeURIComponent(key)}`, { headers: this.headers, body: JSON.stringify(document) });
  }

  delete(key) {
    return call("DELETE", `/v1/kv/${encodeURIComponent(key)}`, { headers: this.headers });
  }

  /** Resolves to the recorded response: another delivery may have committed meanwhile. */
  async commit(response = null) {
    const ended = await call("POST", `${this.path}:commit`, { headers: this.headers, body: JSON.stringify(response) });
    return ended.state === "duplicate" ? recorded(ended) : response;
  }

  abort() {
    return call("POST", `${this.path}:abort`, { headers: this.headers });
  }
}

/** One request; null for an empty answer and for the status `absent`. A problem document is thrown; its code is stable. */
export async function call(method, path, { headers = {}, body, absent } = {}) {
  const token = { "X-Aft-Token": AFT_TOKEN ?? "", "Content-Type": "application/json" };
  const answer = await fetch(AFT_ENDPOINT + path, { method, body, headers: { ...token, ...headers } });
  const text = await answer.text();
  if (answer.status === absent) return null;
  if (!answer.ok) {
    const problem = JSON.parse(text);
    throw Object.assign(new Error(`${problem.code}: ${problem.detail}`), { code: problem.code });
  }
  return text === "" ? null : JSON.parse(text);
}

/** What commit() was given, then. */
function recorded({ response, responseBase64 }) {
  const text = response ?? Buffer.from(responseBase64, "base64").toString();
  return text === "" ? null : JSON.parse(text);
}
