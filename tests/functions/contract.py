"""What the Python library promises, as scenarios: each a few invocations, which answer with what they saw.

As a script it runs them on aft.testing.Fake, in the isolation that is its argument, and prints the outcomes; as a handler it runs one invocation of one scenario. A test
compares the two, and with contract.mjs, which has the same scenarios: tests/tests/libraries.rs.
"""

import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor

import aft
from aft import sqs
from aft.testing import Fake

# (scenario, step, request ID) and what runs: in this order, over one store.
plan = []
steps = {}
# How often the work of a key ran, told by the process itself.
runs = {}
outside = None

LARGE = 196_608


def step(name, request=None):
    """Adds an invocation to the scenario; `request` is another one's ID, to be the same request if the step is the same, too."""

    def add(function):
        number = sum(1 for scenario, _ in steps if scenario == name)
        steps[name, number] = function
        plan.append({"scenario": name, "step": number, "request": f"{name}-{number if request is None else request}"})
        return function

    return add


def again(name, number):
    """Adds another delivery of one of the scenario's invocations."""
    plan.append(next(other for other in plan if other["scenario"] == name and other["step"] == number))


def handler(event, context):
    return steps[event["scenario"], event["step"]](event["scenario"] + "/")


def tried(call):
    """What a call returned, or how it failed."""
    try:
        return shown(call())
    except aft.Error as error:
        kind = {aft.Conflict: "conflict", aft.PreconditionFailed: "precondition"}.get(type(error), "error")
        return f"{kind}: {error.code} {error.status} {error.page}"
    except (TypeError, ValueError):
        return "refused before it is sent"


def shown(value):
    if isinstance(value, bytes):
        return {"bytes": value.hex()}
    if isinstance(value, aft.Item):
        return {"value": shown(value.value), "contentType": value.content_type}
    if isinstance(value, dict):
        return {key: shown(item) for key, item in value.items()}
    return value


def fail():
    raise RuntimeError("as asked")


def counted(key):
    runs[key] = runs.get(key, 0) + 1
    return runs[key]


# Values.

VALUES = ["text", "", "é 😀 \0 \u2028", 0, -1.5, 9007199254740991, True, None, [], {}, {"a": [1, {"b": "c"}], "é": None}]
BYTES = [b"", b"\x00\xff", "é".encode(), b'{"a": 1}', b"\xef\xbb\xbfx"]


@step("values")
def _(at):
    for number, value in enumerate(VALUES + BYTES):
        aft.put(f"{at}{number}", value)
    aft.put(at + "text", "é", content_type="text/plain; charset=utf-8")
    aft.put(at + "json", '{"a": 1}', content_type="application/json")
    aft.put(at + "charset", b'"x"', content_type="Application/JSON; charset=utf-8")
    aft.put(at + "broken", b"{", content_type="application/json")
    return all_values(at)


@step("values")
def all_values(at):
    names = [*map(str, range(len(VALUES + BYTES))), "text", "json", "charset"]
    many = aft.get_many([at + name for name in names])
    return {
        "items": [tried(lambda: aft.get_item(at + name)) for name in names],
        "many": [shown(many[at + name]) for name in names],
        "broken": tried(lambda: aft.get(at + "broken")),
    }


