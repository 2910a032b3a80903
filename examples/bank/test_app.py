"""The bank without Lambda, network and AFT's processes: PYTHONPATH=../../layer/python python3 -m unittest"""

import unittest

from aft.testing import Fake

from app import InvalidRequest, handler

ACCOUNTS = {"account/ada": {"balance": 100}, "account/bob": {"balance": 20}}


class BankTest(unittest.TestCase):
    def test_a_transfer_moves_money(self):
        with Fake(ACCOUNTS, isolation="serializable") as bank:
            receipt = bank.invoke(handler, {"transfer": {"id": "t-1", "from": "ada", "to": "bob", "amount": 30}})
            self.assertEqual(receipt["state"], "done")
            self.assertEqual(
                bank.data, {"account/ada": {"balance": 70}, "account/bob": {"balance": 50}, "transfer/t-1": receipt}
            )
            audit = bank.invoke(handler, {"audit": ["ada", "bob"]})
            self.assertEqual(audit, {"balances": {"ada": 70, "bob": 50}, "sum": 120})

    def test_too_much_is_refused_and_the_refusal_is_kept(self):
        with Fake(ACCOUNTS) as bank:
            receipt = bank.invoke(handler, {"transfer": {"id": "t-1", "from": "bob", "to": "ada", "amount": 30}})
            self.assertEqual(receipt["state"], "refused: not enough money")
            self.assertEqual(bank.data, {**ACCOUNTS, "transfer/t-1": receipt})

    def test_a_wrong_request_leaves_nothing(self):
        with Fake(ACCOUNTS) as bank:
            for wrong in [
                {"transfer": {"id": "t-1", "from": "ada", "to": "nobody", "amount": 1}},
                {"transfer": {"id": "t-2", "from": "ada", "to": "ada", "amount": 1}},
                {"transfer": {"id": "t-3", "from": "ada", "to": "bob", "amount": -1}},
                {"open": {"account": "ada", "balance": 1}},
            ]:
                with self.assertRaises(InvalidRequest):
                    bank.invoke(handler, wrong)
            self.assertEqual(bank.data, ACCOUNTS)
