"""Requests to AFT's extension, over one kept-alive connection a thread; or to what stands in for it in unit tests.

Without a connection's answer nothing is known, except that a connection may have ended while nobody used it. So a request is
sent again, once and on a new connection, only if it went out on a used one and may arrive twice. Those that may not (conditions,
begin, commit, abort) rely on what is checked before every request: that the other side has not hung up.
"""

from __future__ import annotations

import http.client
import json
import os
import socket
import threading
from typing import Callable, Mapping, NamedTuple, Optional
from urllib.parse import urlsplit

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


class _Line(threading.local):
    """A thread's connection."""

    connection: Optional[http.client.HTTPConnection] = None

    def ready(self, netloc: str) -> http.client.HTTPConnection:
        """A connection to send on; its `sock` is None if it is a new one."""
        connection = self.connection
        if connection is None or f"{connection.host}:{connection.port}" != netloc:
            self.hang_up()
            # http.client sets TCP_NODELAY, and asks no proxy.
            self.connection = connection = http.client.HTTPConnection(netloc)
        if connection.sock is not None and not _is_quiet(connection.sock):
            connection.close()
        return connection

    def hang_up(self) -> None:
        if self.connection is not None:
            self.connection.close()


def _is_quiet(used: socket.socket) -> bool:
    """Between requests there is nothing to read: neither bytes nor the end."""
    try:
        used.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except BlockingIOError:
        return True
    except OSError:
        pass
    return False


_line = _Line()


def _forget_connections() -> None:
    # A child's bytes must not get between its parent's. What it closes stays open in the parent.
    global _line
    _line.hang_up()
    _line = _Line()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_connections)


def _over_http(request: Request) -> Answer:
    netloc = urlsplit(os.environ.get("AFT_ENDPOINT", "")).netloc
    if not netloc:
        raise Error(
            "no-endpoint",
            "AFT_ENDPOINT is not set, so this function does not run behind AFT's shim: set AWS_LAMBDA_EXEC_WRAPPER to"
            " /opt/aft-runtime-shim. In a unit test, use aft.testing.Fake",
        )
    headers = {"X-Aft-Token": _token(), **request.headers}
    while True:
        connection = _line.ready(netloc)
        is_used = connection.sock is not None
        try:
            connection.request(request.method, request.path, request.body, headers)
            response = connection.getresponse()
            body = response.read()
        except (OSError, http.client.HTTPException) as failure:
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
        return Answer(response.status, body, response.headers.get("Content-Type"), response.headers.get("ETag"))


def _token() -> str:
    """As it is now: under SnapStart it changes with a restore, and so lies in a file."""
    file = os.environ.get("AFT_TOKEN_FILE")
    if file is None:
        return os.environ.get("AFT_TOKEN", "")
    with open(file, encoding="ascii") as opened:
        return opened.read()
