"""Exactly once for every message of an SQS batch: each one in an explicit transaction of AFT, named by its message ID.

    from aft_batch import process

    def handler(event, context):
        return process(event, work)

    def work(record, aft):
        aft.put("order/17", {"state": "paid"})  # with all else that the message writes, or not at all

Turn on partial batch responses for the event source (FunctionResponseTypes: ReportBatchItemFailures). Standard library only.
"""

import base64
import contextlib
import http.client
import json
import os
import sys
from urllib.parse import quote, urlsplit


def process(event, work):
    """Calls work(record, aft) for every message that has not committed before; answers with those that failed."""
    records = event["Records"]
    failed = []
    for position, record in enumerate(records):
        try:
            once(record["messageId"], record["body"], lambda aft: work(record, aft))
        except Exception as error:
            print(f"message {record['messageId']} is to be delivered again: {error!r}", file=sys.stderr, flush=True)
            if record["eventSourceARN"].endswith(".fifo"):
                # What follows a failed message must not overtake it.
                failed = records[position:]
                break
            failed.append(record)
    return {"batchItemFailures": [{"itemIdentifier": record["messageId"]} for record in failed]}


def once(key, payload, work):
    """Does the work of a key in a transaction of its own, unless it has committed before; returns the recorded response."""
    begun = call("POST", "/v1/transactions", json.dumps({"key": key, "payload": payload}))
    if begun["state"] == "committed":
        return recorded(begun)
    aft = Transaction(begun)
    try:
        response = work(aft)
    except BaseException:
        # Should this fail, too: it ends with the invocation at the latest.
        with contextlib.suppress(Exception):
            aft.abort()
        raise
    return aft.commit(response)


class Transaction:
    """An open explicit transaction, with documents as values."""

    def __init__(self, begun):
        self.path = "/v1/transactions/" + begun["transaction"]
        # The attempt's number keeps out what an earlier attempt left running.
        self.headers = {"X-Aft-Transaction": begun["transaction"], "X-Aft-Attempt": str(begun["attempt"])}

    def get(self, key):
        return call("GET", "/v1/kv/" + quote(key), headers=self.headers, absent=(404,))

    def put(self, key, document):
        call("PUT", "/v1/kv/" + quote(key), json.dumps(document), self.headers)

    def delete(self, key):
        call("DELETE", "/v1/kv/" + quote(key), headers=self.headers)

    def commit(self, response=None):
        """Returns the recorded response: another delivery may have committed meanwhile."""
        ended = call("POST", self.path + ":commit", json.dumps(response), self.headers)
        return recorded(ended) if ended["state"] == "duplicate" else response

    def abort(self):
        call("POST", self.path + ":abort", headers=self.headers)


class AftError(RuntimeError):
    """A problem document; code is stable: see docs/errors."""

    def __init__(self, problem):
        super().__init__(f"{problem['code']}: {problem['detail']}")
        self.code = problem["code"]


connection = http.client.HTTPConnection(urlsplit(os.environ.get("AFT_ENDPOINT", "")).netloc or "127.0.0.1:7321")


def call(method, path, body=None, headers=None, absent=()):
    """One request; None for an empty answer and for a status in absent."""
    token = {"X-Aft-Token": os.environ.get("AFT_TOKEN", ""), "Content-Type": "application/json"}
    try:
        connection.request(method, path, body, token | (headers or {}))
        answer = connection.getresponse()
        content = answer.read()
    except Exception:
        connection.close()
        raise
    if answer.status in absent:
        return None
    if answer.status >= 300:
        raise AftError(json.loads(content))
    return json.loads(content) if content else None


def recorded(document):
    """What commit() was given, then."""
    text = document.get("response")
    text = base64.b64decode(document["responseBase64"]) if text is None else text
    return json.loads(text) if text else None
