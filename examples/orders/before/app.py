"""The order pipeline without AFT, as one would write it first: partial batch responses, atomic updates on conditions, and a mark for each
message that is done, so that a redelivery is passed over.

Every single write is right. What is between two of them is not: see ../README.md.
"""

import json
import logging
import os

import boto3
from botocore.exceptions import ClientError

table = boto3.resource("dynamodb").Table(os.environ["TABLE"])
log = logging.getLogger()


class UnknownItem(Exception):
    """Nothing of the kind was ever in stock."""


def get(key):
    return table.get_item(Key={"pk": key}, ConsistentRead=True).get("Item")


def take(item, quantity):
    """Takes from the stock, which may not fall below zero. Whether there was enough."""
    try:
        table.update_item(
            Key={"pk": f"stock/{item}"},
            UpdateExpression="SET #left = #left - :quantity",
            ConditionExpression="#left >= :quantity",
            ExpressionAttributeNames={"#left": "left"},
            ExpressionAttributeValues={":quantity": quantity},
        )
    except ClientError as error:
        if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
            raise
        if get(f"stock/{item}") is None:
            raise UnknownItem(item) from None
        return False
    return True


def restock(item, quantity):
    table.update_item(
        Key={"pk": f"stock/{item}"},
        UpdateExpression="ADD #left :quantity",
        ExpressionAttributeNames={"#left": "left"},
        ExpressionAttributeValues={":quantity": quantity},
    )


def order(name, item, quantity):
    if get(f"order/{name}"):
        return
    state = "accepted" if take(item, quantity) else "out of stock"
    table.put_item(Item={"pk": f"order/{name}", "item": item, "quantity": quantity, "state": state})
    if state == "accepted":
        table.put_item(Item={"pk": f"shipment/{name}", "item": item, "quantity": quantity})


def work(record):
    done = f"message/{record['messageId']}"
    if get(done):
        return
    message = json.loads(record["body"])
    if "restock" in message:
        restock(message["restock"], message["quantity"])
    else:
        order(message["order"], message["item"], message["quantity"])
    table.put_item(Item={"pk": done})


def handler(event, context):
    failed = []
    for position, record in enumerate(event["Records"]):
        try:
            work(record)
        except Exception:
            log.exception("message %s is to be delivered again", record["messageId"])
            failed = event["Records"][position:]
            break
    return {"batchItemFailures": [{"itemIdentifier": record["messageId"]} for record in failed]}
