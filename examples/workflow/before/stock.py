"""The stock's steps without AFT, as one would write them first: atomic updates on conditions, and the order itself tells a step that is
tried again that it is done.

Every single write is right. What is between two of them is not: see ../README.md.
"""

import os

import boto3
from botocore.exceptions import ClientError

table = boto3.resource("dynamodb").Table(os.environ["TABLE"])


class OutOfStock(Exception):
    """Trying again would not help."""


def get(key):
    return table.get_item(Key={"pk": key}, ConsistentRead=True).get("Item")


def add(item, quantity):
    """Adds to the stock, which may not fall below zero. Whether it could."""
    try:
        table.update_item(
            Key={"pk": f"stock/{item}"},
            UpdateExpression="ADD #left :quantity",
            ConditionExpression="attribute_not_exists(#left) OR #left >= :least",
            ExpressionAttributeNames={"#left": "left"},
            ExpressionAttributeValues={":quantity": quantity, ":least": max(0, -quantity)},
        )
    except ClientError as error:
        if error.response["Error"]["Code"] == "ConditionalCheckFailedException":
            return False
        raise
    return True


def reserve(order):
    key = f"order/{order['order']}"
    if get(key):
        return order
    if not get(f"stock/{order['item']}") or not add(order["item"], -order["quantity"]):
        raise OutOfStock(f"there is not enough of {order['item']}")
    table.put_item(Item={"pk": key, **order, "state": "reserved"})
    return order


def release(order):
    key = f"order/{order['order']}"
    if get(key)["state"] == "released":
        return order
    add(order["item"], order["quantity"])
    table.put_item(Item={"pk": key, **order, "state": "released"})
    return order


def restock(wanted):
    add(wanted["item"], wanted["quantity"])
    return wanted


STEPS = {"Reserve": reserve, "Release": release, "Restock": restock}


def handler(event, context):
    return STEPS[event["step"]](event["input"])
