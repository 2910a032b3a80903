"""The bank without AFT, as one would write it first: atomic updates on conditions, and a receipt that makes a repeated transfer harmless.

Every single write is right. What is between two of them is not: see ../README.md.
"""

import os

import boto3
from botocore.exceptions import ClientError

table = boto3.resource("dynamodb").Table(os.environ["TABLE"])


class InvalidRequest(Exception):
    """The request is wrong, and would be each time."""


def get(key):
    return table.get_item(Key={"pk": key}, ConsistentRead=True).get("Item")


def add(key, amount):
    """Adds to a balance, which may not fall below zero. Whether it could."""
    try:
        table.update_item(
            Key={"pk": key},
            UpdateExpression="SET balance = balance + :amount",
            ConditionExpression="balance >= :least",
            ExpressionAttributeValues={":amount": amount, ":least": max(0, -amount)},
        )
    except ClientError as error:
        if error.response["Error"]["Code"] == "ConditionalCheckFailedException":
            return False
        raise
    return True


def transfer(order):
    amount = order["amount"]
    source, target = f"account/{order['from']}", f"account/{order['to']}"
    if amount <= 0 or source == target:
        raise InvalidRequest("a transfer takes a positive amount from one account to another")
    if receipt := get(f"transfer/{order['id']}"):
        return {**order, "state": receipt["state"]}
    if not (get(source) and get(target)):
        raise InvalidRequest(f"there is no {source} or no {target}")

    receipt = {**order, "state": "done"}
    if add(source, -amount):
        add(target, amount)
    else:
        receipt["state"] = "refused: not enough money"
    table.put_item(Item={"pk": f"transfer/{order['id']}", **receipt})
    return receipt


def open_account(wanted):
    item = {"pk": f"account/{wanted['account']}", "balance": wanted["balance"]}
    table.put_item(Item=item, ConditionExpression="attribute_not_exists(pk)")
    return {"balance": wanted["balance"]}


def audit(names):
    balances = {name: int(get(f"account/{name}")["balance"]) for name in names}
    return {"balances": balances, "sum": sum(balances.values())}


def handler(event, context):
    if "transfer" in event:
        return transfer(event["transfer"])
    if "open" in event:
        return open_account(event["open"])
    return audit(event["audit"])
