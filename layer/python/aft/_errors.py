"""Why a request failed: a code that is stable, what happened, and where it is explained."""

from __future__ import annotations

from typing import Optional


class Error(RuntimeError):
    """What AFT answered other than success.

    code    stable, as in docs/errors; of this library's own: no-endpoint, connection-failed, unexpected-answer (docs/libraries.md)
    detail  what happened, to what, and what to do
    status  the HTTP status; None if there was no answer

    Let it propagate, unless the code says that the handler can do better: an attempt that ends in an error leaves nothing behind.
    """

    def __init__(self, code: str, detail: str, status: Optional[int] = None) -> None:
        # All three, so that it survives pickling.
        super().__init__(code, detail, status)
        self.code = code
        self.detail = detail
        self.status = status

    @property
    def page(self) -> str:
        """Where the code is explained, in AFT's repository."""
        return f"docs/errors/{self.code}.md" if self.status is not None else "docs/libraries.md"

    def __str__(self) -> str:
        return f"{self.code}: {self.detail} ({self.page})"


class Conflict(Error):
    """Another transaction was faster: code commit-conflict or read-conflict. Nothing was written.

    Raised out of the handler, it is what makes the layer run it again. After aft.transaction: call that again, which reads again.
    """


class PreconditionFailed(Error):
    """if_version or if_absent does not hold: code precondition-failed. Nothing was buffered; read the key again."""


_CLASSES = {"commit-conflict": Conflict, "read-conflict": Conflict, "precondition-failed": PreconditionFailed}


def error(code: str, detail: str, status: Optional[int]) -> Error:
    """The error of a code, as the class that it belongs to."""
    return _CLASSES.get(code, Error)(code, detail, status)
