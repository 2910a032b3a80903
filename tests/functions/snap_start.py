"""Under SnapStart: what the init saw, what the handler sees, and what the local endpoint makes of either token."""

import http.client
import os
import signal
from urllib.parse import urlsplit


def token():
    with open(os.environ["AFT_TOKEN_FILE"]) as file:
        return file.read()


at_init = token()


def put(with_token, key):
    connection = http.client.HTTPConnection(urlsplit(os.environ["AFT_ENDPOINT"]).netloc)
    connection.request("PUT", "/v1/kv/" + key, "1", {"X-Aft-Token": with_token})
    return connection.getresponse().status


def handler(event, context):
    marker = os.path.join(os.path.dirname(os.environ["AFT_TOKEN_FILE"]), "killed-" + context.aws_request_id)
    if event.get("kill") and not os.path.exists(marker):
        open(marker, "w").close()
        os.kill(os.getpid(), signal.SIGKILL)
    return {
        "at_init": at_init,
        "now": token(),
        "put_with_the_inits": put(at_init, "old"),
        "put_with_the_restored": put(token(), "new"),
        "keys_in_the_environment": [name for name in ("AFT_TOKEN", "AWS_ACCESS_KEY_ID") if name in os.environ],
    }
