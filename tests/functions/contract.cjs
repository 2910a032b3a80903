// What the Node.js library promises: the scenarios of contract.py, word for word. The answers must be the same.
//
// As a script it runs them on aft/testing's Fake, in the isolation that is its argument, and prints the outcomes; as a handler it runs
// one invocation of one scenario: tests/tests/libraries.rs.

"use strict";

const aft = require("aft");
const sqs = require("aft/sqs");
const { Fake } = require("aft/testing");

/** Scenario, step and request ID of every invocation, in this order, over one store. */
const plan = [];
const steps = new Map();
/** How often the work of a key ran, told by the process itself. */
const runs = {};
let outside;

const LARGE = 196_608;

/** Adds an invocation to the scenario; `request` is another one's ID, to be the same request if the step is the same, too. */
function step(scenario, run, { request } = {}) {
  const number = [...steps.keys()].filter((key) => key.startsWith(`${scenario} #`)).length;
  steps.set(`${scenario} #${number}`, run);
  plan.push({ scenario, step: number, request: `${scenario}-${request ?? number}` });
}

/** Adds another delivery of one of the scenario's invocations. */
function again(scenario, number) {
  plan.push(plan.find((other) => other.scenario === scenario && other.step === number));
}

exports.handler = async ({ scenario, step: number }) => steps.get(`${scenario} #${number}`)(`${scenario}/`);

/** What a call resolved to, or how it failed. */
async function tried(call) {
  try {
    return shown((await call()) ?? null);
  } catch (error) {
    if (error instanceof aft.AftError) {
      const kinds = new Map([[aft.Conflict, "conflict"], [aft.PreconditionFailed, "precondition"]]);
      return `${kinds.get(error.constructor) ?? "error"}: ${error.code} ${error.status} ${error.page}`;
    }
    if (error instanceof TypeError || error instanceof RangeError || error instanceof URIError) return "refused before it is sent";
    throw error;
  }
}

async function each(calls) {
  const answers = [];
  for (const call of calls) answers.push(await tried(call));
  return answers;
}

function shown(value) {
  if (Buffer.isBuffer(value)) return { bytes: value.toString("hex") };
  if (value instanceof Map) return shown(Object.fromEntries(value));
  if (value === null || typeof value !== "object" || Array.isArray(value)) return value;
  if ("version" in value) return { value: shown(value.value), contentType: value.contentType };
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, shown(item)]));
}

function fail() {
  throw new Error("as asked");
}

function counted(key) {
  runs[key] = (runs[key] ?? 0) + 1;
  return runs[key];
}

function runsOf(at) {
  return Object.fromEntries(Object.entries(runs).filter(([key]) => key.startsWith(at)));
}

function numbers(from, to) {
  return Array.from({ length: to - from }, (_, index) => from + index);
}

/** Values by their keys. */
function all(keys, value) {
  return Object.fromEntries(keys.map((key) => [key, typeof value === "function" ? value(key) : value]));
}

// Values.

const VALUES = ["text", "", "é 😀 \0 \u2028", 0, -1.5, 9007199254740991, true, null, [], {}, { a: [1, { b: "c" }], é: null }];
const BYTES = [[], [0x00, 0xff], "é", '{"a": 1}', [0xef, 0xbb, 0xbf, 0x78]].map((bytes) => Buffer.from(bytes));

async function allValues(at) {
  const names = [...numbers(0, VALUES.length + BYTES.length), "text", "json", "charset"];
  const many = await aft.getMany(names.map((name) => at + name));
  return {
    items: await each(names.map((name) => () => aft.getItem(at + name))),
    many: names.map((name) => shown(many.get(at + name))),
    broken: await aft.get(`${at}broken`).catch((error) => (error instanceof SyntaxError ? "refused before it is sent" : error)),
  };
}

step("values", async (at) => {
  for (const [number, value] of [...VALUES, ...BYTES].entries()) await aft.put(`${at}${number}`, value);
  await aft.put(`${at}text`, "é", { contentType: "text/plain; charset=utf-8" });
  await aft.put(`${at}json`, '{"a": 1}', { contentType: "application/json" });
  await aft.put(`${at}charset`, new Uint8Array(Buffer.from('"x"')), { contentType: "Application/JSON; charset=utf-8" });
  await aft.put(`${at}broken`, Buffer.from("{"), { contentType: "application/json" });
  return allValues(at);
});

step("values", allValues);

