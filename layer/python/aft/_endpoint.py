"""Requests to AFT's extension, over one kept-alive connection a thread; or to what stands in for it in unit tests.

Without an answer nothing is known, except that a connection may have ended while nobody used it. So a request is sent again, once
and on a new connection, only if it went out on a used one and may arrive twice. Those that may not (conditions, begin, commit,
abort) rely on what is checked before every request: that the other side has not hung up.

The connection is a socket and not http.client, which is half of what a function on Lambda would have to import for this library.
"""

from __future__ import annotations

import json
import os
import socket
import threading
from typing import Callable, Dict, Mapping, NamedTuple, Optional

from aft._errors import Error, error


class Request(NamedTuple):
    method: str
    path: str
    headers: Mapping[str, str] = {}
    body: Optional[bytes] = None
    # Whether it may arrive twice within an attempt.
    is_repeatable: bool = True


class Answer(NamedTuple):
    status: int
    body: bytes = b""
    content_type: Optional[str] = None
    etag: Optional[str] = None


# The last one answers instead of the extension: see aft.testing.
stand_ins: list[Callable[[Request], Answer]] = []


def ask(request: Request) -> Answer:
    """An answer of success; every other one is raised."""
    answer = stand_ins[-1](request) if stand_ins else _over_http(request)
    if answer.status < 300:
        return answer
    try:
        problem = json.loads(answer.body)
        code, detail = str(problem["code"]), str(problem["detail"])
    except (ValueError, TypeError, KeyError):
        start = answer.body[:200].decode(errors="replace")
        raise Error("unexpected-answer", f"{request.method} {request.path} was answered with {answer.status}: {start!r}") from None
    raise error(code, detail, answer.status)


class _Connection:
    """HTTP/1.1 as far as the extension speaks it: every body has a length."""

    def __init__(self, netloc: str) -> None:
        self.netloc = netloc
        host, _, port = netloc.partition(":")
        self.socket = socket.create_connection((host, int(port or 80)))
        # Else a body would wait for the acknowledgement of its head.
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.reader = self.socket.makefile("rb")
        self.is_used = False

    def is_quiet(self) -> bool:
        """Between requests there is nothing to read: neither bytes nor the end."""
        try:
            self.socket.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return True
        except OSError:
            pass
        return False

    def send(self, request: Request, token: str) -> None:
        headers = {"Host": self.netloc, "X-Aft-Token": token, **request.headers}
        body = request.body or b""
        if body or request.method in ("PUT", "POST"):
            headers["Content-Length"] = str(len(body))
        lines = [f"{request.method} {request.path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
        self.socket.sendall("\r\n".join([*lines, "", ""]).encode("ascii") + body)

    def receive(self) -> Answer:
        version, _, status = self._line().partition(" ")
        if not version.startswith("HTTP/1."):
            raise ConnectionError(f"the answer is not HTTP/1.1: {version!r}")
        headers: Dict[str, str] = {}
        while line := self._line():
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        length = int(headers.get("content-length", 0))
        body = self.reader.read(length)
        if len(body) < length:
            raise ConnectionResetError("the connection ended within the answer")
        self.is_used = headers.get("connection", "").lower() != "close"
        return Answer(int(status[:3]), body, headers.get("content-type"), headers.get("etag"))

    def _line(self) -> str:
        line = self.reader.readline()
        if not line.endswith(b"\n"):
            raise ConnectionResetError("the connection ended before the answer")
        return line.decode("latin-1").rstrip()

    def close(self) -> None:
        self.reader.close()
        self.socket.close()


class _Line(threading.local):
    """A thread's connection."""

    connection: Optional[_Connection] = None

    def ready(self, netloc: str) -> _Connection:
        """One to send on: a used one, if it is still good."""
        connection = self.connection
        if connection is None or connection.netloc != netloc or not connection.is_quiet():
            self.hang_up()
            self.connection = connection = _Connection(netloc)
        return connection

    def hang_up(self) -> None:
        if self.connection is not None:
            self.connection.close()
            self.connection = None


_line = _Line()


def _forget_connections() -> None:
    # A child's bytes must not get between its parent's. What it closes stays open in the parent.
    global _line
    _line.hang_up()
    _line = _Line()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_connections)


def _over_http(request: Request) -> Answer:
    netloc = os.environ.get("AFT_ENDPOINT", "").removeprefix("http://")
    if not netloc:
        raise Error(
            "no-endpoint",
            "AFT_ENDPOINT is not set, so this function does not run behind AFT's shim: set AWS_LAMBDA_EXEC_WRAPPER to"
            " /opt/aft-runtime-shim. In a unit test, use aft.testing.Fake",
        )
    token = _token()
    while True:
        is_used = False
        try:
            connection = _line.ready(netloc)
            is_used = connection.is_used
            connection.send(request, token)
            answer = connection.receive()
        except OSError as failure:
            _line.hang_up()
            if is_used and request.is_repeatable:
                continue
            raise Error(
                "connection-failed",
                f"no answer to {request.method} {request.path} from {netloc}: {failure!r}; let the handler fail, and send its event"
                " again",
            ) from failure
        except BaseException:
            # Cut off in the middle: what is left of the answer would be the next one's.
            _line.hang_up()
            raise
        if not connection.is_used:
            _line.hang_up()
        return answer


def _token() -> str:
    """As it is now: under SnapStart it changes with a restore, and so lies in a file."""
    file = os.environ.get("AFT_TOKEN_FILE")
    if file is None:
        return os.environ.get("AFT_TOKEN", "")
    with open(file, encoding="ascii") as opened:
        return opened.read()
