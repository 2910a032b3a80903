"""One attempt at a transaction over committed values in memory: the rules of docs/protocol.md, for aft.testing."""

from __future__ import annotations

from typing import Any, Dict, FrozenSet, Iterable, List, Mapping, NamedTuple, Optional, Tuple

from aft._errors import Error, error
from aft._values import Value

TRANSACTION_BYTES = 4_194_304
TRANSACTION_KEYS = 10_000
SANDBOX_BYTES = 8_388_608
GUARDED_KEYS = 99
GUARDED_BYTES = 3_145_728
REMAINING_MS = 30_000

#: None is a deletion.
Writes = Mapping[str, Optional[Value]]


class Entry(NamedTuple):
    """A version of a key, with the keys that the same transaction wrote."""

    version: int
    value: Optional[Value]
    cowritten: FrozenSet[str]


ABSENT = Entry(0, None, frozenset())


class Committed:
    """Every version of every key."""

    def __init__(self) -> None:
        self._versions = 0
        self._entries: Dict[str, List[Entry]] = {}

    def newest_first(self, key: str) -> Iterable[Entry]:
        return [*reversed(self._entries.get(key, [])), ABSENT]

    def newest(self, key: str) -> Entry:
        return next(iter(self.newest_first(key)))

    def apply(self, writes: Writes) -> None:
        self._versions += 1
        for key, value in writes.items():
            entry = Entry(self._versions, value, frozenset(writes))
            self._entries.setdefault(key, []).append(entry)

    def values(self) -> Dict[str, Value]:
        newest = {key: entries[-1].value for key, entries in self._entries.items()}
        return {key: value for key, value in newest.items() if value is not None}


