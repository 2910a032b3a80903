"""The pipeline without Lambda, network and AFT's processes: PYTHONPATH=../../layer/python python3 -m unittest"""

import json
import unittest
from pathlib import Path

from aft.testing import Fake

from app import handler

EVENTS = Path(__file__).parent / "events"


def event(name):
    return json.loads((EVENTS / name).read_text())


class OrdersTest(unittest.TestCase):
    def test_what_fails_is_reported_and_the_rest_happens_once(self):
        with Fake() as queue, self.assertLogs(level="ERROR"):
            batch = event("batch.json")
            failed = queue.invoke(handler, batch)["batchItemFailures"]
            self.assertEqual(failed, [{"itemIdentifier": record["messageId"]} for record in batch["Records"][2:]])
            self.assertEqual(queue.data["stock/apple"], {"left": 8})
            self.assertEqual(queue.invoke(handler, event("redelivered.json")), {"batchItemFailures": []})
            self.assertEqual(queue.data["stock/apple"], {"left": 5})
            self.assertNotIn("order/o-2", queue.data)

    def test_what_is_out_of_stock_is_not_shipped(self):
        with Fake({"stock/apple": {"left": 1}}) as queue:
            records = event("batch.json")["Records"][1:2]
            self.assertEqual(queue.invoke(handler, {"Records": records}), {"batchItemFailures": []})
            order = {"item": "apple", "quantity": 2, "state": "out of stock"}
            self.assertEqual(queue.data, {"stock/apple": {"left": 1}, "order/o-1": order})
