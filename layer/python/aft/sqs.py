"""Exactly once for every message of an SQS batch: each in a transaction of its own, named by its message ID.

    from aft import sqs

    def handler(event, context):
        return sqs.process(event, work)

    def work(record, tx):
        tx.put("order/17", {"state": "paid"})  # with all else that the message writes, or not at all

Turn on partial batch responses for the event source (FunctionResponseTypes: ReportBatchItemFailures).
"""

from __future__ import annotations

import logging
from typing import Any, Callable, Dict, List, Mapping

from aft._transactions import Transaction, transaction

_log = logging.getLogger(__name__)

Record = Mapping[str, Any]


def process(event: Mapping[str, Any], work: Callable[[Record, Transaction], Any]) -> Dict[str, List[Dict[str, str]]]:
    """Calls work(record, tx) for every message that has not committed before; answers with those that failed.

    A message whose work raised is logged, and delivered again. On a FIFO queue what follows it is not begun, and delivered
    again, too.
    """
    records = event["Records"]
    failed: List[Record] = []
    for position, record in enumerate(records):
        try:
            transaction(record["messageId"], lambda tx: work(record, tx), payload=record["body"])
        except Exception:
            _log.exception("message %s is to be delivered again", record["messageId"])
            if record["eventSourceARN"].endswith(".fifo"):
                # What follows a failed message must not overtake it.
                failed = records[position:]
                break
            failed.append(record)
    return {"batchItemFailures": [{"itemIdentifier": record["messageId"]} for record in failed]}
