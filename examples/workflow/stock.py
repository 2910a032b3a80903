"""The stock's steps of a workflow: Reserve and Release, as workflow.asl.json calls them; and Restock, to begin with.

    {"execution": "arn:aws:states:…", "step": "Reserve", "input": {"order": "o-17", "item": "apple", "quantity": 2, "country": "NO"}}

AFT_TRANSACTION_KEY in the template names a transaction by execution and step. Step Functions tries a step again as a new Lambda request;
one that had committed is answered from its record.
"""

import aft


class OutOfStock(Exception):
    """Trying again would not help: AFT_RETRY_NEVER names this class, and so does the workflow."""


def reserve(order):
    stock = aft.get(f"stock/{order['item']}", {"left": 0})
    left = stock["left"] - order["quantity"]
    if left < 0:
        raise OutOfStock(f"there are only {stock['left']} of {order['item']}")
    aft.put(f"stock/{order['item']}", {"left": left})
    aft.put(f"order/{order['order']}", {**order, "state": "reserved"})
    return order


def release(order):
    stock = aft.get(f"stock/{order['item']}")
    aft.put(f"stock/{order['item']}", {"left": stock["left"] + order["quantity"]})
    aft.put(f"order/{order['order']}", {**order, "state": "released"})
    return order


def restock(wanted):
    stock = {"left": aft.get(f"stock/{wanted['item']}", {"left": 0})["left"] + wanted["quantity"]}
    aft.put(f"stock/{wanted['item']}", stock)
    return stock


STEPS = {"Reserve": reserve, "Release": release, "Restock": restock}


def handler(event, context):
    return STEPS[event["step"]](event["input"])
