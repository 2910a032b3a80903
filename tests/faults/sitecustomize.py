"""What goes wrong with a Python app from outside. Python loads it by itself, if this folder is on PYTHONPATH.

When the answer to an HTTP request has come, and before the app gets it, it asks who listens at $FAULTS (tests/src/faults.rs) what comes
next. That is done at the sockets, so an app meets the same with boto3 and with the aft library, and knows of neither. What the runtime
client says to Lambda takes another way.
"""

import json
import os
import re
import signal
import socket
import threading
import weakref

REQUEST = re.compile(rb"((?:GET|HEAD|PUT|POST|DELETE) \S+) HTTP/1\.1\r\n")
TARGET = re.compile(rb"x-amz-target: \w+\.(\w+)", re.IGNORECASE)

sendall, readinto = socket.socket.sendall, socket.SocketIO.readinto
unanswered = weakref.WeakKeyDictionary()
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


def sent(self, data, *flags):
    if request := REQUEST.match(data):
        unanswered[self] = (TARGET.search(data) or request)[1].decode()
    return sendall(self, data, *flags)


def received(self, buffer):
    count = readinto(self, buffer)
    request = unanswered.pop(self._sock, None)
    if request is None:
        return count
    match ask(request):
        case "error":
            raise RuntimeError(f"a fault of the tests after {request}")
        case "lost":
            raise ConnectionResetError(f"a fault of the tests after {request}")
        case "exit":
            os._exit(1)
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "sandbox":
            # It ends with the process that Lambda started: AFT's shim, if there is one.
            os.kill(os.getppid() if "AFT_ENDPOINT" in os.environ else os.getpid(), signal.SIGKILL)
            signal.pause()
    return count


if "FAULTS" in os.environ:
    socket.socket.sendall, socket.SocketIO.readinto = sent, received
