// Everything of the Node.js library, as TypeScript sees it: tests/tests/libraries.rs compiles it and compares nothing else.

import aft, { AftError, Conflict, PreconditionFailed, delete as remove, get, type Current, type Transaction } from "aft";
import { process, type BatchResponse } from "aft/sqs";
import { Fake } from "aft/testing";

interface Account {
  balance: number;
}

export const handler = async (event: { pay: number }): Promise<{ left: number }> => {
  const account: Account = await aft.get("account/ada", { default: { balance: 0 } });
  const perhaps: Account | undefined = await get<Account>("account/bob", { maxAge: 60 });
  const item = await aft.getItem<Account>("account/ada");
  const many: Map<string, Account> = await aft.getMany<Account>(new Set(["a", "b"]), { maxAge: 1.5 });
  await aft.put("account/ada", { balance: account.balance - event.pay }, { ifVersion: item?.version });
  await aft.put("picture", new Uint8Array([1]), { contentType: "image/png", ifAbsent: true });
  await aft.putMany({ a: 1, b: "text" }, { delete: ["c"] });
  await aft.putMany(new Map([["a", 1]]));
  await aft.delete("d", { ifVersion: "v" });
  await remove("e");
  const stands: Current = await aft.current();
  if (stands.isolation === "serializable" && stands.remainingMs < 1000) await aft.abort();
  const work = async (tx: Transaction) => {
    await tx.put("x", 1);
    return { id: tx.id, left: await tx.get<number>("x", { default: 0 }) };
  };
  const { left } = await aft.transaction("order/17", work, { payload: event, scope: "orders", isolation: "read-atomic" });
  return { left: left + (perhaps?.balance ?? 0) + many.size };
};

export const batches = (event: { Records: { messageId: string; body: string; eventSourceARN: string; extra: 1 }[] }): Promise<BatchResponse> =>
  process(event, async (record, tx) => tx.put(record.body, record.extra));

export async function test(): Promise<string> {
  using fake = new Fake({ "account/ada": { balance: 10 } }, { isolation: "serializable", functionName: "pay" });
  try {
    const { left } = await fake.invoke(handler, { pay: 3 }, { context: {}, requestId: "r1" });
    fake.commit({ a: 1 }, { delete: ["b"] });
    return `${left} ${fake.data["a"]}`;
  } catch (error) {
    if (error instanceof Conflict || error instanceof PreconditionFailed) return error.code;
    if (error instanceof AftError) return `${error.detail} ${error.status ?? "none"} ${error.page}`;
    throw error;
  } finally {
    fake.close();
  }
}

// @ts-expect-error: a key is text.
export const wrong = () => aft.get(5);
// @ts-expect-error: there is no such isolation.
export const unknown = () => aft.transaction("k", () => 1, { isolation: "snapshot" });
