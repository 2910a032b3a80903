"""Shipping's step of a workflow, as workflow.asl.json calls it: Ship. See stock.py.

A tracking number is drawn anew each time the handler runs; the order has the one that was committed.
"""

import uuid

import aft

CARRIERS = {"NO": "posten", "SE": "postnord"}


class NoCarrier(Exception):
    """Nobody ships there. Trying again would not help: AFT_RETRY_NEVER names this class; the workflow gives the stock back."""


def handler(event, context):
    order = event["input"]
    if order["country"] not in CARRIERS:
        raise NoCarrier(f"nobody ships to {order['country']}")
    carrier, tracking = CARRIERS[order["country"]], uuid.uuid4().hex
    parcels = aft.get(f"carrier/{carrier}", {"parcels": 0})["parcels"]
    aft.put(f"carrier/{carrier}", {"parcels": parcels + 1})
    aft.put(f"parcel/{tracking}", {"order": order["order"], "carrier": carrier})
    aft.put(f"order/{order['order']}", {**order, "state": "shipped", "tracking": tracking})
    return {**order, "tracking": tracking}