@step("refused values")
def _(at):
    nan, infinity = float("nan"), float("inf")
    calls = [lambda value=value: aft.put(at + "x", value) for value in (nan, [infinity], {"a": -infinity}, object, {1, 2}, [b"x"])]
    content_types = ["", " a/b", "a/b ", "a/b\n", "a/é", "a" * 257]
    calls += [lambda each=each: aft.put(at + "x", b"", content_type=each) for each in content_types]
    calls += [
        lambda: aft.put(at + "x", 5, content_type="text/plain"),
        lambda: aft.put(5, 5),
        lambda: aft.get(None),
        lambda: aft.get("\ud800"),
        lambda: aft.get_many([at + "x", 5]),
        lambda: aft.delete(b"x"),
        lambda: aft.put(at + "x", 1, if_version="v", if_absent=True),
        lambda: aft.put(at + "x", 1, if_version=""),
        lambda: aft.put(at + "x", 1, if_version='a"b'),
        lambda: aft.delete(at + "x", if_version="a,b"),
        lambda: aft.get(at + "x", max_age=-1),
        lambda: aft.get_many([at + "x"], max_age=nan),
        lambda: aft.put_many({at + "x": 1, at + "y": 2}, delete=[at + "x"]),
        lambda: aft.put_many({at + "x": 1, at + "y": nan}),
        lambda: aft.transaction(5, lambda tx: None),
        lambda: aft.transaction(at + "x", lambda tx: None, payload=nan),
    ]
    return [[tried(call) for call in calls], aft.current().writes]


# Keys.

KEYS = ["a/b", "a//b", "/", ".", "..", "../x", "%", "%2F", "a b", "?q=1", "#f", "+", "é", "😀", "a\nb", "\0", ":batchGet", "'\"\\", "a" * 1000]


@step("keys")
def _(at):
    for number, key in enumerate(KEYS):
        aft.put(at + key, number)
    aft.put_many({key: -1 for key in [".", "..", "/"]})
    return None


@step("keys")
def _(at):
    names = [at + key for key in KEYS] + [".", "..", "/"]
    return [[aft.get(name) for name in names], aft.get_many(reversed(names))]


@step("malformed keys")
def _(at):
    keys = ["", "k" * 1025, "é" * 513, "é" * 512, "k" * 1024]
    answers = []
    for key in keys:
        answers += [
            tried(lambda: aft.get(key)),
            tried(lambda: aft.get_many([key])),
            tried(lambda: aft.put(key, 1, if_absent=True)),
            tried(lambda: aft.put_many({at + "x": 1, key: 1})),
            tried(lambda: aft.delete(key)),
        ]
    answers.append(tried(aft.abort))
    return answers


# Limits.


@step("large values")
def _(at):
    return [
        tried(lambda: aft.put(at + "bytes", bytes(LARGE))),
        tried(lambda: aft.put(at + "text", "x" * (LARGE - 2))),
        tried(lambda: aft.put(at + "bytes", bytes(LARGE + 1))),
        tried(lambda: aft.put(at + "text", "x" * (LARGE - 1))),
        tried(lambda: aft.put_many({at + "a": 1, at + "b": bytes(LARGE + 1)})),
        aft.current().writes,
    ]


@step("large values")
def _(at):
    return [len(aft.get(at + "bytes")), len(aft.get(at + "text"))]


def fill(keys, at):
    """Puts large values until one is refused; how many there are, and why no more."""
    number = 0
    while True:
        refused = tried(lambda: keys.put(f"{at}{number}", bytes(LARGE)))
        if refused is not None:
            return [number, refused]
        number += 1


@step("large transactions")
def _(at):
    filled = [fill(aft, at + "own/")]
    filled.append(tried(lambda: aft.put_many({f"{at}{number}": bytes(LARGE) for number in range(50)})))

    def nested(tx):
        filled.append(fill(tx, at + "outer/"))
        aft.transaction(at + "inner", lambda inner: filled.append(fill(inner, at + "inner/")))
        fail()

    try:
        aft.transaction(at + "outer", nested)
    except RuntimeError as error:
        filled.append(str(error))
    filled.append(tried(lambda: aft.put(at + "own/0", 1)))
    aft.abort()
    return filled


@step("many keys")
def _(at):
    refused = tried(lambda: aft.put_many({f"{at}{number}": 1 for number in range(10_050)}))
    stands = aft.current()
    aft.abort()
    return [refused, stands.writes, stands.buffered_bytes]


# Conditions.


