// What is the fake's own. That it answers as AFT does is shown by tests/functions/contract.cjs.

import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { test } from "node:test";

import aft, { Conflict, delete as remove, get } from "../aft/index.mjs";
import { process as processBatch } from "../aft/sqs.mjs";
import { Fake } from "../aft/testing.mjs";

const required = createRequire(import.meta.url)("../aft/index.js");

async function transfer({ pay }, context) {
  const { balance } = await aft.get("account/ada");
  await aft.put("account/ada", { balance: balance - pay });
  if (balance < pay) throw new Error("no funds");
  return { paid: pay, by: context };
}

/** Runs a test with a fake, which is closed in the end. */
function withFake(data, options, run) {
  return async () => {
    const fake = new Fake(data, options);
    try {
      await run(fake);
    } finally {
      fake.close();
    }
  };
}

test(
  "a handler commits if it resolves and leaves nothing if it rejects",
  withFake({ "account/ada": { balance: 10 } }, {}, async (fake) => {
    const options = { context: "context", requestId: "r1" };
    assert.deepEqual(await fake.invoke(transfer, { pay: 7 }, options), { paid: 7, by: "context" });
    assert.deepEqual(fake.data, { "account/ada": { balance: 3 } });
    await assert.rejects(fake.invoke(transfer, { pay: 7 }), /no funds/);
    assert.deepEqual(await fake.invoke(transfer, { pay: 7 }, options), { paid: 7, by: "context" });
    assert.deepEqual(fake.data, { "account/ada": { balance: 3 } });
  }),
);

test(
  "what Lambda could not send leaves nothing",
  withFake({}, {}, async (fake) => {
    const handler = async (event) => {
      await aft.put("a", 1);
      return event && new Map();
    };
    for (const event of [1, new Map()]) await assert.rejects(fake.invoke(handler, event), TypeError);
    const large = async () => {
      await aft.put("a", 1);
      return "x".repeat(6_291_556);
    };
    await assert.rejects(fake.invoke(large, null), { code: "response-too-large" });
    assert.deepEqual(fake.data, {});
  }),
);

test(
  "events and answers are copies",
  withFake({}, {}, async (fake) => {
    const event = { list: [1] };
    await fake.invoke(({ list }) => list.push(2), event);
    assert.deepEqual(event, { list: [1] });
    assert.deepEqual(await fake.invoke(() => ({ now: new Date(0), nothing: undefined }), null), {
      now: "1970-01-01T00:00:00.000Z",
    });
    assert.equal(await fake.invoke(() => {}, null), null);
  }),
);

test(
  "outside of an invocation there is no transaction",
  withFake({}, {}, async (fake) => {
    let late;
    await fake.invoke(async () => {
      late = new Promise(setImmediate).then(() => aft.put("late", 1));
    }, null);
    await assert.rejects(aft.get("a"), { code: "no-transaction" });
    await assert.rejects(late, { code: "no-transaction" });
    fake.close();
    await assert.rejects(fake.invoke(transfer, { pay: 1 }), /closed/);
  }),
);

test(
  "somebody else can be faster",
  withFake({ n: 0 }, {}, async (fake) => {
    const increment = async (event) => {
      const { value, version } = await aft.getItem("n");
      if (event === "overtaken") fake.commit({ n: 10 });
      await aft.put("n", value + 1, { ifVersion: version });
    };
    await fake.invoke(increment, "alone");
    await assert.rejects(fake.invoke(increment, "overtaken"), Conflict);
    assert.deepEqual(fake.data, { n: 10 });
    fake.commit({}, { delete: ["n"] });
    assert.deepEqual(fake.data, {});
  }),
);

for (const isolation of ["read-atomic", "serializable"]) {
  test(
    `invocations at the same time, ${isolation}`,
    withFake({ n: 0 }, { isolation }, async (fake) => {
      const increment = async () => {
        const n = await aft.get("n");
        await new Promise(setImmediate);
        await aft.put("n", n + 1);
      };
      const ended = await Promise.allSettled([fake.invoke(increment, 1), fake.invoke(increment, 2)]);
      const failed = ended.filter(({ status }) => status === "rejected");
      assert.equal(failed.length, isolation === "serializable" ? 1 : 0, "read atomic loses an update");
      assert.deepEqual(fake.data, { n: 1 });
    }),
  );
}

test(
  "an invocation within another is in another sandbox",
  withFake({}, {}, async (fake) => {
    const inner = async () => aft.put("inner", await aft.get("outer", { default: "not seen" }));
    const outer = async () => {
      await aft.put("outer", 1);
      await fake.invoke(inner, null);
      return [await aft.get("outer"), await aft.get("inner"), await aft.transaction("k", () => 1)];
    };
    assert.deepEqual(await fake.invoke(outer, null), [1, "not seen", 1]);
    assert.deepEqual(fake.data, { outer: 1, inner: "not seen" });
  }),
);

test("the innermost fake answers", async () => {
  const [outer, inner] = [new Fake({ a: "outer" }), new Fake({ a: "inner" })];
  assert.equal(await inner.invoke(() => get("a"), null), "inner");
  inner.close();
  assert.equal(await outer.invoke(() => get("a"), null), "outer");
  if (Symbol.dispose) outer[Symbol.dispose]();
  else outer.close();
  await assert.rejects(outer.invoke(() => get("a"), null), /closed/);
});

test(
  "import and require are one module",
  withFake({ a: 1 }, {}, async (fake) => {
    assert.equal(aft, required);
    const handler = async () => {
      await remove("a");
      return [(await required.get("a")) ?? "gone", required.Conflict === Conflict, typeof processBatch];
    };
    assert.deepEqual(await fake.invoke(handler, null), ["gone", true, "function"]);
  }),
);

test(
  "no key is mistaken for a member of an object",
  withFake({}, {}, async (fake) => {
    await fake.invoke(() => aft.putMany(new Map([["__proto__", 1], ["constructor", 2]])), null);
    assert.deepEqual(Object.entries(fake.data), [["__proto__", 1], ["constructor", 2]]);
    await fake.invoke(async () => {
      const found = await aft.getMany(["__proto__", "toString"]);
      assert.deepEqual([...found], [["__proto__", 1]]);
    }, null);
  }),
);
