"""Answers with the variables that the shim sets, if there are any."""

import os


def handler(event, context):
    return sorted(name for name in ("AFT_ENDPOINT", "AFT_TOKEN", "AFT_TOKEN_FILE") if name in os.environ)
