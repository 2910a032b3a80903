"""An order pipeline behind an SQS queue. Each message is one transaction, and its message ID names it:

    {"restock": "apple", "quantity": 10}
    {"order": "o-17", "item": "apple", "quantity": 2}

An order takes from the stock, is accepted, and makes a shipment: all of it or nothing, and once, however often the message comes. A
message that fails is reported, and SQS delivers it again, without the rest of its batch.

The stock is read, computed and written. The queue is FIFO with the item as the message group, so nobody else does that to the same
item meanwhile; on a standard queue, AFT_ISOLATION=serializable would see to it.
"""

import json

from aft import sqs


class UnknownItem(Exception):
    """Nothing of the kind was ever in stock. It may come: the message is delivered again, and goes to the dead letters in the end."""


def restock(item, quantity, tx):
    left = tx.get(f"stock/{item}", {"left": 0})["left"] + quantity
    tx.put(f"stock/{item}", {"left": left})


def order(name, item, quantity, tx):
    if tx.get(f"order/{name}") is not None:
        # Its sender sent it twice, or somebody moved it back from the dead letters: another message, but the same order.
        return
    stock = tx.get(f"stock/{item}")
    if stock is None:
        raise UnknownItem(item)
    left = stock["left"] - quantity
    if left < 0:
        tx.put(f"order/{name}", {"item": item, "quantity": quantity, "state": "out of stock"})
        return
    tx.put(f"order/{name}", {"item": item, "quantity": quantity, "state": "accepted"})
    tx.put(f"stock/{item}", {"left": left})
    tx.put(f"shipment/{name}", {"item": item, "quantity": quantity, "left": left})


def work(record, tx):
    message = json.loads(record["body"])
    if "restock" in message:
        restock(message["restock"], message["quantity"], tx)
    else:
        order(message["order"], message["item"], message["quantity"], tx)


def handler(event, context):
    return sqs.process(event, work)
