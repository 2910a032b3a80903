"""Reads and writes, of the invocation's own transaction or of one that the handler names."""

from __future__ import annotations

import contextlib
import json
import math
from typing import Any, Callable, Dict, Iterable, List, Mapping, NamedTuple, Optional
from urllib.parse import quote

from aft._endpoint import Answer, Request, ask
from aft._errors import Error
from aft._values import (
    BATCH_BODY_BYTES,
    BATCH_KEYS,
    JSON,
    RESPONSE_BYTES,
    bytes_of,
    decode,
    document,
    encode,
    text_or_base64,
)


class Item(NamedTuple):
    """A value with what is known of it."""

    value: Any
    #: For if_version.
    version: str
    content_type: str


class Current(NamedTuple):
    """Where a transaction stands."""

    id: str
    attempt: int
    #: Function and request, or scope and key: for people.
    origin: str
    #: read-atomic or serializable
    isolation: str
    #: Keys read from the store, and the bytes that are kept of them.
    reads: int
    read_bytes: int
    #: Keys that would be written, and the bytes that are buffered of them.
    writes: int
    buffered_bytes: int
    #: Until Lambda ends the invocation.
    remaining_ms: int


class Keys:
    """What a transaction can do with keys. Every method raises aft.Error; what cannot be sent raises TypeError or ValueError."""

    def __init__(self, headers: Mapping[str, str]) -> None:
        self._headers = headers

    def get(self, key: str, default: Any = None, *, max_age: Optional[float] = None) -> Any:
        """The value of a key as this transaction sees it, or the default.

        With max_age, what the sandbox has read before will do if it is no older than so many seconds.
        """
        item = self.get_item(key, max_age=max_age)
        return default if item is None else item.value

    def get_item(self, key: str, *, max_age: Optional[float] = None) -> Optional[Item]:
        """The value of a key with its version and content type, or None."""
        try:
            answer = self._ask("GET", _path(key), _freshness(max_age))
        except Error as error:
            if error.code == "key-not-found":
                return None
            raise
        content_type = answer.content_type or ""
        return Item(decode(answer.body, content_type), (answer.etag or "").strip('"'), content_type)

    def get_many(self, keys: Iterable[str], *, max_age: Optional[float] = None) -> Dict[str, Any]:
        """The values of those keys that exist; any number of keys, a hundred in a round trip."""
        found = {}
        for some in _batches(map(_checked, keys)):
            answer = self._ask("POST", "/v1/kv:batchGet", {**_JSON, **_freshness(max_age)}, _batch({"keys": some}))
            for item in json.loads(answer.body)["items"]:
                if item["found"]:
                    found[item["key"]] = decode(bytes_of("value", item), item["contentType"])
        return found

    def put(
        self,
        key: str,
        value: Any,
        *,
        content_type: Optional[str] = None,
        if_version: Optional[str] = None,
        if_absent: bool = False,
    ) -> None:
        """Buffers a value: bytes as they are, everything else as JSON; with a content type, bytes or text as they are.

        if_version is what get_item saw; if_absent means that there is no such key. Otherwise PreconditionFailed. The commit
        checks it once more.
        """
        encoded = encode(value, content_type)
        headers = {"Content-Type": encoded.content_type, **_condition(if_version, if_absent)}
        self._ask("PUT", _path(key), headers, encoded.body)

    def put_many(self, values: Mapping[str, Any], *, delete: Iterable[str] = ()) -> None:
        """Buffers many values and deletions. Any number, a hundred in a request, each of which is buffered whole or not at all."""
        writes: List[Dict[str, Any]] = []
        for key, value in values.items():
            encoded = encode(value)
            content = text_or_base64("value", encoded.body)
            writes.append({"key": _checked(key), "contentType": encoded.content_type, **content})
        deleted = dict.fromkeys(map(_checked, delete))
        for key in deleted:
            if key in values:
                raise ValueError(f"{key!r} is to be put and to be deleted")
            writes.append({"key": key, "delete": True})
        for body in [_batch({"writes": some}) for some in _batches(writes)]:
            self._ask("POST", "/v1/kv:batchWrite", _JSON, body)

    def delete(self, key: str, *, if_version: Optional[str] = None) -> None:
        """Buffers a deletion; deleting what does not exist is fine, unless there is an if_version."""
        self._ask("DELETE", _path(key), _condition(if_version))

    def current(self) -> Current:
        """Where the transaction stands."""
        stands = json.loads(self._ask("GET", "/v1/transaction").body)
        return Current(
            stands["transaction"],
            stands["attempt"],
            stands["origin"],
            stands["isolation"],
            stands["reads"],
            stands["readBytes"],
            stands["writes"],
            stands["bufferedBytes"],
            stands["remainingMs"],
        )

    def _ask(self, method: str, path: str, headers: Mapping[str, str] = {}, body: Optional[bytes] = None) -> Answer:
        # A condition that held does not hold any more once its write is buffered.
        is_repeatable = "If-Match" not in headers and "If-None-Match" not in headers
        return ask(Request(method, path, {**self._headers, **headers}, body, is_repeatable))