class Attempt:
    """What it has read, what it would write, and whether it may still do so."""

    def __init__(self, committed: Committed, id: str, number: int, origin: str, isolation: str, fingerprint: str) -> None:
        self.committed = committed
        self.id = id
        self.number = number
        self.origin = origin
        self.isolation = isolation
        self.fingerprint = fingerprint
        self.reads: Dict[str, Entry] = {}
        self.writes: Dict[str, Optional[Value]] = {}
        self.is_discarded = False
        #: Why it cannot commit.
        self.doom: Optional[str] = None
        self._write_numbers: Dict[str, int] = {}
        self._write_count = 0
        #: Keys that the commit insists on, and moves in one step with its record.
        self._step: Dict[str, None] = {}
        #: What was newest when it began to read.
        self._at_once: Dict[str, int] = {}

    @property
    def is_serializable(self) -> bool:
        return self.isolation == "serializable"

    @property
    def buffered_bytes(self) -> int:
        return sum(_size(key, value) for key, value in self.writes.items())

    def status(self) -> Dict[str, Any]:
        return {
            "transaction": self.id,
            "attempt": self.number,
            "origin": self.origin,
            "isolation": self.isolation,
            "reads": len(self.reads),
            "readBytes": sum(_weight(entry.value) for entry in self.reads.values()),
            "writes": len(self.writes),
            "bufferedBytes": self.buffered_bytes,
            "remainingMs": REMAINING_MS,
        }

    def check_open(self) -> None:
        why = "an earlier read found no compatible version; let the handler fail, and it is run again" if self.doom else None
        why = "the handler has aborted it" if self.is_discarded else why
        if why is not None:
            raise Error("transaction-closed", f"the transaction takes no more operations: {why}", 409)

    def see(self, keys: Iterable[str]) -> None:
        """Reads what it does not know yet."""
        self.check_open()
        new = [key for key in dict.fromkeys(keys) if key not in self.writes and key not in self.reads]
        if self.is_serializable:
            self._check_step(dict.fromkeys(new))
            if not self.reads:
                self._at_once = {key: self.committed.newest(key).version for key in new}
        for key in new:
            newest = self.committed.newest(key)
            entry = next((entry for entry in self.committed.newest_first(key) if self._fits(key, entry)), None)
            if entry is None or (self.is_serializable and entry.version < newest.version):
                self.doom = f"no version of {key!r} fits what this attempt has read before: let the handler fail"
                raise error("read-conflict", self.doom, 409)
            self.reads[key] = entry
            if self.is_serializable:
                self._step[key] = None

    def _fits(self, key: str, entry: Entry) -> bool:
        """R-READ-1: what one transaction wrote is seen together or not at all."""
        not_too_old = all(entry.version >= read.version for read in self.reads.values() if key in read.cowritten)
        not_too_new = all(entry.version <= self.reads[other].version for other in entry.cowritten if other in self.reads)
        return not_too_old and not_too_new

    def seen(self, key: str) -> Tuple[Optional[Value], str]:
        """The value and its entity tag, after `see`."""
        if key in self.writes:
            return self.writes[key], f"uncommitted-{self._write_numbers[key]}"
        entry = self.reads[key]
        return entry.value, f"version-{entry.version}"

    def write(self, writes: Writes, others_bytes: int, guarded: bool = False) -> None:
        """Buffers all of it or nothing; others_bytes is what the other transactions of the sandbox buffer."""
        self.check_open()
        after = {**self.writes, **writes}
        size = sum(_size(key, value) for key, value in after.items())
        if size > TRANSACTION_BYTES:
            raise _too_large(f"buffer {size} bytes of keys and values; at most {TRANSACTION_BYTES} are allowed")
        if len(after) > TRANSACTION_KEYS:
            raise _too_large(f"write {len(after)} keys; at most {TRANSACTION_KEYS} are allowed")
        if others_bytes + size > SANDBOX_BYTES:
            detail = f"the open transactions would buffer {others_bytes + size} bytes together; at most {SANDBOX_BYTES} are allowed"
            raise Error("buffers-full", detail, 409)
        in_step = {
            key: value
            for key, value in writes.items()
            if self.is_serializable or key in self._step or (guarded and key in self.reads)
        }
        self._check_step(in_step)
        self._step.update(dict.fromkeys(in_step))
        for key in writes:
            self._write_count += 1
            self._write_numbers[key] = self._write_count
        self.writes = after

    def write_if(self, key: str, value: Optional[Value], headers: Mapping[str, str], others_bytes: int) -> None:
        """Buffers one write if what the headers say holds of what this attempt sees."""
        wanted = headers.get("If-Match")
        if wanted is None and "If-None-Match" not in headers:
            return self.write({key: value}, others_bytes)
        self.see([key])
        current, version = self.seen(key)
        if wanted is None:
            failed = None if current is None else f"{key!r} exists, at version {version}"
        elif current is None:
            failed = f"{key!r} does not exist"
        else:
            failed = None if wanted == f'"{version}"' else f"{key!r} is at version {version}"
        if failed is not None:
            raise error("precondition-failed", f"{failed}: read it again and decide anew; nothing was written", 412)
        self.write({key: value}, others_bytes, guarded=True)

    def discard(self) -> None:
        """The handler asks to write nothing."""
        self.check_open()
        self.writes = {}
        self._step = {}
        self.is_discarded = True

    def check(self, is_recorded: bool) -> None:
        """Whether it may commit: what it insists on is still so. Without a record, it was enough that all of it was once."""
        if self.doom is not None:
            raise error("read-conflict", self.doom, 409)
        reads = self.reads.items()
        guards = {key: entry.version for key, entry in reads if self.is_serializable or key in self._step}
        if not is_recorded and (len(guards) < 2 or guards.items() <= self._at_once.items()):
            return
        for key, version in guards.items():
            newest = self.committed.newest(key).version
            if newest != version:
                detail = f"{key!r} was read at version {version} and is at version {newest} now; nothing was written"
                raise error("commit-conflict", detail, 409)

    def _check_step(self, more: Writes) -> None:
        keys = {**self._step, **dict.fromkeys(more)}
        if len(keys) > GUARDED_KEYS:
            raise _too_large(f"check or move {len(keys)} keys in one step; at most {GUARDED_KEYS} are allowed")
        writes = {**self.writes, **more}
        # Not what is there: how large its item is, the store alone knows.
        size = sum(_size(key, writes.get(key)) for key in keys)
        if size > GUARDED_BYTES:
            raise _too_large(f"check or move {size} bytes of items in one step; at most {GUARDED_BYTES} are allowed")


def _too_large(what: str) -> Error:
    return Error("transaction-too-large", f"the transaction would {what}", 413)


def _weight(value: Optional[Value]) -> int:
    return 0 if value is None else len(value.body) + len(value.content_type)


def _size(key: str, value: Optional[Value]) -> int:
    return len(key.encode()) + _weight(value)
