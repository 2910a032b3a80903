"""Unit tests of handlers, without Lambda, without network.

    from aft.testing import Fake

    with Fake({"account/ada": {"balance": 10}}) as fake:
        answer = fake.invoke(handler, {"pay": 3})
        assert fake.data == {"account/ada": {"balance": 7}}

It answers the requests that the library makes as AFT's extension does, from memory: reads, writes, conditions, isolation, named
transactions, limits, error codes. What it does not do: it runs a handler once where the layer tries again (a conflict is
raised by invoke); its reads are never stale (max_age); of the 3 MiB that a commit may check or move in one step, it counts only what
is written.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import threading
from types import TracebackType
from typing import Any, Callable, Dict, Iterable, List, Mapping, NamedTuple, Optional, Sequence, Type
from urllib.parse import unquote_to_bytes

from aft._attempt import Attempt, Committed
from aft._endpoint import Answer, Request, stand_ins
from aft._errors import Error
from aft._values import JSON, Value, bytes_of, decode, document, encode, text_or_base64

__all__ = ["Fake"]

KEY_BYTES = 1_024
TRANSACTION_KEY_BYTES = 1_024
SCOPE_BYTES = 256
OPEN_TRANSACTIONS = 64
FUNCTION_RESPONSE_BYTES = 6_291_556


class _Record(NamedTuple):
    """A commit that was made: the next delivery of the same request is answered from it."""

    fingerprint: str
    response: Value


class _Invocation:
    """What is open in a sandbox."""

    def __init__(self, own: Attempt) -> None:
        self.own = own
        self.named: Dict[str, Attempt] = {}

    def bytes_beside(self, open: Attempt) -> int:
        return sum(other.buffered_bytes for other in [self.own, *self.named.values()] if other is not open)


class Fake:
    """AFT in memory: within a `with` block, the functions of `aft` act on it."""

    def __init__(
        self, data: Mapping[str, Any] = {}, *, isolation: str = "read-atomic", function_name: str = "function"
    ) -> None:
        """Begins with committed values. `isolation` is what AFT_ISOLATION says, `function_name` its name."""
        self._isolation = isolation
        self._function = function_name
        self._committed = Committed()
        self._records: Dict[str, _Record] = {}
        self._begun = itertools.count(1)
        self._requests = itertools.count(1)
        # The last one is running; those before it wait for it.
        self._invocations: List[_Invocation] = []
        self._turn = threading.RLock()
        self._lock = threading.RLock()
        self._stand_in = self._answer
        self.commit(data)

    def __enter__(self) -> Fake:
        stand_ins.append(self._stand_in)
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], value: Optional[BaseException], traceback: Optional[TracebackType]
    ) -> None:
        stand_ins.remove(self._stand_in)

    @property
    def data(self) -> Dict[str, Any]:
        """The committed values."""
        with self._lock:
            return {key: decode(*value) for key, value in self._committed.values().items()}

    def commit(self, values: Mapping[str, Any] = {}, *, delete: Iterable[str] = ()) -> None:
        """Commits what somebody else writes, at once: also from within a handler, to see what it makes of a conflict."""
        writes: Dict[str, Optional[Value]] = {key: encode(value) for key, value in values.items()}
        writes.update(dict.fromkeys(delete))
        with self._lock:
            self._committed.apply(writes)

    def invoke(
        self, handler: Callable[[Any, Any], Any], event: Any, context: Any = None, *, request_id: Optional[str] = None
    ) -> Any:
        """The handler's answer, after the commit. If the handler raises, or the commit does, nothing is written.

        The same request_id with the same event is another delivery of one request: if the first one has written, it is answered
        from its record, and the handler does not run (on Lambda it may begin, unless AFT_DUPLICATE_CHECK=before). Without one,
        every call is a request of its own.

        A handler that invokes another one does so as if that ran in another sandbox meanwhile. Threads take turns.
        """
        if self._stand_in not in stand_ins:
            raise RuntimeError("a Fake is used in a with block: with Fake() as fake")
        payload = document(event)
        with self._turn:
            request = f"request-{next(self._requests)}" if request_id is None else request_id
            fingerprint = _hash(payload)
            id = _hash("request", self._function, request, fingerprint)
            if id in self._records:
                return json.loads(self._records[id].response.body)
            own = Attempt(self._committed, id, 1, f"{self._function} {request}", self._isolation, fingerprint)
            invocation = _Invocation(own)
            self._invocations.append(invocation)
            try:
                response = document(handler(json.loads(payload), context))
            finally:
                self._invocations.remove(invocation)
            if len(response) > FUNCTION_RESPONSE_BYTES:
                raise Error("response-too-large", f"the response has {len(response)} bytes; nothing was written", 413)
            with self._lock:
                self._commit(own, Value(response, JSON), is_recorded=bool(own.writes))
            return json.loads(response)

    def _commit(self, open: Attempt, response: Value, is_recorded: bool) -> None:
        open.check(is_recorded)
        if is_recorded:
            self._records[open.id] = _Record(open.fingerprint, response)
        if open.writes:
            self._committed.apply(open.writes)

    # What the extension answers.

    def _answer(self, request: Request) -> Answer:
        with self._lock:
            try:
                return self._route(request)
            except Error as refused:
                problem = {"code": refused.code, "detail": refused.detail}
                return Answer(refused.status or 500, document(problem), "application/problem+json")

    def _route(self, request: Request) -> Answer:
        _, is_key, encoded = request.path.partition("/v1/kv/")
        if is_key:
            return self._one_key(request, _checked_key(unquote_to_bytes(encoded).decode()))
        if request.path == "/v1/kv:batchGet":
            return self._get_many(request)
        if request.path == "/v1/kv:batchWrite":
            return self._put_many(request)
        if request.path == "/v1/transactions":
            return self._begin(request)
        open = self._find(request)
        if request.path == "/v1/transaction":
            return _json(open.status())
        if request.path == "/v1/transaction:abort":
            open.discard()
            return Answer(204)
        return self._end(open, request)

    def _find(self, request: Request) -> Attempt:
        """The open transaction that is meant."""
        if not self._invocations:
            raise Error("no-transaction", "no transaction is open: Fake.invoke runs a handler in one", 409)
        running = self._invocations[-1]
        id = request.headers.get("X-Aft-Transaction")
        if id is None:
            return running.own
        named = running.named.get(id)
        if named is None or str(named.number) != request.headers["X-Aft-Attempt"]:
            raise Error("other-transaction", f"the request names transaction {id}, which is not open", 409)
        return named

    def _one_key(self, request: Request, key: str) -> Answer:
        open = self._find(request)
        if request.method == "GET":
            open.see([key])
            value, version = open.seen(key)
            if value is None:
                raise Error("key-not-found", f"{key!r} does not exist for this transaction", 404)
            return Answer(200, value.body, value.content_type, f'"{version}"')
        is_put = request.method == "PUT"
        value = Value(request.body or b"", request.headers["Content-Type"]) if is_put else None
        open.write_if(key, value, request.headers, self._invocations[-1].bytes_beside(open))
        return Answer(204)

    def _get_many(self, request: Request) -> Answer:
        keys = [_checked_key(key) for key in json.loads(request.body or b"")["keys"]]
        open = self._find(request)
        open.see(keys)
        items = []
        for key in keys:
            value, _ = open.seen(key)
            found = {} if value is None else {"contentType": value.content_type, **text_or_base64("value", value.body)}
            items.append({"key": key, "found": value is not None, **found})
        return _json({"items": items})

    def _put_many(self, request: Request) -> Answer:
        writes: Dict[str, Optional[Value]] = {}
        for item in json.loads(request.body or b"")["writes"]:
            is_put = not item.get("delete")
            writes[_checked_key(item["key"])] = Value(bytes_of("value", item), item["contentType"]) if is_put else None
        open = self._find(request)
        open.write(writes, self._invocations[-1].bytes_beside(open))
        return Answer(204)

    def _begin(self, request: Request) -> Answer:
        wanted = json.loads(request.body or b"")
        has_payload = "payload" in wanted or "payloadBase64" in wanted
        fingerprint = _hash(bytes_of("payload", wanted) if has_payload else b"")
        scope, key = wanted.get("scope", self._function), wanted["key"]
        isolation = wanted.get("isolation", self._isolation)
        if not 0 < len(scope.encode()) <= SCOPE_BYTES:
            raise Error("malformed-body", f"a scope has 1 to {SCOPE_BYTES} bytes; this one is {scope!r}", 400)
        if not 0 < len(key.encode()) <= TRANSACTION_KEY_BYTES:
            raise Error("malformed-key", f"a transaction's key has 1 to {TRANSACTION_KEY_BYTES} bytes", 400)
        if isolation not in ("read-atomic", "serializable"):
            detail = f"the isolation is {isolation!r}; it must be read-atomic or serializable"
            raise Error("malformed-body", detail, 400)
        self._find(request)
        named = self._invocations[-1].named
        id = _hash("key", scope, key)
        if id in named:
            raise Error("in-progress", f"the key's transaction {id} is open in this invocation already", 409)
        if len(named) >= OPEN_TRANSACTIONS:
            raise Error("too-many-transactions", f"{OPEN_TRANSACTIONS} transactions are open: end one first", 409)
        number = next(self._begun)
        if id in self._records:
            return self._recorded(id, fingerprint, "committed")
        named[id] = Attempt(self._committed, id, number, f"{scope}/{key}", isolation, fingerprint)
        return _json({"transaction": id, "attempt": number, "state": "open"}, 201)

    def _end(self, open: Attempt, request: Request) -> Answer:
        del self._invocations[-1].named[open.id]
        if request.path.endswith(":abort"):
            return Answer(204)
        if open.id in self._records:
            return self._recorded(open.id, open.fingerprint, "duplicate")
        self._commit(open, Value(request.body or b"", request.headers["Content-Type"]), is_recorded=True)
        return _json({"transaction": open.id, "state": "committed"})

    def _recorded(self, id: str, fingerprint: str, state: str) -> Answer:
        record = self._records[id]
        if record.fingerprint != fingerprint:
            detail = "the key has committed with another payload: give another request a key of its own"
            raise Error("payload-mismatch", detail, 422)
        response = text_or_base64("response", record.response.body)
        return _json({"transaction": id, "state": state, "contentType": record.response.content_type, **response})


def _json(body: Mapping[str, Any], status: int = 200) -> Answer:
    return Answer(status, document(body), JSON)


def _checked_key(key: str) -> str:
    size = len(key.encode())
    if not 0 < size <= KEY_BYTES:
        raise Error("malformed-key", f"a key has 1 to {KEY_BYTES} bytes of UTF-8; this one has {size}", 400)
    return key


def _hash(*parts: Any) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:26]
