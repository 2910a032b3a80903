"""The function that the tests run with Lambda's Python runtime client: it does what its event says."""

import json
import os
import sys
import urllib.request

GREETING = "Grüße, 世界 🙂\u0000\u007f"


def handler(event, context):
    do = event.get("do") if isinstance(event, dict) else None
    if do == "context":
        return seen(context)
    if do == "large":
        return "x" * (event["bytes"] - 2)
    if do == "unicode":
        return GREETING
    if do == "binary":
        return bytes(range(256))
    if do == "error":
        raise ValueError(event["message"])
    if do == "write":
        return write(event)
    return event


def seen(context):
    client, identity = context.client_context, context.identity
    return {
        "request": context.aws_request_id,
        # The exact one: what is left of it changes while it is asked for.
        "deadline": context._epoch_deadline_time_in_ms,
        "in time": context.get_remaining_time_in_millis() > 0,
        "arn": context.invoked_function_arn,
        "trace": os.environ.get("_X_AMZN_TRACE_ID"),
        "client": client and {"custom": client.custom, "env": client.env, "title": client.client.app_title},
        "identity": [identity.cognito_identity_id, identity.cognito_identity_pool_id],
        "tenant": context.tenant_id,
    }


def write(event):
    """Writes two keys, and ends this attempt as the event wants it ended."""
    attempt = json.loads(aft("GET", "transaction"))["attempt"]
    for key in event["keys"]:
        aft("PUT", f"kv/{key}", f"{event['value']} {attempt}".encode())
    how = event["attempts"][attempt - 1]
    if how == "error":
        raise ValueError(f"attempt {attempt}: {event['value']}")
    if how == "exit":
        os._exit(3)
    if how == "panic":
        sys.exit(4)
    return {"attempt": attempt}


def aft(method, path, body=None):
    request = urllib.request.Request(
        f"{os.environ['AFT_ENDPOINT']}/v1/{path}", body, {"X-Aft-Token": os.environ["AFT_TOKEN"]}, method=method
    )
    with urllib.request.urlopen(request) as answer:
        return answer.read()
