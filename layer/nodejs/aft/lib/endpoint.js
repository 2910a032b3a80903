// Requests to AFT's extension, over kept-alive connections; or to what stands in for it in unit tests.
//
// Without an answer nothing is known, except that a connection may have ended while nobody used it. So a request is sent again,
// once and on a new connection, only if it went out on a used one and may arrive twice: not with a condition, and no begin, commit
// or abort.

"use strict";

const fs = require("node:fs");
const http = require("node:http");
const { AftError, error } = require("./errors.js");

// Requests at the same time; the extension takes 256 connections.
const agent = new http.Agent({ keepAlive: true, maxSockets: 64 });

/** The last one answers instead of the extension: see testing.js. */
const standIns = [];

/** An answer of success; every other one is thrown. A request: { method, path, headers, body, isRepeatable }. */
async function ask(request) {
  const answer = standIns.length > 0 ? standIns.at(-1)(request) : await overHttp(request);
  if (answer.status < 300) return answer;
  let problem;
  try {
    problem = JSON.parse(answer.body);
  } catch {
    // Told below.
  }
  if (typeof problem?.code === "string") throw error(problem.code, String(problem.detail), answer.status);
  const start = JSON.stringify(answer.body.subarray(0, 200).toString());
  const detail = `${request.method} ${request.path} was answered with ${answer.status}: ${start}`;
  throw new AftError("unexpected-answer", detail);
}

async function overHttp(request) {
  const endpoint = process.env.AFT_ENDPOINT;
  if (!endpoint) {
    throw new AftError(
      "no-endpoint",
      "AFT_ENDPOINT is not set, so this function does not run behind AFT's shim: set AWS_LAMBDA_EXEC_WRAPPER to " +
        "/opt/aft-runtime-shim. In a unit test, use Fake of aft/testing",
    );
  }
  const { hostname, port } = new URL(endpoint);
  try {
    return await once(request, hostname, port, agent).catch((failure) => {
      if (!(failure.wasUsed && request.isRepeatable)) throw failure;
      return once(request, hostname, port, false);
    });
  } catch (failure) {
    const what = `no answer to ${request.method} ${request.path} from ${hostname}:${port}: ${failure.message}`;
    const told = new AftError("connection-failed", `${what}; let the handler fail, and send its event again`);
    throw Object.assign(told, { cause: failure });
  }
}

function once({ method, path, headers, body }, host, port, agent) {
  return new Promise((resolve, reject) => {
    // Not as a URL, which would take a key of dots for a way up.
    const sent = http.request({ host, port, agent, method, path, headers: { "X-Aft-Token": token(), ...headers } });
    const fail = (failure) => reject(Object.assign(failure, { wasUsed: sent.reusedSocket }));
    sent.setNoDelay(true);
    sent.on("error", fail);
    sent.on("response", (response) => {
      const chunks = [];
      response.on("error", fail);
      response.on("data", (chunk) => chunks.push(chunk));
      response.on("end", () => {
        const { "content-type": contentType, etag } = response.headers;
        resolve({ status: response.statusCode, body: Buffer.concat(chunks), contentType, etag });
      });
    });
    sent.end(body);
  });
}

/** As it is now: under SnapStart it changes with a restore, and so lies in a file. */
function token() {
  const { AFT_TOKEN_FILE, AFT_TOKEN } = process.env;
  return AFT_TOKEN_FILE === undefined ? (AFT_TOKEN ?? "") : fs.readFileSync(AFT_TOKEN_FILE, "ascii");
}

module.exports = { ask, standIns };
