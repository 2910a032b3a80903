"""The steps without Lambda, network and AFT's processes: PYTHONPATH=../../layer/python python3 -m unittest"""

import unittest

from aft.testing import Fake

import shipping
import stock

ORDER = {"order": "o-1", "item": "apple", "quantity": 2, "country": "NO"}


def step(name, order=ORDER):
    return {"execution": "e-1", "step": name, "input": order}


class WorkflowTest(unittest.TestCase):
    def test_an_order_is_reserved_and_shipped(self):
        with Fake({"stock/apple": {"left": 10}}) as fake:
            order = fake.invoke(stock.handler, step("Reserve"))
            tracking = fake.invoke(shipping.handler, step("Ship", order))["tracking"]
            self.assertEqual(fake.data["stock/apple"], {"left": 8})
            self.assertEqual(fake.data["order/o-1"], {**ORDER, "state": "shipped", "tracking": tracking})
            self.assertEqual(fake.data[f"parcel/{tracking}"]["order"], "o-1")

    def test_what_nobody_ships_is_given_back(self):
        with Fake({"stock/apple": {"left": 10}}) as fake:
            far = {**ORDER, "country": "AQ"}
            fake.invoke(stock.handler, step("Reserve", far))
            with self.assertRaises(shipping.NoCarrier):
                fake.invoke(shipping.handler, step("Ship", far))
            fake.invoke(stock.handler, step("Release", far))
            self.assertEqual(fake.data, {"stock/apple": {"left": 10}, "order/o-1": {**far, "state": "released"}})

    def test_what_is_not_there_is_not_reserved(self):
        with Fake({"stock/apple": {"left": 1}}) as fake:
            with self.assertRaises(stock.OutOfStock):
                fake.invoke(stock.handler, step("Reserve"))
            self.assertEqual(fake.data, {"stock/apple": {"left": 1}})
