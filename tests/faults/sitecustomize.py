"""What goes wrong with a Python app from outside. Python loads it by itself, if this folder is on PYTHONPATH.

After every HTTP request that the process has made, it asks who listens at $FAULTS (tests/src/faults.rs) what comes next. boto3
and the aft library both go through http.client, so an app meets the same with one and with the other, and knows of neither.
"""

import http.client
import json
import os
import signal
import socket
import threading

getresponse, putheader, putrequest = (
    http.client.HTTPConnection.getresponse,
    http.client.HTTPConnection.putheader,
    http.client.HTTPConnection.putrequest,
)
lock, controller = threading.Lock(), None


def ask(request):
    """What comes after this request. Who asks waits for as long as the test wants."""
    global controller
    with lock:
        if controller is None:
            host, port = os.environ["FAULTS"].split(":")
            controller = socket.create_connection((host, int(port))).makefile("rw")
        print(json.dumps({"process": os.getpid(), "id": 0, "request": request}), file=controller, flush=True)
        return json.loads(controller.readline())["then"]


def begun(self, method, url, *arguments, **options):
    self.made = f"{method} {url}"
    putrequest(self, method, url, *arguments, **options)


def with_header(self, name, *values):
    if str(name).lower() == "x-amz-target":
        target = values[0].decode() if isinstance(values[0], bytes) else values[0]
        self.made = target.split(".")[1]
    putheader(self, name, *values)


def answered(self):
    response = getresponse(self)
    if f"{self.host}:{self.port}" == os.environ.get("AWS_LAMBDA_RUNTIME_API"):
        return response
    match ask(self.made):
        case "error":
            raise RuntimeError(f"a fault of the tests after {self.made}")
        case "lost":
            self.close()
            raise ConnectionResetError(f"a fault of the tests after {self.made}")
        case "exit":
            os._exit(1)
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "sandbox":
            # It ends with the process that Lambda started: AFT's shim, if there is one.
            os.kill(os.getppid() if "AFT_ENDPOINT" in os.environ else os.getpid(), signal.SIGKILL)
            signal.pause()
    return response


if "FAULTS" in os.environ:
    http.client.HTTPConnection.putrequest = begun
    http.client.HTTPConnection.putheader = with_header
    http.client.HTTPConnection.getresponse = answered
