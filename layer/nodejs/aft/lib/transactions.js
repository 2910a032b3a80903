// Reads and writes, of the invocation's own transaction or of one that the handler names. What each does is said in index.d.ts.

"use strict";

const { ask } = require("./endpoint.js");
const { AftError } = require("./errors.js");
const values = require("./values.js");

const { JSON_TYPE, bytesOf, decode, document, encode, textOrBase64 } = values;
const JSON_HEADERS = { "Content-Type": JSON_TYPE };

class Keys {
  #headers;

  constructor(headers) {
    this.#headers = headers;
  }

  async get(key, { default: otherwise, maxAge } = {}) {
    const item = await this.getItem(key, { maxAge });
    return item === undefined ? otherwise : item.value;
  }

  async getItem(key, { maxAge } = {}) {
    try {
      const { body, contentType, etag } = await this.#ask("GET", path(key), freshness(maxAge));
      return { value: decode(body, contentType), version: etag.replaceAll('"', ""), contentType };
    } catch (error) {
      if (error.code === "key-not-found") return undefined;
      throw error;
    }
  }

  async getMany(keys, { maxAge } = {}) {
    const found = new Map();
    const headers = { ...JSON_HEADERS, ...freshness(maxAge) };
    for (const some of batches([...keys].map(checked))) {
      const { body } = await this.#ask("POST", "/v1/kv:batchGet", headers, batch({ keys: some }));
      for (const item of JSON.parse(body).items) {
        if (item.found) found.set(item.key, decode(bytesOf("value", item), item.contentType));
      }
    }
    return found;
  }

  async put(key, value, { contentType, ifVersion, ifAbsent } = {}) {
    const encoded = encode(value, contentType);
    const headers = { "Content-Type": encoded.contentType, ...condition(ifVersion, ifAbsent) };
    await this.#ask("PUT", path(key), headers, encoded.body);
  }

  async putMany(values, { delete: deleted = [] } = {}) {
    const writes = new Map();
    for (const [key, value] of values instanceof Map ? values : Object.entries(values)) {
      const { body, contentType } = encode(value);
      writes.set(checked(key), { key, contentType, ...textOrBase64("value", body) });
    }
    for (const key of new Set(deleted)) {
      if (writes.has(checked(key))) throw new TypeError(`${JSON.stringify(key)} is to be put and to be deleted`);
      writes.set(key, { key, delete: true });
    }
    const bodies = batches([...writes.values()]).map((some) => batch({ writes: some }));
    for (const body of bodies) await this.#ask("POST", "/v1/kv:batchWrite", JSON_HEADERS, body);
  }

  async delete(key, { ifVersion } = {}) {
    await this.#ask("DELETE", path(key), condition(ifVersion));
  }

  async current() {
    const { body } = await this.#ask("GET", "/v1/transaction");
    const { transaction: id, ...stands } = JSON.parse(body);
    return { id, ...stands };
  }

  #ask(method, path, headers = {}, body = undefined) {
    // A condition that held does not hold any more once its write is buffered.
    const isRepeatable = !("If-Match" in headers || "If-None-Match" in headers);
    return ask({ method, path, headers: { ...this.#headers, ...headers }, body, isRepeatable });
  }
}

/** A transaction of its own within an invocation. */
class Transaction extends Keys {
  constructor(id, attempt) {
    super(named(id, attempt));
    this.id = id;
  }
}

function named(id, attempt) {
  // The attempt's number keeps out what an earlier attempt left running.
  return { "X-Aft-Transaction": id, "X-Aft-Attempt": String(attempt) };
}

async function abort() {
  await ask({ method: "POST", path: "/v1/transaction:abort", headers: {}, isRepeatable: false });
}

async function transaction(key, work, { payload, scope, isolation } = {}) {
  const wanted = { key: checked(key), scope, isolation };
  if (payload !== undefined) {
    const isBytes = payload instanceof Uint8Array;
    const text = () => (typeof payload === "string" ? Buffer.from(payload) : document(payload, { sortKeys: true }));
    Object.assign(wanted, textOrBase64("payload", isBytes ? values.bytes(payload) : text()));
  }
  const post = async (path, body, headers) => {
    const answer = await ask({ method: "POST", path, headers: { ...JSON_HEADERS, ...headers }, body, isRepeatable: false });
    return answer.body.length > 0 ? JSON.parse(answer.body) : undefined;
  };
  const begun = await post("/v1/transactions", batch(wanted));
  if (begun.state === "committed") return recorded(begun);
  const { transaction: id, attempt } = begun;
  const end = (how, body) => post(`/v1/transactions/${id}:${how}`, body, named(id, attempt));
  try {
    const response = document((await work(new Transaction(id, attempt))) ?? null);
    if (response.length > values.RESPONSE_BYTES) {
      const size = `the response has ${response.length} bytes; at most ${values.RESPONSE_BYTES} are allowed`;
      throw new AftError("response-too-large", size, 413);
    }
    const ended = await end("commit", response);
    // Another delivery may have committed meanwhile.
    return ended.state === "duplicate" ? recorded(ended) : JSON.parse(response);
  } catch (error) {
    // Should this fail, too: it ends with the invocation at the latest.
    await end("abort").catch(() => {});
    throw error;
  }
}

function recorded(ended) {
  return decode(bytesOf("response", ended), ended.contentType);
}

function path(key) {
  return `/v1/kv/${encodeURIComponent(checked(key))}`;
}

function checked(key) {
  if (typeof key !== "string") throw new TypeError(`a key is a string; this one is ${typeof key}`);
  // Throws a URIError for half of a surrogate pair, which is no text.
  encodeURIComponent(key);
  return key;
}

function batches(all) {
  const count = Math.ceil(all.length / values.BATCH_KEYS);
  return Array.from({ length: count }, (_, at) => all.slice(at * values.BATCH_KEYS, (at + 1) * values.BATCH_KEYS));
}

function batch(wanted) {
  const body = document(wanted);
  if (body.length > values.BATCH_BODY_BYTES) {
    const size = `the request has ${body.length} bytes; at most ${values.BATCH_BODY_BYTES} are allowed`;
    throw new AftError("body-too-large", size, 413);
  }
  return body;
}

function freshness(maxAge) {
  if (maxAge === undefined) return {};
  if (!(Number.isFinite(maxAge) && maxAge >= 0)) {
    throw new RangeError(`maxAge is a number of seconds from 0; this one is ${maxAge}`);
  }
  return { "Cache-Control": `max-age=${Math.floor(maxAge)}` };
}

function condition(ifVersion, ifAbsent = false) {
  if (ifVersion !== undefined && ifAbsent) throw new TypeError("a write has ifVersion or ifAbsent, not both");
  if (ifAbsent) return { "If-None-Match": "*" };
  if (ifVersion === undefined) return {};
  if (!/^[!#-+\--~]+$/.test(ifVersion)) {
    throw new TypeError(`ifVersion is what getItem gave as version; this one is ${JSON.stringify(ifVersion)}`);
  }
  return { "If-Match": `"${ifVersion}"` };
}

module.exports = { Keys, Transaction, abort, transaction };