step("refused values", async (at) => {
  const values = [NaN, [Infinity], { a: -Infinity }, () => {}, new Set([1, 2]), [Buffer.from("x")]];
  const contentTypes = ["", " a/b", "a/b ", "a/b\n", "a/é", "a".repeat(257)];
  const answers = await each([
    ...values.map((value) => () => aft.put(`${at}x`, value)),
    ...contentTypes.map((contentType) => () => aft.put(`${at}x`, Buffer.alloc(0), { contentType })),
    () => aft.put(`${at}x`, 5, { contentType: "text/plain" }),
    () => aft.put(5, 5),
    () => aft.get(null),
    () => aft.get("\ud800"),
    () => aft.getMany([`${at}x`, 5]),
    () => aft.delete(Buffer.from("x")),
    () => aft.put(`${at}x`, 1, { ifVersion: "v", ifAbsent: true }),
    () => aft.put(`${at}x`, 1, { ifVersion: "" }),
    () => aft.put(`${at}x`, 1, { ifVersion: 'a"b' }),
    () => aft.delete(`${at}x`, { ifVersion: "a,b" }),
    () => aft.get(`${at}x`, { maxAge: -1 }),
    () => aft.getMany([`${at}x`], { maxAge: NaN }),
    () => aft.putMany({ [`${at}x`]: 1, [`${at}y`]: 2 }, { delete: [`${at}x`] }),
    () => aft.putMany({ [`${at}x`]: 1, [`${at}y`]: NaN }),
    () => aft.transaction(5, () => null),
    () => aft.transaction(`${at}x`, () => null, { payload: NaN }),
  ]);
  return [answers, (await aft.current()).writes];
});

// Keys.

const KEYS = ["a/b", "a//b", "/", ".", "..", "../x", "%", "%2F", "a b", "?q=1", "#f", "+", "é", "😀", "a\nb", "\0", ":batchGet", "'\"\\", "a".repeat(1000)];

step("keys", async (at) => {
  for (const [number, key] of KEYS.entries()) await aft.put(at + key, number);
  await aft.putMany(new Map([".", "..", "/"].map((key) => [key, -1])));
});

step("keys", async (at) => {
  const names = [...KEYS.map((key) => at + key), ".", "..", "/"];
  return [await each(names.map((name) => () => aft.get(name))), shown(await aft.getMany([...names].reverse()))];
});

step("malformed keys", async (at) => {
  const answers = [];
  for (const key of ["", "k".repeat(1025), "é".repeat(513), "é".repeat(512), "k".repeat(1024)]) {
    answers.push(
      ...(await each([
        () => aft.get(key),
        () => aft.getMany([key]),
        () => aft.put(key, 1, { ifAbsent: true }),
        () => aft.putMany({ [`${at}x`]: 1, [key]: 1 }),
        () => aft.delete(key),
      ])),
    );
  }
  answers.push(await tried(aft.abort));
  return answers;
});

// Limits.

step("large values", async (at) => [
  await tried(() => aft.put(`${at}bytes`, Buffer.alloc(LARGE))),
  await tried(() => aft.put(`${at}text`, "x".repeat(LARGE - 2))),
  await tried(() => aft.put(`${at}bytes`, Buffer.alloc(LARGE + 1))),
  await tried(() => aft.put(`${at}text`, "x".repeat(LARGE - 1))),
  await tried(() => aft.putMany({ [`${at}a`]: 1, [`${at}b`]: Buffer.alloc(LARGE + 1) })),
  (await aft.current()).writes,
]);

step("large values", async (at) => [(await aft.get(`${at}bytes`)).length, (await aft.get(`${at}text`)).length]);

/** Puts large values until one is refused; how many there are, and why no more. */
async function fill(keys, at) {
  for (let number = 0; ; number += 1) {
    const refused = await tried(() => keys.put(`${at}${number}`, Buffer.alloc(LARGE)));
    if (refused !== null) return [number, refused];
  }
}

step("large transactions", async (at) => {
  const filled = [await fill(aft, `${at}own/`)];
  const many = all(numbers(0, 50).map((number) => `${at}${number}`), () => Buffer.alloc(LARGE));
  filled.push(await tried(() => aft.putMany(many)));
  const nested = async (tx) => {
    filled.push(await fill(tx, `${at}outer/`));
    await aft.transaction(`${at}inner`, async (inner) => filled.push(await fill(inner, `${at}inner/`)));
    fail();
  };
  await aft.transaction(`${at}outer`, nested).catch((error) => filled.push(error.message));
  filled.push(await tried(() => aft.put(`${at}own/0`, 1)));
  await aft.abort();
  return filled;
});

