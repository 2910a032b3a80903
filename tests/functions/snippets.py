"""The Python in the documents: all of it compiles, and what claims to do something does it, on the library's fake.

    snippets.py ROOT
"""

import re
import sys
import types
from pathlib import Path

from aft.testing import Fake

ROOT = Path(sys.argv[1])
DOCUMENTS = ["README.md", *(f"docs/{name}.md" for name in ("faq", "getting-started", "libraries", "migrating", "troubleshooting"))]


def blocks(document):
    return re.findall(r"```(?:python|py)\n(.*?)```", (ROOT / document).read_text(), re.S)


def module(name, source, **given):
    made = types.ModuleType(name)
    made.__dict__.update(given)
    exec(compile(source, name, "exec"), made.__dict__)
    return made


def found(document, start):
    """The block that has this line, of which there is one."""
    matching = [block for block in blocks(document) if start in block and "boto3" not in block]
    assert len(matching) == 1, (document, start, len(matching))
    return matching[0]


count = 0
for document in DOCUMENTS:
    for block in blocks(document):
        compile(block, document, "exec")
        count += 1
assert count >= 10, count

shop, unit_test = blocks("docs/getting-started.md")
sys.modules["app"] = module("app", shop)
module("test_app", unit_test).test_an_order_takes_one_apple()

order = module("order", found("docs/migrating.md", "ledger/{order['order']}"))
with Fake() as fake:
    event = {"detail": {"order": "17", "amount": 3}}
    assert fake.invoke(order.handler, event, request_id="r") == fake.invoke(order.handler, event, request_id="r")
    assert fake.data == {"order/17": {"state": "paid"}, "ledger/17": {"amount": 3}}

transfer = module("transfer", found("docs/migrating.md", "debited"))
with Fake({"account/ada": {"balance": 10}, "account/bob": {"balance": 0}}, isolation="serializable") as fake:
    assert fake.invoke(transfer.handler, {"from": "ada", "to": "bob", "amount": 7}) == {"ok": True}
    assert fake.invoke(transfer.handler, {"from": "ada", "to": "bob", "amount": 7}) == {"ok": False}
    assert fake.data == {"account/ada": {"balance": 3}, "account/bob": {"balance": 7}}

account = module("account", found("docs/migrating.md", "old_item(name)"), old_item=lambda name: {"balance": 5})
with Fake() as fake:
    for _ in range(2):
        assert fake.invoke(lambda event, context: account.account("eve"), {}) == {"balance": 5}
    assert fake.data == {"account/eve": {"balance": 5}}

print(f"{count} blocks")
