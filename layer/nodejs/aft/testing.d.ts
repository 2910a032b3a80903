/// <reference lib="esnext.disposable" />

import type { Isolation, Value } from "./index.js";

/** AFT in memory, for unit tests: until it is closed, the functions of "aft" act on it. */
export declare class Fake {
  /** Begins with committed values. `isolation` is what AFT_ISOLATION says. */
  constructor(
    data?: ReadonlyMap<string, Value> | { readonly [key: string]: Value },
    options?: { isolation?: Isolation | undefined; functionName?: string | undefined },
  );

  /**
   * The handler's answer, after the commit. If the handler rejects, or the commit does, nothing is written.
   *
   * The same requestId with the same event is another delivery of one request: if the first one has written, it is answered from
   * its record, and the handler does not run (on Lambda it may begin, unless AFT_DUPLICATE_CHECK=before). Without one, every call
   * is a request of its own. Invocations at the same time are as if in sandboxes of their own.
   */
  invoke<E, R>(
    handler: (event: E, context: any) => Promise<R> | R,
    event: E,
    options?: { context?: unknown; requestId?: string | undefined },
  ): Promise<R>;

  /** Commits what somebody else writes, at once: also from within a handler, to see what it makes of a conflict. */
  commit(
    values?: ReadonlyMap<string, Value> | { readonly [key: string]: Value },
    options?: { delete?: Iterable<string> | undefined },
  ): void;

  /** The committed values. */
  readonly data: { [key: string]: any };

  /** From now on, the functions of "aft" act on what they did before. */
  close(): void;

  /** As close, for `using fake = new Fake()`. */
  [Symbol.dispose](): void;
}