step("many keys", async (at) => {
  const refused = await tried(() => aft.putMany(all(numbers(0, 10_050).map((number) => `${at}${number}`), 1)));
  const { writes, bufferedBytes } = await aft.current();
  await aft.abort();
  return [refused, writes, bufferedBytes];
});

// Conditions.

step("conditions", async (at) => {
  await aft.put(`${at}there`, 1);
  return each([
    () => aft.put(`${at}new`, 1, { ifAbsent: true }),
    () => aft.put(`${at}new`, 2, { ifAbsent: true }),
    () => aft.put(`${at}none`, 1, { ifVersion: "0" }),
    () => aft.delete(`${at}none`, { ifVersion: "0" }),
    async () => aft.put(`${at}there`, 2, { ifVersion: (await aft.getItem(`${at}there`)).version }),
    () => aft.get(`${at}there`),
  ]);
});

step("conditions", async (at) => {
  const { version } = await aft.getItem(`${at}there`);
  return each([
    () => aft.put(`${at}there`, 3, { ifAbsent: true }),
    () => aft.put(`${at}there`, 3, { ifVersion: "0" }),
    () => aft.put(`${at}there`, 3, { ifVersion: version }),
    () => aft.put(`${at}there`, 4, { ifVersion: version }),
    async () => aft.delete(`${at}new`, { ifVersion: (await aft.getItem(`${at}new`)).version }),
    () => aft.getItem(`${at}new`),
  ]);
});

step("conditions", async (at) => shown(await aft.getMany([`${at}there`, `${at}new`, `${at}none`])));

step("a condition that the commit finds broken", (at) => aft.put(`${at}counter`, 1));

step("a condition that the commit finds broken", async (at) => {
  const { value, version } = await aft.getItem(`${at}counter`);
  // At the first attempt somebody else is faster; at the second one it has happened before.
  await aft.transaction(`${at}rival`, (tx) => tx.put(`${at}counter`, 10));
  await aft.put(`${at}counter`, value + 1, { ifVersion: version });
  return value;
});

// Many.

step("many", async (at) => {
  const value = (key) => (Number(key.slice(at.length)) % 2 ? Number(key.slice(at.length)) : Buffer.from([Number(key.slice(at.length))]));
  await aft.putMany(all(numbers(0, 250).map((number) => `${at}${number}`), value));
  await aft.putMany({});
  await aft.putMany({ [`${at}x`]: 1 }, { delete: numbers(100, 220).map((number) => `${at}${number}`) });
});

step("many", async (at) => {
  const found = await aft.getMany([...numbers(0, 260), 7, 7].map((number) => `${at}${number}`), { maxAge: 60 });
  const few = await aft.getMany([`${at}none`, `${at}x`].values());
  return [[...found.keys()], shown(found), shown(await aft.getMany([])), shown(few)];
});

// Transactions of invocations.

step("own writes are read", async (at) => {
  const seen = await each([
    () => aft.get(`${at}a`),
    () => aft.get(`${at}a`, { default: "none" }),
    () => aft.getItem(`${at}a`),
  ]);
  await aft.put(`${at}a`, 1);
  seen.push(await aft.get(`${at}a`), await aft.get(`${at}a`, { maxAge: 60 }));
  await aft.delete(`${at}a`);
  seen.push(await aft.get(`${at}a`, { default: "gone" }), shown(await aft.getMany([`${at}a`])));
  await aft.put(`${at}a`, 2);
  await aft.delete(`${at}never`);
  return seen;
});

step("own writes are read", (at) =>
  each([
    () => aft.get(`${at}a`),
    () => aft.get(`${at}a`, { maxAge: 0 }),
    () => aft.get(`${at}never`, { default: "none" }),
  ]),
);

step("reads are atomic and repeatable", (at) => aft.putMany({ [`${at}a`]: 0, [`${at}b`]: 0, [`${at}c`]: 0 }));

step("reads are atomic and repeatable", async (at) => {
  const seen = [await aft.get(`${at}a`)];
  await aft.transaction(`${at}both`, (tx) => tx.putMany({ [`${at}a`]: 1, [`${at}b`]: 1, [`${at}d`]: 1 }));
  await aft.transaction(`${at}one`, (tx) => tx.put(`${at}c`, 1));
  seen.push(await aft.get(`${at}a`), await aft.get(`${at}b`));
  seen.push(await aft.get(`${at}d`, { default: "absent" }), await aft.get(`${at}c`));
  return seen;
});

