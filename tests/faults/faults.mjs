// What goes wrong with a Node.js app from outside, loaded by NODE_OPTIONS=--import.
//
// After every HTTP request that the process has made, it asks who listens at $FAULTS (tests/src/faults.rs) what comes next. The AWS
// SDK and the aft library both go through node:http, so an app meets the same with one and with the other, and knows of neither.

import { ClientRequest } from "node:http";
import { connect } from "node:net";
import { createInterface } from "node:readline";

const { AWS_LAMBDA_RUNTIME_API, FAULTS } = process.env;
const waiting = new Map();
let controller;
let last = 0;

/** What comes after this request: as soon as the test says so. */
function ask(request) {
  if (!controller) {
    const [host, port] = FAULTS.split(":");
    controller = connect(Number(port), host);
    controller.unref();
    createInterface(controller).on("line", (line) => {
      const { id, then } = JSON.parse(line);
      waiting.get(id)(then);
      waiting.delete(id);
    });
  }
  const id = ++last;
  controller.write(`${JSON.stringify({ process: process.pid, id, request })}\n`);
  return new Promise((resolve) => waiting.set(id, resolve));
}

const emit = ClientRequest.prototype.emit;

function answered(event, ...values) {
  const own = this.getHeader("host") === AWS_LAMBDA_RUNTIME_API;
  if (event !== "response" || own) return emit.call(this, event, ...values);
  const target = this.getHeader("x-amz-target")?.split(".")[1];
  const request = target ?? `${this.method} ${this.path}`;
  ask(request).then((then) => {
    if (then === "go") return emit.call(this, event, ...values);
    const error = new Error(`a fault of the tests after ${request}`);
    if (then === "error") return this.destroy(error);
    if (then === "lost") return this.destroy(Object.assign(error, { code: "ECONNRESET" }));
    if (then === "exit") process.exit(1);
    // A sandbox ends with the process that Lambda started: AFT's shim, if there is one.
    process.kill(then === "sandbox" && process.env.AFT_ENDPOINT ? process.ppid : process.pid, "SIGKILL");
  });
  return true;
}

if (FAULTS) ClientRequest.prototype.emit = answered;
