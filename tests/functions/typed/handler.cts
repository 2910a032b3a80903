// The same library where modules are required.

import aft = require("aft");
import sqs = require("aft/sqs");
import testing = require("aft/testing");

export const handler = async (): Promise<number> => {
  await aft.delete("a");
  return aft.get("a", { default: 0 });
};

export const batches = (event: Parameters<typeof sqs.process>[0]): Promise<sqs.BatchResponse> => sqs.process(event, () => undefined);
export const fake = new testing.Fake(new Map([["a", 1]]));
export const isConflict = (error: unknown): boolean => error instanceof aft.Conflict;