@step("conditions")
def _(at):
    aft.put(at + "there", 1)
    return [
        tried(lambda: aft.put(at + "new", 1, if_absent=True)),
        tried(lambda: aft.put(at + "new", 2, if_absent=True)),
        tried(lambda: aft.put(at + "none", 1, if_version="0")),
        tried(lambda: aft.delete(at + "none", if_version="0")),
        tried(lambda: aft.put(at + "there", 2, if_version=aft.get_item(at + "there").version)),
        aft.get(at + "there"),
    ]


@step("conditions")
def _(at):
    item = aft.get_item(at + "there")
    return [
        tried(lambda: aft.put(at + "there", 3, if_absent=True)),
        tried(lambda: aft.put(at + "there", 3, if_version="0")),
        tried(lambda: aft.put(at + "there", 3, if_version=item.version)),
        tried(lambda: aft.put(at + "there", 4, if_version=item.version)),
        tried(lambda: aft.delete(at + "new", if_version=aft.get_item(at + "new").version)),
        aft.get_item(at + "new"),
    ]


@step("conditions")
def _(at):
    return shown(aft.get_many([at + "there", at + "new", at + "none"]))


@step("a condition that the commit finds broken")
def _(at):
    aft.put(at + "counter", 1)


@step("a condition that the commit finds broken")
def _(at):
    item = aft.get_item(at + "counter")
    # At the first attempt somebody else is faster; at the second one it has happened before.
    aft.transaction(at + "rival", lambda tx: tx.put(at + "counter", 10))
    aft.put(at + "counter", item.value + 1, if_version=item.version)
    return item.value


# Many.


@step("many")
def _(at):
    aft.put_many({f"{at}{number}": number if number % 2 else bytes([number]) for number in range(250)})
    aft.put_many({})
    aft.put_many({at + "x": 1}, delete=[f"{at}{number}" for number in range(100, 220)])


@step("many")
def _(at):
    found = aft.get_many([f"{at}{number}" for number in [*range(260), 7, 7]], max_age=60)
    return [list(found), shown(found), aft.get_many([]), aft.get_many(iter([at + "none", at + "x"]))]


# Transactions of invocations.


@step("own writes are read")
def _(at):
    seen = [aft.get(at + "a"), aft.get(at + "a", "none"), shown(aft.get_item(at + "a"))]
    aft.put(at + "a", 1)
    seen += [aft.get(at + "a"), aft.get(at + "a", max_age=60)]
    aft.delete(at + "a")
    seen += [aft.get(at + "a", "gone"), aft.get_many([at + "a"])]
    aft.put(at + "a", 2)
    aft.delete(at + "never")
    return seen


@step("own writes are read")
def _(at):
    return [aft.get(at + "a"), aft.get(at + "a", max_age=0), aft.get(at + "never", "none")]


@step("reads are atomic and repeatable")
def _(at):
    aft.put_many({at + "a": 0, at + "b": 0, at + "c": 0})


@step("reads are atomic and repeatable")
def _(at):
    seen = [aft.get(at + "a")]
    aft.transaction(at + "both", lambda tx: tx.put_many({at + "a": 1, at + "b": 1, at + "d": 1}))
    aft.transaction(at + "one", lambda tx: tx.put(at + "c", 1))
    return seen + [aft.get(at + "a"), aft.get(at + "b"), aft.get(at + "d", "absent"), aft.get(at + "c")]


@step("reads are atomic and repeatable")
def _(at):
    return aft.get_many([at + name for name in "abcd"])


@step("requests at the same time")
def _(at):
    def put(number):
        aft.put(f"{at}{number}", number)
        return aft.get(f"{at}{number}")

    with ThreadPoolExecutor(20) as threads:
        return [sum(threads.map(put, range(60))), aft.current().writes]


@step("requests at the same time")
def _(at):
    with ThreadPoolExecutor(20) as threads:
        return list(threads.map(lambda number: aft.get(f"{at}{number}"), range(61)))