step("reads are atomic and repeatable", async (at) => shown(await aft.getMany([..."abcd"].map((name) => at + name))));

step("requests at the same time", async (at) => {
  const put = async (number) => {
    await aft.put(`${at}${number}`, number);
    return aft.get(`${at}${number}`);
  };
  const seen = await Promise.all(numbers(0, 60).map(put));
  return [seen.reduce((total, number) => total + number, 0), (await aft.current()).writes];
});

step("requests at the same time", async (at) => {
  const seen = await Promise.all(numbers(0, 61).map((number) => aft.get(`${at}${number}`)));
  return seen.map((value) => value ?? null);
});

step("abort", async (at) => {
  await aft.put(`${at}a`, 1);
  await aft.abort();
  const stands = await aft.current();
  return each([
    () => aft.get(`${at}a`),
    () => aft.put(`${at}a`, 2),
    () => aft.putMany({ [`${at}a`]: 2 }),
    () => aft.delete(`${at}a`),
    () => aft.abort(),
    () => stands.writes,
    () => aft.transaction(`${at}k`, (tx) => tx.put(`${at}b`, 1)),
  ]);
});

step("abort", async (at) => shown(await aft.getMany([`${at}a`, `${at}b`])));

step("an error leaves nothing", async (at) => {
  await aft.put(`${at}a`, 1);
  await aft.transaction(`${at}k`, (tx) => tx.put(`${at}committed`, 1));
  fail();
});

step("an error leaves nothing", async (at) => shown(await aft.getMany([`${at}a`, `${at}committed`])));

step("duplicates", async (at) => {
  const number = (await aft.get(`${at}n`, { default: 0 })) + 1;
  await aft.put(`${at}n`, number);
  return { number, runs: counted(at) };
});

again("duplicates", 0);

// The same request ID with another event is another request.
step("duplicates", async (at) => [await aft.get(`${at}n`), counted(at)], { request: 0 });

again("duplicates", 1);

step("current", (at) => aft.put(`${at}read`, "four"));

step("current", async (at) => {
  await aft.getMany([`${at}read`, `${at}none`]);
  await aft.putMany({ [`${at}é`]: "x", [`${at}b`]: Buffer.from("12345") }, { delete: [`${at}c`] });
  const [own, ids] = [await aft.current(), []];
  const work = async (tx) => {
    await tx.put(`${at}k`, 1);
    const { id, isolation, writes, reads } = await tx.current();
    ids.push(tx.id === id);
    return [isolation, writes, reads];
  };
  const named = await aft.transaction(`${at}k`, work, { isolation: "serializable" });
  const counts = [own.attempt, own.isolation, own.reads, own.readBytes, own.writes, own.bufferedBytes];
  return [counts, typeof own.id === "string", typeof own.origin === "string", own.remainingMs > 0, ids, named];
});

step("outside of an invocation", () => outside);

// Named transactions.

function work(at) {
  return async (tx) => {
    await tx.put(`${at}a`, { run: counted(at) });
    return { run: runs[at], a: await tx.get(`${at}a`), own: await aft.get(`${at}a`, { default: "not seen" }) };
  };
}

step("named transactions", (at) =>
  each([
    () => aft.transaction(`${at}k`, work(at), { payload: "p" }),
    () => aft.transaction(`${at}k`, work(at), { payload: "p" }),
    () => aft.transaction(`${at}k`, work(at), { payload: Buffer.from("p") }),
    () => aft.transaction(`${at}k`, work(at), { payload: "other" }),
    () => aft.transaction(`${at}k`, work(at)),
    () => aft.transaction(`${at}k`, work(at), { payload: "p", scope: "elsewhere" }),
  ]),
);

step("named transactions", async (at) => [
  await aft.transaction(`${at}k`, work(at), { payload: "p" }),
  await aft.get(`${at}a`),
]);