class Transaction(Keys):
    """A transaction of its own within an invocation; see aft.transaction."""

    def __init__(self, id: str, attempt: int) -> None:
        # The attempt's number keeps out what an earlier attempt left running.
        super().__init__({"X-Aft-Transaction": id, "X-Aft-Attempt": str(attempt)})
        #: Derived from scope and key.
        self.id = id

    def _end(self, how: str, body: Optional[bytes] = None) -> Answer:
        headers = {**self._headers, "Content-Type": JSON}
        return ask(Request("POST", f"/v1/transactions/{self.id}:{how}", headers, body, is_repeatable=False))


_JSON = {"Content-Type": JSON}
own = Keys({})


def abort() -> None:
    """Nothing of the invocation's own transaction is written, and its response is released all the same."""
    ask(Request("POST", "/v1/transaction:abort", is_repeatable=False))


def transaction(
    key: str,
    work: Callable[[Transaction], Any],
    *,
    payload: Any = None,
    scope: Optional[str] = None,
    isolation: Optional[str] = None,
) -> Any:
    """Does work(tx) in a transaction of its own, unless the key's has committed before; returns the recorded response.

    The response is what work returned, as JSON holds it, this time or the first time. It commits when work returns. If work
    raises, nothing of it is written, and the error goes on.

    key        names the request: the message's or the order's ID
    payload    text, bytes or anything that is JSON: the same key with another one raises payload-mismatch
    scope      what keys are unique within; the function's name if it is not given
    isolation  read-atomic or serializable; what AFT_ISOLATION says if it is not given

    Write through tx only: what the module's functions do belongs to the invocation.
    """
    wanted = {"key": _checked(key), "scope": scope, "isolation": isolation}
    wanted = {name: given for name, given in wanted.items() if given is not None}
    if payload is not None:
        is_bytes = isinstance(payload, (bytes, bytearray, memoryview))
        text = payload if is_bytes or isinstance(payload, str) else document(payload, sort_keys=True)
        wanted.update(text_or_base64("payload", text.encode() if isinstance(text, str) else bytes(text)))
    begun = json.loads(ask(Request("POST", "/v1/transactions", _JSON, _batch(wanted), is_repeatable=False)).body)
    if begun["state"] == "committed":
        return _recorded(begun)
    tx = Transaction(begun["transaction"], begun["attempt"])
    try:
        response = document(work(tx))
        if len(response) > RESPONSE_BYTES:
            size = f"the response has {len(response)} bytes; at most {RESPONSE_BYTES} are allowed"
            raise Error("response-too-large", size, 413)
        ended = json.loads(tx._end("commit", response).body)
    except BaseException:
        # Should this fail, too: it ends with the invocation at the latest.
        with contextlib.suppress(Exception):
            tx._end("abort")
        raise
    # Another delivery may have committed meanwhile.
    return _recorded(ended) if ended["state"] == "duplicate" else json.loads(response)


def _recorded(ended: Mapping[str, Any]) -> Any:
    return decode(bytes_of("response", ended), ended.get("contentType"))


def _path(key: str) -> str:
    return "/v1/kv/" + quote(_checked(key), safe="")


def _checked(key: str) -> str:
    if not isinstance(key, str):
        raise TypeError(f"a key is a str; this one is {type(key).__name__}")
    key.encode()
    return key


def _batches(all: Iterable[Any]) -> List[List[Any]]:
    rest = list(all)
    return [rest[at : at + BATCH_KEYS] for at in range(0, len(rest), BATCH_KEYS)]


def _batch(wanted: Mapping[str, Any]) -> bytes:
    body = document(wanted)
    if len(body) > BATCH_BODY_BYTES:
        raise Error("body-too-large", f"the request has {len(body)} bytes; at most {BATCH_BODY_BYTES} are allowed", 413)
    return body


def _freshness(max_age: Optional[float]) -> Dict[str, str]:
    if max_age is None:
        return {}
    if not (math.isfinite(max_age) and max_age >= 0):
        raise ValueError(f"max_age is a number of seconds from 0; this one is {max_age!r}")
    return {"Cache-Control": f"max-age={int(max_age)}"}


def _condition(if_version: Optional[str], if_absent: bool = False) -> Dict[str, str]:
    if if_version is not None and if_absent:
        raise ValueError("a write has if_version or if_absent, not both")
    if if_absent:
        return {"If-None-Match": "*"}
    if if_version is None:
        return {}
    if not all("!" <= character <= "~" and character not in '",' for character in if_version) or not if_version:
        raise ValueError(f"if_version is what get_item gave as version; this one is {if_version!r}")
    return {"If-Match": f'"{if_version}"'}
