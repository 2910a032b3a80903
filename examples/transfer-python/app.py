"""A transfer between the accounts of one customer, with a ledger entry. Run it: aft local -- python3 app.py

The handler knows nothing of transactions: it reads, writes and answers. See ../transfer for the same in Rust.
"""

import os

from faults import Attempt
from stores import Aft, Plain

store = Plain() if os.environ.get("PLAIN_TABLE") else Aft()


def transfer(event, attempt):
    """Two accounts and a ledger entry: three writes that belong together."""
    customer, name, amount = event["customer"], event["transfer"], event["amount"]
    checking = store.get(f"account/{customer}/checking") or {"balance": 1000, "transfers": []}
    savings = store.get(f"account/{customer}/savings") or {"balance": 0, "transfers": []}
    checking = {"balance": checking["balance"] - amount, "transfers": checking["transfers"] + [name]}
    savings = {"balance": savings["balance"] + amount, "transfers": savings["transfers"] + [name]}

    store.put(f"account/{customer}/checking", checking)
    attempt.fail_if_asked(event, 1)
    store.put(f"account/{customer}/savings", savings)
    attempt.fail_if_asked(event, 2)
    entry = {"transfer": name, "amount": amount, "checking": checking["balance"], "savings": savings["balance"]}
    store.put(f"ledger/{customer}/{name}", entry)
    attempt.fail_if_asked(event, 3)
    return entry


def audit(event):
    """A customer's accounts, and the ledger entries of the last transfer and of those asked for."""
    customer = event["customer"]
    checking = store.get(f"account/{customer}/checking") or {"balance": 1000, "transfers": []}
    savings = store.get(f"account/{customer}/savings") or {"balance": 0, "transfers": []}
    last = store.get(f"ledger/{customer}/{checking['transfers'][-1]}") if checking["transfers"] else None
    ledger = [name for name in event.get("transfers", []) if store.get(f"ledger/{customer}/{name}")]
    return {"checking": checking, "savings": savings, "last": last, "ledger": ledger}


def handler(event, context):
    if event["do"] == "transfer":
        return transfer(event, Attempt(context.aws_request_id))
    return audit(event)


if __name__ == "__main__":
    # What a managed runtime does by itself: AWS's runtime interface client asks for events and calls the handler.
    from awslambdaric.__main__ import main

    main(["awslambdaric", "app.handler"])
