// What the network and the process around it do to requests: a server that hangs up, restarts, or answers nonsense.

import assert from "node:assert/strict";
import { once } from "node:events";
import fs from "node:fs";
import net from "node:net";
import os from "node:os";
import path from "node:path";
import { afterEach, beforeEach, test } from "node:test";

import aft, { AftError, Conflict, PreconditionFailed } from "../aft/index.mjs";

const OK = 'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nETag: "v"\r\nContent-Length: 1\r\n\r\n1';
const NO_CONTENT = "HTTP/1.1 204 No Content\r\n\r\n";

function answer(status, body, contentType = "application/problem+json") {
  const length = Buffer.byteLength(body, "latin1");
  return `HTTP/1.1 ${status}\r\nContent-Type: ${contentType}\r\nContent-Length: ${length}\r\n\r\n${body}`;
}

/**
 * Says what it is told to, on each connection its script: text answers a request, and null hangs up after having read one. The end of
 * a script waits for the client to hang up.
 */
async function serve(scripts, { port = 0 } = {}) {
  const requests = [];
  const sockets = [];
  const server = net.createServer((socket) => {
    const script = scripts[sockets.push(socket) - 1] ?? [null];
    let [received, answered] = ["", 0];
    socket.on("error", () => {});
    socket.on("data", (data) => {
      received += data.toString("latin1");
      const [head, ...rest] = received.split("\r\n\r\n");
      const [line, ...headers] = head.split("\r\n");
      const fields = Object.fromEntries(headers.map((header) => header.toLowerCase().split(": ")));
      const body = rest.join("\r\n\r\n");
      if (rest.length === 0 || body.length < Number(fields["content-length"] ?? 0)) return;
      received = "";
      requests.push({ line, headers: fields, body });
      const reply = script[answered];
      answered += 1;
      if (reply === null || reply === undefined) socket.resetAndDestroy();
      else socket.write(reply, "latin1");
    });
  });
  server.listen(port, "127.0.0.1");
  await once(server, "listening");
  process.env.AFT_ENDPOINT = `http://127.0.0.1:${server.address().port}`;
  const close = async () => {
    sockets.forEach((socket) => socket.destroy());
    server.close();
    await once(server, "close");
  };
  servers.push(close);
  return { requests, sockets, close, port: server.address().port };
}

const servers = [];

beforeEach(() => {
  process.env.AFT_TOKEN = "secret";
  delete process.env.AFT_TOKEN_FILE;
});

afterEach(async () => {
  for (const close of servers.splice(0)) await close().catch(() => {});
});

function paths({ requests }) {
  return requests.map(({ line }) => line.split(" ")[1]);
}

async function failsWith(code, call) {
  const error = await call().then(
    () => assert.fail(`it did not fail with ${code}`),
    (error) => error,
  );
  assert.ok(error instanceof AftError, error);
  assert.equal(error.code, code);
  return error;
}

test("one connection serves requests that follow each other", async () => {
  const server = await serve([[OK, NO_CONTENT, OK]]);
  assert.equal(await aft.get("a b"), 1);
  await aft.put("é", { x: null });
  assert.equal(await aft.get("a"), 1);
  const lines = server.requests.map(({ line }) => line);
  assert.deepEqual(lines, ["GET /v1/kv/a%20b HTTP/1.1", "PUT /v1/kv/%C3%A9 HTTP/1.1", "GET /v1/kv/a HTTP/1.1"]);
  assert.equal(server.requests[1].body, '{"x":null}');
  assert.deepEqual(new Set(server.requests.map(({ headers }) => headers["x-aft-token"])), new Set(["secret"]));
  assert.equal(server.sockets.length, 1);
});

test("requests at the same time have connections of their own", async () => {
  const server = await serve([[OK], [OK], [OK]]);
  assert.deepEqual(await Promise.all(["a", "b", "c"].map((key) => aft.get(key))), [1, 1, 1]);
  assert.equal(server.sockets.length, 3);
});

test("a connection that was closed while idle is not used again", async () => {
  const server = await serve([[OK], [NO_CONTENT]]);
  await aft.get("a");
  server.sockets[0].end();
  // The server has seen the client's end: so the client has seen the server's.
  await once(server.sockets[0], "close");
  await aft.put("a", 1, { ifAbsent: true });
  assert.equal(server.requests[1].headers["if-none-match"], "*");
});