@step("abort")
def _(at):
    aft.put(at + "a", 1)
    aft.abort()
    stands = aft.current()
    return [
        tried(lambda: aft.get(at + "a")),
        tried(lambda: aft.put(at + "a", 2)),
        tried(lambda: aft.put_many({at + "a": 2})),
        tried(lambda: aft.delete(at + "a")),
        tried(aft.abort),
        stands.writes,
        tried(lambda: aft.transaction(at + "k", lambda tx: tx.put(at + "b", 1))),
    ]


@step("abort")
def _(at):
    return aft.get_many([at + "a", at + "b"])


@step("an error leaves nothing")
def _(at):
    aft.put(at + "a", 1)
    aft.transaction(at + "k", lambda tx: tx.put(at + "committed", 1))
    fail()


@step("an error leaves nothing")
def _(at):
    return aft.get_many([at + "a", at + "committed"])


@step("duplicates")
def _(at):
    number = aft.get(at + "n", 0) + 1
    aft.put(at + "n", number)
    return {"number": number, "runs": counted(at)}


again("duplicates", 0)


@step("duplicates", request=0)
def _(at):
    # The same request ID with another event is another request.
    return [aft.get(at + "n"), counted(at)]


again("duplicates", 1)


@step("current")
def _(at):
    aft.put(at + "read", "four")


@step("current")
def _(at):
    aft.get_many([at + "read", at + "none"])
    aft.put_many({at + "é": "x", at + "b": b"12345"}, delete=[at + "c"])
    own, ids = aft.current(), []

    def work(tx):
        tx.put(at + "k", 1)
        stands = tx.current()
        ids.append(tx.id == stands.id)
        return [stands.isolation, stands.writes, stands.reads]

    named = aft.transaction(at + "k", work, isolation="serializable")
    counts = [own.attempt, own.isolation, own.reads, own.read_bytes, own.writes, own.buffered_bytes]
    return [counts, isinstance(own.id, str), isinstance(own.origin, str), own.remaining_ms > 0, ids, named]


@step("outside of an invocation")
def _(at):
    return outside


# Named transactions.


def work(at):
    def run(tx):
        tx.put(at + "a", {"run": counted(at)})
        return {"run": runs[at], "a": tx.get(at + "a"), "own": aft.get(at + "a", "not seen")}

    return run


@step("named transactions")
def _(at):
    answers = [aft.transaction(at + "k", work(at), payload="p")]
    answers.append(aft.transaction(at + "k", work(at), payload="p"))
    answers.append(aft.transaction(at + "k", work(at), payload=b"p"))
    answers.append(tried(lambda: aft.transaction(at + "k", work(at), payload="other")))
    answers.append(tried(lambda: aft.transaction(at + "k", work(at))))
    answers.append(aft.transaction(at + "k", work(at), payload="p", scope="elsewhere"))
    return answers


@step("named transactions")
def _(at):
    return [aft.transaction(at + "k", work(at), payload="p"), aft.get(at + "a")]


@step("responses and payloads of named transactions")
def _(at):
    document = {"b": [1, {"d": 1, "c": 2}], "a": None}
    other_order = {"a": None, "b": [1, {"c": 2, "d": 1}]}
    answers = [aft.transaction(f"{at}{number}", lambda tx: value) for number, value in enumerate(VALUES)]
    answers += [aft.transaction(f"{at}{number}", lambda tx: fail()) for number, value in enumerate(VALUES)]
    answers.append(aft.transaction(at + "document", lambda tx: 1, payload=document))
    answers.append(aft.transaction(at + "document", lambda tx: 2, payload=other_order))
    answers.append(aft.transaction(at + "bytes", lambda tx: 1, payload=b"\xff"))
    answers.append(tried(lambda: aft.transaction(at + "bytes", lambda tx: 2, payload=b"\xfe")))
    answers.append(tried(lambda: aft.transaction(at + "large", lambda tx: len("x" * LARGE) and "x" * LARGE)))
    answers.append(tried(lambda: aft.transaction(at + "nan", lambda tx: float("nan"))))
    answers.append(tried(lambda: aft.transaction(at + "bytes response", lambda tx: b"x")))
    answers += [aft.transaction(at + key, lambda tx: "free again") for key in ("large", "nan", "bytes response")]
    return answers


