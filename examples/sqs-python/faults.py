"""Failing on request, between writes: what a timeout, a bug or a dying machine does, on demand."""

import itertools
import os
import signal
import tempfile


class Run:
    """Which run of the work for one message this is, from 0; counted in files, because the process may not live on."""

    def __init__(self, message):
        for self.number in itertools.count():
            marker = os.path.join(tempfile.gettempdir(), f"aft-run-{message}.{self.number}")
            try:
                os.close(os.open(marker, os.O_CREAT | os.O_EXCL))
                return
            except FileExistsError:
                pass

    def fail_if_asked(self, order, writes):
        """The first run fails by the first of the order's faults, the second by the second, and so on."""
        fault = dict(enumerate(order.get("faults", []))).get(self.number)
        if not fault or fault["after"] != writes:
            return
        if fault["how"] == "error":
            raise RuntimeError(f"failed on request after {writes} writes")
        if fault["how"] == "exit":
            os._exit(0)
        # The sandbox ends with the process that Lambda started, which is the parent: AFT's shim.
        os.kill(os.getppid() if fault["how"] == "sandbox" else os.getpid(), signal.SIGKILL)
        signal.pause()
