"""A bank: transfers between any two accounts, and audits of as many as are asked for. Each event is one transaction.

    {"open":     {"account": "ada", "balance": 100}}
    {"transfer": {"id": "t-17", "from": "ada", "to": "bob", "amount": 30}}
    {"audit":    ["ada", "bob"]}

The template sets AFT_ISOLATION=serializable: accounts that several transfers change at the same time lose none of them, and an audit
is of one moment. AFT_TRANSACTION_KEY=transfer.id makes a transfer happen once, whoever repeats it, under whatever request ID.
"""

import aft


class InvalidRequest(Exception):
    """The request is wrong, and would be each time: AFT_RETRY_NEVER names this class."""


def transfer(order):
    amount = order["amount"]
    source, target = f"account/{order['from']}", f"account/{order['to']}"
    if amount <= 0 or source == target:
        raise InvalidRequest("a transfer takes a positive amount from one account to another")
    accounts = aft.get_many([source, target])
    if missing := {source, target} - accounts.keys():
        raise InvalidRequest(f"there is no {' and no '.join(sorted(missing))}")

    receipt = {**order, "state": "done"}
    if accounts[source]["balance"] < amount:
        # An answer and not an error: it is recorded like any other, and so the same to whoever asks again.
        receipt["state"] = "refused: not enough money"
    else:
        accounts[source]["balance"] -= amount
        accounts[target]["balance"] += amount
        aft.put(source, accounts[source])
        aft.put(target, accounts[target])
    aft.put(f"transfer/{order['id']}", receipt)
    return receipt


def open_account(wanted):
    key, account = f"account/{wanted['account']}", {"balance": wanted["balance"]}
    if aft.get(key) is not None:
        raise InvalidRequest(f"there is an {key}")
    aft.put(key, account)
    return account


def audit(names):
    accounts = aft.get_many([f"account/{name}" for name in names])
    balances = {name: accounts[f"account/{name}"]["balance"] for name in names}
    return {"balances": balances, "sum": sum(balances.values())}


def handler(event, context):
    if "transfer" in event:
        return transfer(event["transfer"])
    if "open" in event:
        return open_account(event["open"])
    return audit(event["audit"])
