// Unit tests of handlers, without Lambda, without network.
//
//     import { Fake } from "aft/testing";
//
//     const fake = new Fake({ "account/ada": { balance: 10 } });
//     const answer = await fake.invoke(handler, { pay: 3 });
//     assert.deepEqual(fake.data, { "account/ada": { balance: 7 } });
//     fake.close();
//
// It answers the requests that the library makes as AFT's extension does, from memory: reads, writes, conditions, isolation, named
// transactions, limits, error codes. What it does not do: it runs a handler once where the layer tries again (a conflict is
// thrown by invoke); its reads are never stale (maxAge); of the 3 MiB that a commit may check or move in one step, it counts only what
// is written.

"use strict";

const { AsyncLocalStorage } = require("node:async_hooks");
const { createHash } = require("node:crypto");
const { Attempt, Committed } = require("./lib/attempt.js");
const { standIns } = require("./lib/endpoint.js");
const { AftError, error } = require("./lib/errors.js");
const { JSON_TYPE, bytesOf, decode, document, encode, textOrBase64 } = require("./lib/values.js");

const KEY_BYTES = 1_024;
const TRANSACTION_KEY_BYTES = 1_024;
const SCOPE_BYTES = 256;
const OPEN_TRANSACTIONS = 64;
const FUNCTION_RESPONSE_BYTES = 6_291_556;

/** What is open in a sandbox: the invocation's own transaction, and named ones by their IDs. */
class Invocation {
  isOver = false;
  named = new Map();

  constructor(own) {
    this.own = own;
  }

  bytesBeside(open) {
    const others = [this.own, ...this.named.values()].filter((other) => other !== open);
    return others.reduce((total, other) => total + other.bufferedBytes, 0);
  }
}

class Fake {
  #isolation;
  #functionName;
  #committed = new Committed();
  /** Commits that were made, by ID: the next delivery of the same request is answered from them. */
  #records = new Map();
  #begun = 0;
  #requests = 0;
  /** Each invocation sees itself, also across awaits. */
  #running = new AsyncLocalStorage();
  #standIn = (request) => this.#answer(request);

  constructor(data = {}, { isolation = "read-atomic", functionName = "function" } = {}) {
    this.#isolation = isolation;
    this.#functionName = functionName;
    this.commit(data);
    standIns.push(this.#standIn);
  }

  close() {
    const at = standIns.indexOf(this.#standIn);
    if (at >= 0) standIns.splice(at, 1);
  }

  get data() {
    return Object.fromEntries(this.#committed.values().map(([key, value]) => [key, decode(value.body, value.contentType)]));
  }

  commit(values = {}, { delete: deleted = [] } = {}) {
    const pairs = values instanceof Map ? [...values] : Object.entries(values);
    const writes = new Map(pairs.map(([key, value]) => [key, encode(value)]));
    for (const key of deleted) writes.set(key, undefined);
    this.#committed.apply(writes);
  }

  async invoke(handler, event, { context, requestId } = {}) {
    if (!standIns.includes(this.#standIn)) throw new Error("this Fake is closed");
    const payload = document(event);
    this.#requests += 1;
    const request = requestId ?? `request-${this.#requests}`;
    const fingerprint = hash(payload);
    const id = hash("request", this.#functionName, request, fingerprint);
    const before = this.#records.get(id);
    if (before !== undefined) return JSON.parse(before.response.body);
    const origin = `${this.#functionName} ${request}`;
    const own = new Attempt(this.#committed, { id, number: 1, origin, isolation: this.#isolation, fingerprint });
    const invocation = new Invocation(own);
    let response;
    try {
      const answered = await this.#running.run(invocation, async () => handler(JSON.parse(payload), context));
      response = document(answered ?? null);
    } finally {
      invocation.isOver = true;
    }
    if (response.length > FUNCTION_RESPONSE_BYTES) {
      const size = `the response has ${response.length} bytes`;
      throw error("response-too-large", `${size}; nothing was written`, 413);
    }
    this.#commitAttempt(own, { body: response, contentType: JSON_TYPE }, { isRecorded: own.writes.size > 0 });
    return JSON.parse(response);
  }

  #commitAttempt(open, response, { isRecorded }) {
    open.check({ isRecorded });
    if (isRecorded) this.#records.set(open.id, { fingerprint: open.fingerprint, response });
    if (open.writes.size > 0) this.#committed.apply(open.writes);
  }

  // What the extension answers.

  #answer(request) {
    try {
      return this.#route(request);
    } catch (refused) {
      if (!(refused instanceof AftError)) throw refused;
      const { code, detail, status } = refused;
      return { status, body: document({ code, detail }), contentType: "application/problem+json" };
    }
  }

  #route(request) {
    const { path } = request;
    if (path.startsWith("/v1/kv/")) {
      return this.#oneKey(request, checkedKey(decodeURIComponent(path.slice("/v1/kv/".length))));
    }
    if (path === "/v1/kv:batchGet") return this.#getMany(request);
    if (path === "/v1/kv:batchWrite") return this.#putMany(request);
    if (path === "/v1/transactions") return this.#begin(request);
    const { running, open } = this.#find(request);
    if (path === "/v1/transaction") return json(open.status());
    if (path === "/v1/transaction:abort") {
      open.discard();
      return NO_CONTENT;
    }
    return this.#end(running, open, request);
  }

  /** The running invocation, and the open transaction that is meant. */
  #find({ headers }) {
    const running = this.#running.getStore();
    if (running === undefined || running.isOver) {
      throw error("no-transaction", "no transaction is open: Fake.invoke runs a handler in one", 409);
    }
    const id = headers["X-Aft-Transaction"];
    if (id === undefined) return { running, open: running.own };
    const open = running.named.get(id);
    if (open === undefined || String(open.number) !== headers["X-Aft-Attempt"]) {
      throw error("other-transaction", `the request names transaction ${id}, which is not open`, 409);
    }
    return { running, open };
  }

  #oneKey(request, key) {
    const { running, open } = this.#find(request);
    if (request.method === "GET") {
      open.see([key]);
      const { value, version } = open.seen(key);
      if (value === undefined) {
        throw error("key-not-found", `${JSON.stringify(key)} does not exist for this transaction`, 404);
      }
      return { status: 200, body: value.body, contentType: value.contentType, etag: `"${version}"` };
    }
    const isPut = request.method === "PUT";
    const value = isPut ? { body: Buffer.from(request.body), contentType: request.headers["Content-Type"] } : undefined;
    open.writeIf(key, value, request.headers, running.bytesBeside(open));
    return NO_CONTENT;
  }

  #getMany(request) {
    const keys = JSON.parse(request.body).keys.map(checkedKey);
    const { open } = this.#find(request);
    open.see(keys);
    const items = keys.map((key) => {
      const { value } = open.seen(key);
      if (value === undefined) return { key, found: false };
      return { key, found: true, contentType: value.contentType, ...textOrBase64("value", value.body) };
    });
    return json({ items });
  }

  #putMany(request) {
    const writes = new Map();
    for (const item of JSON.parse(request.body).writes) {
      const value = item.delete ? undefined : { body: bytesOf("value", item), contentType: item.contentType };
      writes.set(checkedKey(item.key), value);
    }
    const { running, open } = this.#find(request);
    open.write(writes, running.bytesBeside(open));
    return NO_CONTENT;
  }

