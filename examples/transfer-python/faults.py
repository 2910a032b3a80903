"""Failing on request, between writes: what a timeout, a bug or a dying machine does, on demand."""

import itertools
import os
import signal
import tempfile


class Attempt:
    """Which run of the handler for one request this is, from 0; counted in files, because the process may not live on."""

    def __init__(self, request_id):
        for self.number in itertools.count():
            marker = os.path.join(tempfile.gettempdir(), f"aft-transfer-{request_id}.{self.number}")
            try:
                os.close(os.open(marker, os.O_CREAT | os.O_EXCL))
                return
            except FileExistsError:
                pass

    def fail_if_asked(self, event, writes):
        """The first attempt fails by the first of the event's faults, the second by the second, and so on."""
        fault = dict(enumerate(event.get("faults", []))).get(self.number)
        if not fault or fault["after"] != writes:
            return
        if fault["how"] == "error":
            raise RuntimeError(f"failed on request after {writes} writes")
        if fault["how"] == "exit":
            os._exit(0)
        os.kill(os.getpid(), signal.SIGKILL)