step("responses and payloads of named transactions", (at) => {
  const document = { b: [1, { d: 1, c: 2 }], a: null };
  const otherOrder = { a: null, b: [1, { c: 2, d: 1 }] };
  return each([
    ...VALUES.map((value, number) => () => aft.transaction(`${at}${number}`, () => value)),
    ...VALUES.map((value, number) => () => aft.transaction(`${at}${number}`, fail)),
    () => aft.transaction(`${at}document`, () => 1, { payload: document }),
    () => aft.transaction(`${at}document`, () => 2, { payload: otherOrder }),
    () => aft.transaction(`${at}bytes`, () => 1, { payload: Buffer.from([0xff]) }),
    () => aft.transaction(`${at}bytes`, () => 2, { payload: Buffer.from([0xfe]) }),
    () => aft.transaction(`${at}large`, () => "x".repeat(LARGE)),
    () => aft.transaction(`${at}nan`, () => NaN),
    () => aft.transaction(`${at}bytes response`, () => Buffer.from("x")),
    ...["large", "nan", "bytes response"].map((key) => () => aft.transaction(at + key, () => "free again")),
  ]);
});

step("errors of named transactions", async (at) => {
  const [answers, late] = [[], []];
  const failing = async (tx) => {
    await tx.put(`${at}a`, 1);
    late.push(tx);
    fail();
  };
  for (let attempt = 0; attempt < 2; attempt += 1) {
    await aft.transaction(`${at}k`, failing).catch((error) => answers.push(error.message));
  }
  await aft.transaction(`${at}k`, (tx) => void late.push(tx));
  for (const tx of late) {
    answers.push(...(await each([() => tx.get(`${at}a`), () => tx.put(`${at}a`, 2), () => tx.current()])));
  }
  const nested = async (tx) => {
    await tx.put(`${at}outer`, 1);
    answers.push(await tried(() => aft.transaction(`${at}nested`, fail)));
    const inside = async (inner) => each([() => inner.get(`${at}outer`), () => inner.put(`${at}inner`, 1)]);
    return aft.transaction(`${at}inside`, inside);
  };
  answers.push(await aft.transaction(`${at}nested`, nested));
  answers.push(
    ...(await each([
      () => aft.transaction("", fail),
      () => aft.transaction("k".repeat(1025), fail),
      () => aft.transaction(`${at}x`, fail, { scope: "" }),
      () => aft.transaction(`${at}x`, fail, { scope: "s".repeat(257) }),
      () => aft.transaction(`${at}x`, fail, { isolation: "snapshot" }),
    ])),
  );
  return answers;
});

step("errors of named transactions", async (at) => shown(await aft.getMany(["a", "outer", "inner"].map((name) => at + name))));

step("too many named transactions", (at) => {
  const nest = (depth) => aft.transaction(`${at}${depth}`, async () => (await nest(depth + 1)) ?? depth);
  return each([() => nest(1), () => nest(1)]);
});

step("everything in a named transaction", async (at) => {
  const everything = async (tx) => {
    await tx.putMany({ [`${at}a`]: 1, [`${at}b`]: Buffer.from([0xff]), [`${at}c`]: 3 }, { delete: [`${at}d`] });
    const item = await tx.getItem(`${at}a`);
    return each([
      () => item,
      () => tx.get(`${at}none`, { default: "default" }),
      () => tx.put(`${at}a`, 2, { ifAbsent: true }),
      () => tx.put(`${at}a`, 2, { ifVersion: item.version }),
      () => tx.delete(`${at}c`, { ifVersion: "0" }),
      () => tx.delete(`${at}c`),
      () => tx.getMany([`${at}a`, `${at}b`, `${at}c`]),
      () => aft.get(`${at}a`, { default: "not committed" }),
    ]);
  };
  // What was absent stays so, and with it what came together with it.
  return each([
    () => aft.transaction(`${at}k`, everything),
    () => aft.get(`${at}b`, { default: "still absent" }),
    () => aft.get(`${at}a`, { default: "still absent" }),
  ]);
});

// Isolation.

const serializable = { isolation: "serializable" };

step("serializable", (at) => aft.putMany(all([..."abcd"].map((name) => at + name), 0)));

step("serializable", async (at) => {
  const overtaken = async (tx) => {
    const value = await tx.get(`${at}a`);
    await aft.transaction(`${at}rival`, (other) => other.put(`${at}a`, 10));
    await tx.put(`${at}b`, value + 1);
    return value;
  };
  const answers = await each([
    () => aft.transaction(`${at}k`, overtaken, serializable),
    () => aft.transaction(`${at}k`, overtaken, serializable),
  ]);
  // Without it, nobody minds.
  await aft.transaction(`${at}reset`, (tx) => tx.put(`${at}a`, 0));
  const unminded = async (tx) => {
    const value = await tx.get(`${at}a`);
    await aft.transaction(`${at}rival 2`, (other) => other.put(`${at}a`, 20));
    await tx.put(`${at}b`, value + 2);
    return value;
  };
  answers.push(await tried(() => aft.transaction(`${at}k2`, unminded)));
  return answers;
});

