"""Transactions for a Lambda function: what a handler writes through here happens once, whole, or not at all.

    import aft

    def handler(event, context):
        stock = aft.get("stock/apple", {"left": 0})
        aft.put("stock/apple", {"left": stock["left"] - 1})
        aft.put("order/17", {"state": "paid"})  # both, or neither
        return "done"                           # released after the commit

Bytes are stored as they are; everything else as JSON. A key that does not exist is the default; everything else that goes wrong
raises Error, and a handler lets it propagate: the layer runs the handler again where that helps.

`aft.sqs` is for batches of messages, `aft.testing` for unit tests without Lambda. Standard library only.
"""

from aft import sqs
from aft._errors import Conflict, Error, PreconditionFailed
from aft._transactions import Current, Item, Transaction, abort, own, transaction

get = own.get
get_item = own.get_item
get_many = own.get_many
put = own.put
put_many = own.put_many
delete = own.delete
current = own.current

__all__ = [
    "Conflict",
    "Current",
    "Error",
    "Item",
    "PreconditionFailed",
    "Transaction",
    "abort",
    "current",
    "delete",
    "get",
    "get_item",
    "get_many",
    "put",
    "put_many",
    "sqs",
    "transaction",
]
