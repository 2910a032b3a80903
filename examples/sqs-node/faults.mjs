// Failing on request, between writes: what a timeout, a bug or a dying machine does, on demand.

import { closeSync, openSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** Which run of the work for one message this is, from 0; counted in files, because the process may not live on. */
export class Run {
  constructor(message) {
    for (this.number = 0; ; this.number++) {
      try {
        closeSync(openSync(join(tmpdir(), `aft-run-${message}.${this.number}`), "wx"));
        return;
      } catch (error) {
        if (error.code !== "EEXIST") throw error;
      }
    }
  }

  /** The first run fails by the first of the order's faults, the second by the second, and so on. */
  failIfAsked({ faults = [] }, writes) {
    const fault = faults[this.number];
    if (fault?.after !== writes) return;
    if (fault.how === "error") throw new Error(`failed on request after ${writes} writes`);
    if (fault.how === "exit") process.exit(0);
    // The sandbox ends with the process that Lambda started, which is the parent: AFT's shim.
    process.kill(fault.how === "sandbox" ? process.ppid : process.pid, "SIGKILL");
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
  }
}