@step("errors of named transactions")
def _(at):
    answers, late = [], []

    def failing(tx):
        tx.put(at + "a", 1)
        late.append(tx)
        fail()

    for _attempt in range(2):
        try:
            aft.transaction(at + "k", failing)
        except RuntimeError as error:
            answers.append(str(error))
    aft.transaction(at + "k", late.append)
    for tx in late:
        answers += [tried(lambda: tx.get(at + "a")), tried(lambda: tx.put(at + "a", 2)), tried(tx.current)]

    def nested(tx):
        tx.put(at + "outer", 1)
        answers.append(tried(lambda: aft.transaction(at + "nested", fail)))
        return aft.transaction(at + "inside", lambda inner: [inner.get(at + "outer"), inner.put(at + "inner", 1)])

    answers.append(aft.transaction(at + "nested", nested))
    answers += [
        tried(lambda: aft.transaction("", fail)),
        tried(lambda: aft.transaction("k" * 1025, fail)),
        tried(lambda: aft.transaction(at + "x", fail, scope="")),
        tried(lambda: aft.transaction(at + "x", fail, scope="s" * 257)),
        tried(lambda: aft.transaction(at + "x", fail, isolation="snapshot")),
    ]
    return answers


@step("errors of named transactions")
def _(at):
    return aft.get_many([at + "a", at + "outer", at + "inner"])


@step("too many named transactions")
def _(at):
    def nest(depth):
        return aft.transaction(f"{at}{depth}", lambda tx: nest(depth + 1) or depth)

    return [tried(lambda: nest(1)), tried(lambda: nest(1))]


@step("everything in a named transaction")
def _(at):
    def work(tx):
        tx.put_many({at + "a": 1, at + "b": b"\xff", at + "c": 3}, delete=[at + "d"])
        item = tx.get_item(at + "a")
        return [
            shown(item),
            tx.get(at + "none", "default"),
            tried(lambda: tx.put(at + "a", 2, if_absent=True)),
            tried(lambda: tx.put(at + "a", 2, if_version=item.version)),
            tried(lambda: tx.delete(at + "c", if_version="0")),
            tried(lambda: tx.delete(at + "c")),
            shown(tx.get_many([at + "a", at + "b", at + "c"])),
            aft.get(at + "a", "not committed"),
        ]

    # What was absent stays so, and with it what came together with it.
    answer = aft.transaction(at + "k", work)
    return [answer, shown(aft.get(at + "b", "still absent")), aft.get(at + "a", "still absent")]


# Isolation.


@step("serializable")
def _(at):
    aft.put_many({at + name: 0 for name in "abcd"})


@step("serializable")
def _(at):
    answers = []

    def overtaken(tx):
        value = tx.get(at + "a")
        aft.transaction(at + "rival", lambda other: other.put(at + "a", 10))
        tx.put(at + "b", value + 1)
        return value

    for _attempt in range(2):
        answers.append(tried(lambda: aft.transaction(at + "k", overtaken, isolation="serializable")))
    # Without it, nobody minds.
    aft.transaction(at + "reset", lambda tx: tx.put(at + "a", 0))

    def unminded(tx):
        value = tx.get(at + "a")
        aft.transaction(at + "rival 2", lambda other: other.put(at + "a", 20))
        tx.put(at + "b", value + 2)
        return value

    answers.append(tried(lambda: aft.transaction(at + "k2", unminded)))
    return answers


