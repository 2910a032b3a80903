"""An order pipeline behind an SQS queue: every message writes an order, its item's stock and a ledger entry.

The stock is read, computed and written. Messages of one item must therefore not be worked on at the same time (by default, AFT does
not prevent lost updates): a FIFO queue with the item as the message group does that.
"""

import json

from aft_batch import call, process
from faults import Run


def work(record, aft):
    """Three writes that belong together. Fails on request, between them."""
    order = json.loads(record["body"])
    run = Run(record["messageId"])
    name, item, amount = order["order"], order["item"], order["amount"]
    stock = aft.get(f"stock/{item}") or {"sold": 0, "orders": []}
    stock = {"sold": stock["sold"] + amount, "orders": stock["orders"] + [name]}

    aft.put(f"order/{name}", {"item": item, "amount": amount, "state": "paid", "run": run.number})
    run.fail_if_asked(order, 1)
    aft.put(f"stock/{item}", stock)
    run.fail_if_asked(order, 2)
    aft.put(f"ledger/{name}", {"amount": amount, "sold": stock["sold"], "run": run.number})
    run.fail_if_asked(order, 3)
    return {"order": name, "run": run.number}


def handler(event, context):
    if "audit" in event:
        # In the invocation's own transaction.
        return {key: call("GET", "/v1/kv/" + key, absent=(404,)) for key in event["audit"]}
    return process(event, work)


if __name__ == "__main__":
    # What a managed runtime does by itself: AWS's runtime interface client asks for events and calls the handler.
    from awslambdaric.__main__ import main

    main(["awslambdaric", "app.handler"])
