// What goes over the wire: values with their content types, within the limits of docs/limits.md.
//
// Bodies that are too large are refused here and not by the extension, which would hang up while they are still being sent.

"use strict";

const { AftError } = require("./errors.js");

const VALUE_BYTES = 196_608;
const RESPONSE_BYTES = 196_608;
const BATCH_BODY_BYTES = 8_388_608;
const BATCH_KEYS = 100;
const CONTENT_TYPE_BYTES = 256;

const JSON_TYPE = "application/json";
const BYTES_TYPE = "application/octet-stream";

const UTF8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Bytes as they are, text too if it has a content type, everything else as JSON. */
function encode(value, contentType) {
  const encoded = encodeUnlimited(value, contentType);
  const { length } = encoded.body;
  if (length > VALUE_BYTES) {
    throw new AftError("value-too-large", `the value has ${length} bytes; at most ${VALUE_BYTES} are allowed`, 413);
  }
  return encoded;
}

function encodeUnlimited(value, contentType) {
  if (value instanceof Uint8Array) return { body: bytes(value), contentType: checked(contentType ?? BYTES_TYPE) };
  if (contentType === undefined) return { body: document(value), contentType: JSON_TYPE };
  if (typeof value === "string") return { body: Buffer.from(value), contentType: checked(contentType) };
  throw new TypeError(`a value with a content type is text or bytes; this one is ${typeof value}`);
}

/** What encode was given, as JSON or bytes hold it. */
function decode(body, contentType) {
  const [essence] = (contentType ?? BYTES_TYPE).split(";");
  return essence.trim().toLowerCase() === JSON_TYPE ? JSON.parse(body) : body;
}

/** JSON; what it would lose or turn into something else is an error. */
function document(value, { sortKeys = false } = {}) {
  const text = JSON.stringify(value, function replace(key, replaced) {
    const given = this[key];
    if (typeof replaced === "number" && !Number.isFinite(replaced)) throw new RangeError(`${replaced} is not JSON`);
    if (given instanceof Map || given instanceof Set || given instanceof Uint8Array) {
      throw new TypeError(`${given.constructor.name} is not JSON`);
    }
    const isSorted = sortKeys && typeof replaced === "object" && replaced !== null && !Array.isArray(replaced);
    return isSorted ? Object.fromEntries(Object.entries(replaced).sort(([a], [b]) => (a < b ? -1 : 1))) : replaced;
  });
  if (text === undefined) throw new TypeError(`${typeof value} is not JSON`);
  return Buffer.from(text);
}

/** A member of a JSON document: text as it is, other bytes in base64. */
function textOrBase64(name, body) {
  try {
    return { [name]: UTF8.decode(body) };
  } catch {
    return { [`${name}Base64`]: body.toString("base64") };
  }
}

/** The reverse. */
function bytesOf(name, found) {
  return found[name] === undefined ? Buffer.from(found[`${name}Base64`], "base64") : Buffer.from(found[name]);
}

/** The same bytes as a Buffer. */
function bytes(view) {
  return Buffer.from(view.buffer, view.byteOffset, view.byteLength);
}

function checked(contentType) {
  if (!/^[!-~]([ -~]*[!-~])?$/.test(contentType) || contentType.length > CONTENT_TYPE_BYTES) {
    const is = JSON.stringify(contentType);
    throw new TypeError(`a content type is 1 to ${CONTENT_TYPE_BYTES} visible ASCII characters; this one is ${is}`);
  }
  return contentType;
}

module.exports = {
  BATCH_BODY_BYTES,
  BATCH_KEYS,
  JSON_TYPE,
  RESPONSE_BYTES,
  bytes,
  bytesOf,
  decode,
  document,
  encode,
  textOrBase64,
};