@step("serializable")
def _(at):
    answers = []

    def doomed(tx):
        tx.get(at + "c")
        aft.transaction(at + "pair", lambda other: other.put_many({at + "c": 1, at + "d": 1}))
        answers.append(tried(lambda: tx.get(at + "d")))
        answers.append(tried(lambda: tx.get(at + "c")))
        return "done"

    for _attempt in range(2):
        answers.append(tried(lambda: aft.transaction(at + "k3", doomed, isolation="serializable")))
    return answers


@step("serializable")
def _(at):
    def wide(tx):
        for number in range(200):
            refused = tried(lambda: tx.put(f"{at}{number}", 1) if number % 2 else tx.get(f"{at}{number}"))
            if refused is not None:
                return [number, refused]

    def guarded(tx):
        for number in range(200):
            refused = tried(lambda: tx.put(f"{at}guarded/{number}", 1, if_absent=True))
            if refused is not None:
                return [number, refused]

    def lookers(tx):
        seen = tx.get_many([at + "a", at + "b"])
        aft.transaction(at + "rival 3", lambda other: other.put(at + "a", 30))
        return seen

    return [
        aft.transaction(at + "wide", wide, isolation="serializable"),
        aft.transaction(at + "guarded", guarded),
        tried(lambda: aft.transaction(at + "look", lookers, isolation="serializable")),
        aft.get_many([at + name for name in "abcd"]),
    ]


# Queues.


def batch(queue, *messages):
    record = {"eventSource": "aws:sqs", "eventSourceARN": f"arn:aws:sqs:eu-west-1:000000000000:{queue}"}
    return {"Records": [{**record, "messageId": id, "body": body} for id, body in messages]}


def message(at):
    def work(record, tx):
        run = counted(at + record["messageId"])
        tx.put(f"{at}{record['messageId']}", {"body": record["body"], "run": run})
        if run <= int(record["body"]):
            fail()

    return work


@step("a queue")
def _(at):
    # The body says how often the work fails.
    event = batch("queue", (at + "1", "0"), (at + "2", "1"), (at + "3", "0"), (at + "2", "1"))
    return [sqs.process(event, message(at)), sqs.process(batch("queue"), message(at))]


@step("a queue")
def _(at):
    event = batch("queue", (at + "1", "0"), (at + "2", "1"), (at + "3", "9"))
    return [sqs.process(event, message(at)), {key: count for key, count in runs.items() if key.startswith(at)}]


@step("a queue")
def _(at):
    return aft.get_many([f"{at}{at}{number}" for number in range(5)])


@step("a FIFO queue")
def _(at):
    event = batch("queue.fifo", (at + "1", "0"), (at + "2", "1"), (at + "3", "0"), (at + "4", "0"))
    return sqs.process(event, message(at))


@step("a FIFO queue")
def _(at):
    event = batch("queue.fifo", (at + "2", "1"), (at + "3", "0"), (at + "4", "0"))
    return [sqs.process(event, message(at)), {key: count for key, count in runs.items() if key.startswith(at)}]


@step("a FIFO queue")
def _(at):
    return aft.get_many([f"{at}{at}{number}" for number in range(5)])


def on_the_fake(isolation):
    """Every outcome: what was answered, or that it failed. What meets a conflict runs again, as the layer has it."""
    with Fake(isolation=isolation) as fake:
        global outside
        outside = tried(lambda: aft.get("k"))
        for invocation in plan:
            event = {"scenario": invocation["scenario"], "step": invocation["step"]}
            while True:
                try:
                    outcome = {"answered": fake.invoke(handler, event, request_id=invocation["request"])}
                except aft.Conflict:
                    continue
                except Exception:
                    outcome = {"failed": True}
                break
            yield {**invocation, "outcome": outcome}


if __name__ == "__main__":
    json.dump(list(on_the_fake(sys.argv[1])), sys.stdout)
elif os.environ.get("AFT_ENDPOINT"):
    outside = tried(lambda: aft.get("k"))