step("serializable", async (at) => {
  const answers = [];
  const doomed = async (tx) => {
    await tx.get(`${at}c`);
    await aft.transaction(`${at}pair`, (other) => other.putMany({ [`${at}c`]: 1, [`${at}d`]: 1 }));
    answers.push(...(await each([() => tx.get(`${at}d`), () => tx.get(`${at}c`)])));
    return "done";
  };
  for (let attempt = 0; attempt < 2; attempt += 1) {
    answers.push(await tried(() => aft.transaction(`${at}k3`, doomed, serializable)));
  }
  return answers;
});

step("serializable", (at) => {
  const wide = async (tx) => {
    for (const number of numbers(0, 200)) {
      const key = `${at}${number}`;
      const refused = await tried(() => (number % 2 ? tx.put(key, 1) : tx.get(key)));
      if (refused !== null) return [number, refused];
    }
  };
  const guarded = async (tx) => {
    for (const number of numbers(0, 200)) {
      const refused = await tried(() => tx.put(`${at}guarded/${number}`, 1, { ifAbsent: true }));
      if (refused !== null) return [number, refused];
    }
  };
  const lookers = async (tx) => {
    const seen = shown(await tx.getMany([`${at}a`, `${at}b`]));
    await aft.transaction(`${at}rival 3`, (other) => other.put(`${at}a`, 30));
    return seen;
  };
  return each([
    () => aft.transaction(`${at}wide`, wide, serializable),
    () => aft.transaction(`${at}guarded`, guarded),
    () => aft.transaction(`${at}look`, lookers, serializable),
    () => aft.getMany([..."abcd"].map((name) => at + name)),
  ]);
});

// Queues.

function batch(queue, ...messages) {
  const record = { eventSource: "aws:sqs", eventSourceARN: `arn:aws:sqs:eu-west-1:000000000000:${queue}` };
  return { Records: messages.map(([messageId, body]) => ({ ...record, messageId, body })) };
}

function message(at) {
  return async ({ messageId, body }, tx) => {
    const run = counted(at + messageId);
    await tx.put(`${at}${messageId}`, { body, run });
    if (run <= Number(body)) fail();
  };
}

step("a queue", async (at) => {
  // The body says how often the work fails.
  const event = batch("queue", [`${at}1`, "0"], [`${at}2`, "1"], [`${at}3`, "0"], [`${at}2`, "1"]);
  return [await sqs.process(event, message(at)), await sqs.process(batch("queue"), message(at))];
});

step("a queue", async (at) => {
  const event = batch("queue", [`${at}1`, "0"], [`${at}2`, "1"], [`${at}3`, "9"]);
  return [await sqs.process(event, message(at)), runsOf(at)];
});

step("a queue", async (at) => shown(await aft.getMany(numbers(0, 5).map((number) => `${at}${at}${number}`))));

step("a FIFO queue", (at) => {
  const event = batch("queue.fifo", [`${at}1`, "0"], [`${at}2`, "1"], [`${at}3`, "0"], [`${at}4`, "0"]);
  return sqs.process(event, message(at));
});

step("a FIFO queue", async (at) => {
  const event = batch("queue.fifo", [`${at}2`, "1"], [`${at}3`, "0"], [`${at}4`, "0"]);
  return [await sqs.process(event, message(at)), runsOf(at)];
});

step("a FIFO queue", async (at) => shown(await aft.getMany(numbers(0, 5).map((number) => `${at}${at}${number}`))));

/** The outcome: what was answered, or that it failed. What meets a conflict runs again, as the layer has it. */
async function onTheFake(fake, { scenario, step, request }) {
  try {
    return { answered: await fake.invoke(exports.handler, { scenario, step }, { requestId: request }) };
  } catch (error) {
    return error instanceof aft.Conflict ? onTheFake(fake, { scenario, step, request }) : { failed: true };
  }
}

async function main(isolation) {
  const fake = new Fake({}, { isolation });
  outside = await tried(() => aft.get("k"));
  const outcomes = [];
  for (const invocation of plan) outcomes.push({ ...invocation, outcome: await onTheFake(fake, invocation) });
  process.stdout.write(JSON.stringify(outcomes));
}

if (require.main === module) {
  main(process.argv[2]);
} else if (process.env.AFT_ENDPOINT) {
  tried(() => aft.get("k")).then((told) => {
    outside = told;
  });
}
