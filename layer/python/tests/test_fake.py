"""What is the fake's own. That it answers as AFT does is shown by tests/functions/contract.py."""

import threading
import unittest

import aft
from aft.testing import Fake


def transfer(event, context):
    account = aft.get("account/ada")
    aft.put("account/ada", {"balance": account["balance"] - event["pay"]})
    if account["balance"] < event["pay"]:
        raise ValueError("no funds")
    return {"paid": event["pay"], "by": context}


class FakeTest(unittest.TestCase):
    def test_a_handler_commits_if_it_returns_and_leaves_nothing_if_it_raises(self):
        with Fake({"account/ada": {"balance": 10}}) as fake:
            self.assertEqual(fake.invoke(transfer, {"pay": 7}, "context", request_id="r1"), {"paid": 7, "by": "context"})
            self.assertEqual(fake.data, {"account/ada": {"balance": 3}})
            with self.assertRaisesRegex(ValueError, "no funds"):
                fake.invoke(transfer, {"pay": 7})
            self.assertEqual(fake.invoke(transfer, {"pay": 7}, request_id="r1"), {"paid": 7, "by": "context"})
            self.assertEqual(fake.data, {"account/ada": {"balance": 3}})

    def test_what_lambda_could_not_send_leaves_nothing(self):
        def handler(event, context):
            aft.put("a", 1)
            return event and object()

        with Fake() as fake:
            for event in (1, object()):
                with self.assertRaises(TypeError):
                    fake.invoke(handler, event)
            with self.assertRaisesRegex(aft.Error, "response-too-large"):
                fake.invoke(lambda event, context: aft.put("a", 1) or "x" * 6_291_556, None)
            self.assertEqual(fake.data, {})

    def test_events_and_answers_are_copies(self):
        kept = []
        with Fake() as fake:
            event = {"list": [1]}
            fake.invoke(lambda event, context: event["list"].append(2), event)
            answer = fake.invoke(lambda event, context: kept.append((1, 2)) or kept[0], None)
            value = fake.data
            value["x"] = 1
            self.assertEqual((event, answer, fake.data), ({"list": [1]}, [1, 2], {}))

    def test_outside_of_an_invocation_there_is_no_transaction(self):
        with Fake() as fake:
            fake.invoke(lambda event, context: None, None)
            with self.assertRaisesRegex(aft.Error, "no-transaction"):
                aft.get("a")
        with self.assertRaises(RuntimeError):
            fake.invoke(transfer, {"pay": 1})

    def test_somebody_else_can_be_faster(self):
        def increment(event, context):
            item = aft.get_item("n")
            if event == "overtaken":
                fake.commit({"n": 10})
            aft.put("n", item.value + 1, if_version=item.version)

        with Fake({"n": 0}) as fake:
            fake.invoke(increment, "alone")
            with self.assertRaisesRegex(aft.Conflict, "commit-conflict"):
                fake.invoke(increment, "overtaken")
            self.assertEqual(fake.data, {"n": 10})
            fake.commit(delete=["n"])
            self.assertEqual(fake.data, {})

    def test_a_serializable_function_insists_on_what_it_read(self):
        def copy(event, context):
            value = aft.get("a")
            fake.commit({"a": 2})
            aft.put("b", value)

        with Fake({"a": 1}) as fake:
            fake.invoke(copy, None)
        with Fake({"a": 1}, isolation="serializable") as fake:
            with self.assertRaises(aft.Conflict):
                fake.invoke(copy, None)
            self.assertEqual(fake.data, {"a": 2})

    def test_an_invocation_within_another_is_in_another_sandbox(self):
        def outer(event, context):
            aft.put("outer", 1)
            fake.invoke(lambda event, context: aft.put("inner", aft.get("outer", "not seen")), None)
            return [aft.get("outer"), aft.get("inner"), aft.transaction("k", lambda tx: 1)]

        with Fake() as fake:
            self.assertEqual(fake.invoke(outer, None), [1, "not seen", 1])
            self.assertEqual(fake.data, {"outer": 1, "inner": "not seen"})

    def test_a_handlers_threads_belong_to_it_and_invocations_of_threads_take_turns(self):
        def handler(event, context):
            threads = [threading.Thread(target=aft.put, args=[f"{event}/{n}", n]) for n in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            aft.put("last", event)
            return aft.current().writes

        with Fake() as fake:
            answers = []
            invoke = lambda event: answers.append(fake.invoke(handler, event))
            threads = [threading.Thread(target=invoke, args=[n]) for n in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            self.assertEqual((answers, len(fake.data)), ([5] * 4, 17))

    def test_the_innermost_fake_answers(self):
        with Fake({"a": "outer"}) as outer:
            with Fake({"a": "inner"}) as inner:
                self.assertEqual(inner.invoke(lambda event, context: aft.get("a"), None), "inner")
            self.assertEqual(outer.invoke(lambda event, context: aft.get("a"), None), "outer")


if __name__ == "__main__":
    unittest.main()
