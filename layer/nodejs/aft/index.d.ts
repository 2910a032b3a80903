// What a handler can do with keys, and what it costs to be wrong. All functions reject with AftError, and with TypeError or
// RangeError for what cannot be sent.

/** Something that JSON can hold, or bytes. */
export type Value = unknown;

export interface ReadOptions {
  /** What the sandbox has read before will do, if it is no older than so many seconds. */
  maxAge?: number | undefined;
}

export interface PutOptions {
  /** Then the value is text or bytes, and stored as it is. */
  contentType?: string | undefined;
  /** The key must be at this version: what getItem saw. Otherwise PreconditionFailed. The commit checks it once more. */
  ifVersion?: string | undefined;
  /** The key must not exist. */
  ifAbsent?: boolean | undefined;
}

export interface Item<T = any> {
  value: T;
  /** For ifVersion. */
  version: string;
  contentType: string;
}

/** Where a transaction stands. */
export interface Current {
  id: string;
  attempt: number;
  /** Function and request, or scope and key: for people. */
  origin: string;
  isolation: Isolation;
  /** Keys read from the store, and the bytes that are kept of them. */
  reads: number;
  readBytes: number;
  /** Keys that would be written, and the bytes that are buffered of them. */
  writes: number;
  bufferedBytes: number;
  /** Until Lambda ends the invocation. */
  remainingMs: number;
}

export type Isolation = "read-atomic" | "serializable";

export interface TransactionOptions {
  /** Text, bytes or anything that is JSON: the same key with another one is refused with payload-mismatch. */
  payload?: unknown;
  /** What keys are unique within; the function's name if it is not given. */
  scope?: string | undefined;
  /** What AFT_ISOLATION says if it is not given. */
  isolation?: Isolation | undefined;
}

/** What a transaction can do with keys. */
export interface Keys {
  /** The value of a key as this transaction sees it: bytes as a Buffer, JSON as what it says; otherwise the default. */
  get<T = any>(key: string, options: ReadOptions & { default: T }): Promise<T>;
  get<T = any>(key: string, options?: ReadOptions & { default?: T | undefined }): Promise<T | undefined>;
  /** The value of a key with its version and content type. */
  getItem<T = any>(key: string, options?: ReadOptions): Promise<Item<T> | undefined>;
  /** The values of those keys that exist; any number of keys, a hundred in a round trip. */
  getMany<T = any>(keys: Iterable<string>, options?: ReadOptions): Promise<Map<string, T>>;
  /** Buffers a value: bytes as they are, everything else as JSON. */
  put(key: string, value: Value, options?: PutOptions): Promise<void>;
  /** Buffers many values and deletions. Any number, a hundred in a request, each of which is buffered whole or not at all. */
  putMany(
    values: ReadonlyMap<string, Value> | { readonly [key: string]: Value },
    options?: { delete?: Iterable<string> | undefined },
  ): Promise<void>;
  /** Buffers a deletion; deleting what does not exist is fine, unless there is an ifVersion. */
  delete(key: string, options?: { ifVersion?: string | undefined }): Promise<void>;
  /** Where the transaction stands. */
  current(): Promise<Current>;
}

/** A transaction of its own within an invocation: see transaction(). */
export interface Transaction extends Keys {
  /** Derived from scope and key. */
  readonly id: string;
}

export declare const get: Keys["get"];
export declare const getItem: Keys["getItem"];
export declare const getMany: Keys["getMany"];
export declare const put: Keys["put"];
export declare const putMany: Keys["putMany"];
declare const remove: Keys["delete"];
export { remove as delete };
export declare const current: Keys["current"];

/** Nothing of the invocation's own transaction is written, and its response is released all the same. */
export declare function abort(): Promise<void>;

/**
 * Does the work in a transaction of its own, unless the key's has committed before; resolves to the recorded response: what the
 * work returned, as JSON holds it, this time or the first time. It commits when the work is done. If it rejects, nothing is
 * written, and the error goes on. Write through tx only: what the module's functions do belongs to the invocation.
 */
export declare function transaction<T>(
  key: string,
  work: (tx: Transaction) => Promise<T> | T,
  options?: TransactionOptions,
): Promise<T>;

/**
 * What AFT answered other than success. Let it reject, unless the code says that the handler can do better: an attempt that ends
 * in an error leaves nothing behind.
 */
export declare class AftError extends Error {
  /** Stable, as in docs/errors; of this library's own: no-endpoint, connection-failed, unexpected-answer (docs/libraries.md). */
  readonly code: string;
  /** What happened, to what, and what to do. */
  readonly detail: string;
  /** The HTTP status, if there was an answer. */
  readonly status?: number;
  /** Where the code is explained, in AFT's repository. */
  readonly page: string;
  constructor(code: string, detail: string, status?: number);
}

/**
 * Another transaction was faster: code commit-conflict or read-conflict. Nothing was written. Thrown out of the handler, it is what
 * makes the layer run it again. After transaction(): call that again, which reads again.
 */
export declare class Conflict extends AftError {}

/** ifVersion or ifAbsent does not hold: code precondition-failed. Nothing was buffered; read the key again. */
export declare class PreconditionFailed extends AftError {}