test("a request that may arrive twice is sent again once", async () => {
  const server = await serve([[OK, null], [OK]]);
  await aft.get("a");
  assert.equal(await aft.get("b"), 1);
  assert.deepEqual(paths(server), ["/v1/kv/a", "/v1/kv/b", "/v1/kv/b"]);
  const other = await serve([[OK, null], [null], [OK]]);
  await aft.get("a");
  await failsWith("connection-failed", () => aft.get("b"));
  assert.equal(other.requests.length, 3);
});

test("a request that must not arrive twice is not sent again", async () => {
  const calls = [
    () => aft.put("a", 1, { ifVersion: "v" }),
    () => aft.put("a", 1, { ifAbsent: true }),
    () => aft.delete("a", { ifVersion: "v" }),
    () => aft.abort(),
    () => aft.transaction("k", () => null),
  ];
  for (const call of calls) {
    const server = await serve([[OK, null], [OK]]);
    await aft.get("a");
    await failsWith("connection-failed", call);
    assert.equal(server.requests.length, 2);
  }
});

test("a lost commit is told and aborted", async () => {
  const begun = answer("201 Created", '{"transaction": "t1", "attempt": 3, "state": "open"}', "application/json");
  const server = await serve([[begun, null], [NO_CONTENT]]);
  await failsWith("connection-failed", () => aft.transaction("k", () => 5));
  assert.deepEqual(paths(server), ["/v1/transactions", "/v1/transactions/t1:commit", "/v1/transactions/t1:abort"]);
  assert.equal(server.requests[1].headers["x-aft-attempt"], "3");
});

test("a server that restarted in between is found again", async () => {
  const { port, close } = await serve([[OK]]);
  await aft.get("a");
  await close();
  await serve([[OK]], { port });
  assert.equal(await aft.get("b"), 1);
});

test("nobody there is told", async () => {
  const { port, close } = await serve([]);
  await close();
  const error = await failsWith("connection-failed", () => aft.get("a"));
  assert.match(error.message, new RegExp(`127.0.0.1:${port}`));
  assert.equal(error.status, undefined);
  assert.equal(error.cause.code, "ECONNREFUSED");
});

test("an answer that is cut off is no answer", async () => {
  const server = await serve([[OK.replace("Content-Length: 1", "Content-Length: 2")]]);
  const failed = failsWith("connection-failed", () => aft.get("a"));
  while (server.requests.length === 0) await new Promise(setImmediate);
  server.sockets[0].end();
  await failed;
});

test("the token file is read for every request", async () => {
  // Under SnapStart the token changes with a restore.
  const server = await serve([[OK, OK]]);
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), "aft-token-"));
  process.env.AFT_TOKEN_FILE = path.join(directory, "token");
  for (const token of ["before", "after"]) {
    fs.writeFileSync(process.env.AFT_TOKEN_FILE, token);
    await aft.get("a");
  }
  assert.deepEqual(server.requests.map(({ headers }) => headers["x-aft-token"]), ["before", "after"]);
  fs.rmSync(directory, { recursive: true });
});

test("an answer that is no problem document is told as it is", async () => {
  const texts = ["", "<html>", "[]", "null", '"x"', '{"detail": "no code"}', "\xff"];
  await serve([texts.map((text) => answer("503 Oh", text, "text/html"))]);
  for (const _ of texts) {
    const error = await failsWith("unexpected-answer", () => aft.get("a"));
    assert.match(error.detail, /GET \/v1\/kv\/a was answered with 503/);
  }
});

test("a problem document becomes an error of its class", async () => {
  const classes = [
    ["commit-conflict", Conflict],
    ["read-conflict", Conflict],
    ["precondition-failed", PreconditionFailed],
    ["a-code-of-tomorrow", AftError],
  ];
  await serve([classes.map(([code]) => answer("409 X", `{"code": "${code}", "detail": "why", "new": []}`))]);
  for (const [code, kind] of classes) {
    const error = await failsWith(code, () => aft.get("a"));
    assert.equal(error.constructor, kind);
    assert.equal(error.name, kind.name);
    assert.deepEqual([error.status, error.detail, error.page], [409, "why", `docs/errors/${code}.md`]);
  }
});

test("without an endpoint it is said what to do", async () => {
  delete process.env.AFT_ENDPOINT;
  const error = await failsWith("no-endpoint", () => aft.get("a"));
  for (const remedy of ["AWS_LAMBDA_EXEC_WRAPPER", "aft/testing", "docs/libraries.md"]) {
    assert.ok(error.message.includes(remedy), error.message);
  }
});
