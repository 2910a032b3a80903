"""Another extension, slow on purpose: it tells TEST_STAGE of each event, and asks for the next when it hears a line."""

import http.client
import json
import os
import socket

api = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])


def call(method, path, headers, body=None):
    api.request(method, "/2020-01-01/extension/" + path, body, headers)
    answer = api.getresponse()
    return answer, answer.read()


registered, _ = call("POST", "register", {"Lambda-Extension-Name": "other-extension"}, '{"events": ["INVOKE", "SHUTDOWN"]}')
identifier = {"Lambda-Extension-Identifier": registered.headers["Lambda-Extension-Identifier"]}
stage = socket.create_connection(os.environ["TEST_STAGE"].rsplit(":", 1)).makefile("rw")
while True:
    event = json.loads(call("GET", "event/next", identifier)[1])["eventType"]
    print(event, file=stage, flush=True)
    if event == "SHUTDOWN":
        break
    stage.readline()
