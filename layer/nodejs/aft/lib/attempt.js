// One attempt at a transaction over committed values in memory: the rules of docs/protocol.md, for testing.js.

"use strict";

const { AftError, error } = require("./errors.js");

const TRANSACTION_BYTES = 4_194_304;
const TRANSACTION_KEYS = 10_000;
const SANDBOX_BYTES = 8_388_608;
const GUARDED_KEYS = 99;
const GUARDED_BYTES = 3_145_728;
const REMAINING_MS = 30_000;

/** A version of a key, with the keys that the same transaction wrote. Without a value it is a deletion. */
const ABSENT = { version: 0, value: undefined, cowritten: new Set() };

/** Every version of every key. */
class Committed {
  #versions = 0;
  #entries = new Map();

  newestFirst(key) {
    return [...(this.#entries.get(key) ?? []), ABSENT];
  }

  newest(key) {
    return this.newestFirst(key)[0];
  }

  /** Writes: a value a key, or undefined. */
  apply(writes) {
    this.#versions += 1;
    const cowritten = new Set(writes.keys());
    for (const [key, value] of writes) {
      const entry = { version: this.#versions, value, cowritten };
      this.#entries.set(key, [entry, ...(this.#entries.get(key) ?? [])]);
    }
  }

  values() {
    const newest = [...this.#entries].map(([key, [entry]]) => [key, entry.value]);
    return newest.filter(([, value]) => value !== undefined);
  }
}

/** What it has read, what it would write, and whether it may still do so. */
class Attempt {
  #writeNumbers = new Map();
  #writeCount = 0;
  /** Keys that the commit insists on, and moves in one step with its record. */
  #step = new Set();
  /** What was newest when it began to read. */
  #atOnce = new Map();
  #reads = new Map();
  #isDiscarded = false;
  /** Why it cannot commit. */
  #doom;

  constructor(committed, { id, number, origin, isolation, fingerprint }) {
    this.committed = committed;
    Object.assign(this, { id, number, origin, isolation, fingerprint });
    this.writes = new Map();
  }

  get #isSerializable() {
    return this.isolation === "serializable";
  }

  get bufferedBytes() {
    return sum([...this.writes].map(([key, value]) => size(key, value)));
  }

  status() {
    return {
      transaction: this.id,
      attempt: this.number,
      origin: this.origin,
      isolation: this.isolation,
      reads: this.#reads.size,
      readBytes: sum([...this.#reads.values()].map(({ value }) => weight(value))),
      writes: this.writes.size,
      bufferedBytes: this.bufferedBytes,
      remainingMs: REMAINING_MS,
    };
  }

  #checkOpen() {
    let why = this.#doom && "an earlier read found no compatible version; let the handler fail, and it is run again";
    if (this.#isDiscarded) why = "the handler has aborted it";
    if (why) throw error("transaction-closed", `the transaction takes no more operations: ${why}`, 409);
  }

  /** Reads what it does not know yet. */
  see(keys) {
    this.#checkOpen();
    const fresh = [...new Set(keys)].filter((key) => !this.writes.has(key) && !this.#reads.has(key));
    if (this.#isSerializable) {
      this.#checkStep(new Map(fresh.map((key) => [key, undefined])));
      const isFirst = this.#reads.size === 0;
      if (isFirst) this.#atOnce = new Map(fresh.map((key) => [key, this.committed.newest(key).version]));
    }
    for (const key of fresh) {
      const newest = this.committed.newest(key);
      const entry = this.committed.newestFirst(key).find((entry) => this.#fits(key, entry));
      if (entry === undefined || (this.#isSerializable && entry.version < newest.version)) {
        const quoted = JSON.stringify(key);
        this.#doom = `no version of ${quoted} fits what this attempt has read before: let the handler fail`;
        throw error("read-conflict", this.#doom, 409);
      }
      this.#reads.set(key, entry);
      if (this.#isSerializable) this.#step.add(key);
    }
  }

  /** R-READ-1: what one transaction wrote is seen together or not at all. */
  #fits(key, entry) {
    const reads = [...this.#reads];
    return reads.every(([other, read]) => {
      const isTooOld = read.cowritten.has(key) && entry.version < read.version;
      const isTooNew = entry.cowritten.has(other) && entry.version > read.version;
      return !isTooOld && !isTooNew;
    });
  }

  /** The value, if there is one, and its version, after `see`. */
  seen(key) {
    if (this.writes.has(key)) {
      return { value: this.writes.get(key), version: `uncommitted-${this.#writeNumbers.get(key)}` };
    }
    const { value, version } = this.#reads.get(key);
    return { value, version: `version-${version}` };
  }

  /** Buffers all of it or nothing; `othersBytes` is what the other transactions of the sandbox buffer. */
  write(writes, othersBytes, { isGuarded = false } = {}) {
    this.#checkOpen();
    const after = new Map([...this.writes, ...writes]);
    const bytes = sum([...after].map(([key, value]) => size(key, value)));
    if (bytes > TRANSACTION_BYTES) {
      throw tooLarge(`buffer ${bytes} bytes of keys and values; at most ${TRANSACTION_BYTES} are allowed`);
    }
    if (after.size > TRANSACTION_KEYS) {
      throw tooLarge(`write ${after.size} keys; at most ${TRANSACTION_KEYS} are allowed`);
    }
    if (othersBytes + bytes > SANDBOX_BYTES) {
      const together = `the open transactions would buffer ${othersBytes + bytes} bytes together`;
      throw error("buffers-full", `${together}; at most ${SANDBOX_BYTES} are allowed`, 409);
    }
    const isInStep = (key) => this.#isSerializable || this.#step.has(key) || (isGuarded && this.#reads.has(key));
    const inStep = new Map([...writes].filter(([key]) => isInStep(key)));
    this.#checkStep(inStep);
    for (const key of inStep.keys()) this.#step.add(key);
    for (const key of writes.keys()) {
      this.#writeCount += 1;
      this.#writeNumbers.set(key, this.#writeCount);
    }
    this.writes = after;
  }

  /** Buffers one write if what the headers say holds of what this attempt sees. */
  writeIf(key, value, headers, othersBytes) {
    const wanted = headers["If-Match"];
    if (wanted === undefined && !("If-None-Match" in headers)) return this.write(new Map([[key, value]]), othersBytes);
    this.see([key]);
    const { value: current, version } = this.seen(key);
    const quoted = JSON.stringify(key);
    let failed;
    if (wanted === undefined) failed = current && `${quoted} exists, at version ${version}`;
    else if (current === undefined) failed = `${quoted} does not exist`;
    else if (wanted !== `"${version}"`) failed = `${quoted} is at version ${version}`;
    if (failed) {
      throw error("precondition-failed", `${failed}: read it again and decide anew; nothing was written`, 412);
    }
    return this.write(new Map([[key, value]]), othersBytes, { isGuarded: true });
  }

  /** The handler asks to write nothing. */
  discard() {
    this.#checkOpen();
    this.writes = new Map();
    this.#step = new Set();
    this.#isDiscarded = true;
  }

  /** Whether it may commit: what it insists on is still so. Without a record, it is enough that all of it was so once. */
  check({ isRecorded }) {
    if (this.#doom) throw error("read-conflict", this.#doom, 409);
    const guards = [...this.#reads].filter(([key]) => this.#isSerializable || this.#step.has(key));
    const wasAtOnce = guards.every(([key, { version }]) => this.#atOnce.get(key) === version);
    if (!isRecorded && (guards.length < 2 || wasAtOnce)) return;
    for (const [key, { version }] of guards) {
      const newest = this.committed.newest(key).version;
      if (newest !== version) {
        const is = `${JSON.stringify(key)} was read at version ${version} and is at version ${newest} now`;
        throw error("commit-conflict", `${is}; nothing was written`, 409);
      }
    }
  }

  #checkStep(more) {
    const keys = [...new Set([...this.#step, ...more.keys()])];
    if (keys.length > GUARDED_KEYS) {
      throw tooLarge(`check or move ${keys.length} keys in one step; at most ${GUARDED_KEYS} are allowed`);
    }
    // Not what is there: how large its item is, the store alone knows.
    const writes = new Map([...this.writes, ...more]);
    const bytes = sum(keys.map((key) => size(key, writes.get(key))));
    if (bytes > GUARDED_BYTES) {
      throw tooLarge(`check or move ${bytes} bytes of items in one step; at most ${GUARDED_BYTES} are allowed`);
    }
  }
}

function tooLarge(what) {
  return new AftError("transaction-too-large", `the transaction would ${what}`, 413);
}

function sum(numbers) {
  return numbers.reduce((total, number) => total + number, 0);
}

function weight(value) {
  return value === undefined ? 0 : value.body.length + value.contentType.length;
}

function size(key, value) {
  return Buffer.byteLength(key) + weight(value);
}

module.exports = { Attempt, Committed };