  #begin(request) {
    const wanted = JSON.parse(request.body);
    const hasPayload = "payload" in wanted || "payloadBase64" in wanted;
    const fingerprint = hash(hasPayload ? bytesOf("payload", wanted) : "");
    const { key, scope = this.#functionName, isolation = this.#isolation } = wanted;
    const isWithin = (text, most) => text !== "" && Buffer.byteLength(text) <= most;
    if (!isWithin(scope, SCOPE_BYTES)) throw error("malformed-body", `a scope has 1 to ${SCOPE_BYTES} bytes`, 400);
    if (!isWithin(key, TRANSACTION_KEY_BYTES)) {
      throw error("malformed-key", `a transaction's key has 1 to ${TRANSACTION_KEY_BYTES} bytes`, 400);
    }
    if (!["read-atomic", "serializable"].includes(isolation)) {
      const must = "it must be read-atomic or serializable";
      throw error("malformed-body", `the isolation is ${JSON.stringify(isolation)}; ${must}`, 400);
    }
    const { named } = this.#find(request).running;
    const id = hash("key", scope, key);
    if (named.has(id)) {
      throw error("in-progress", `the key's transaction ${id} is open in this invocation already`, 409);
    }
    if (named.size >= OPEN_TRANSACTIONS) {
      throw error("too-many-transactions", `${OPEN_TRANSACTIONS} transactions are open: end one first`, 409);
    }
    this.#begun += 1;
    const number = this.#begun;
    if (this.#records.has(id)) return this.#recorded(id, fingerprint, "committed");
    named.set(id, new Attempt(this.#committed, { id, number, origin: `${scope}/${key}`, isolation, fingerprint }));
    return json({ transaction: id, attempt: number, state: "open" });
  }

  #end(running, open, request) {
    running.named.delete(open.id);
    if (request.path.endsWith(":abort")) return NO_CONTENT;
    if (this.#records.has(open.id)) return this.#recorded(open.id, open.fingerprint, "duplicate");
    this.#commitAttempt(open, { body: request.body, contentType: request.headers["Content-Type"] }, { isRecorded: true });
    return json({ transaction: open.id, state: "committed" });
  }

  #recorded(id, fingerprint, state) {
    const record = this.#records.get(id);
    if (record.fingerprint !== fingerprint) {
      const remedy = "give another request a key of its own";
      throw error("payload-mismatch", `the key has committed with another payload: ${remedy}`, 422);
    }
    const { body, contentType } = record.response;
    return json({ transaction: id, state, contentType, ...textOrBase64("response", body) });
  }
}

// Where the language has it: `using fake = new Fake()`.
if (Symbol.dispose) Fake.prototype[Symbol.dispose] = Fake.prototype.close;

const NO_CONTENT = { status: 204, body: Buffer.alloc(0) };

function json(answer) {
  return { status: 200, body: document(answer), contentType: JSON_TYPE };
}

function checkedKey(key) {
  const bytes = Buffer.byteLength(key);
  if (bytes === 0 || bytes > KEY_BYTES) {
    throw error("malformed-key", `a key has 1 to ${KEY_BYTES} bytes of UTF-8; this one has ${bytes}`, 400);
  }
  return key;
}

function hash(...parts) {
  const all = createHash("sha256");
  for (const part of parts) all.update(`${Buffer.byteLength(part)} `).update(part);
  return all.digest("hex").slice(0, 26);
}

module.exports = { Fake };
