"""The function under test, in Python: plain writes, and the same within Powertools' idempotency utility."""

import os
import time

import boto3

TABLE, RECORDS = "plain", "records"
MARK = 16

client = boto3.client(
    "dynamodb",
    endpoint_url=os.environ["PEER_DYNAMODB"],
    region_name="us-east-1",
    aws_access_key_id="local",
    aws_secret_access_key="local",
)


def operations(event):
    """Yields before each operation, and ends the process where the event says so."""
    ends, attempt = event["ends"], 0
    if ends:
        with open(os.path.join(os.environ["PEER_ATTEMPTS"], event["request"]), "ab") as attempts:
            attempt = attempts.tell()
            attempts.write(b"x")
    end = ends[attempt] if attempt < len(ends) else None
    count = len(event["reads"]) + len(event["writes"])
    for operation in range(count + 1):
        if end is not None and operation == int(end * (count + 1)):
            os._exit(1)
        yield


def plain(event, context):
    operation = operations(event)
    seen = []
    for key in event["reads"]:
        next(operation)
        item = client.get_item(TableName=TABLE, Key={"k": {"S": key}}, ConsistentRead=True).get("Item", {})
        mark = item.get("v", {}).get("B", b"")[: 2 * MARK].decode()
        seen.append([key, int(mark[MARK:], 16) if mark else 0, mark[:MARK]])
    time.sleep(event["works_ms"] / 1000)
    value = f"{event['at']:016x}{event['number']:016x}".encode().ljust(event["bytes"], b"v")
    for key in event["writes"]:
        next(operation)
        if event["adds"]:
            client.update_item(
                TableName=TABLE,
                Key={"k": {"S": key}},
                UpdateExpression="ADD n :one",
                ExpressionAttributeValues={":one": {"N": "1"}},
            )
        else:
            client.put_item(TableName=TABLE, Item={"k": {"S": key}, "v": {"B": value}})
    next(operation)
    return {"seen": seen, "aborts": 0, "rest": "r" * 68}


def powertools():
    from aws_lambda_powertools.utilities.idempotency import DynamoDBPersistenceLayer, IdempotencyConfig, idempotent

    layer = DynamoDBPersistenceLayer(table_name=RECORDS, boto3_client=client)
    return idempotent(config=IdempotencyConfig(event_key_jmespath="request"), persistence_store=layer)(plain)


handler = powertools() if os.environ["PEER_SYSTEM"] == "powertools" else plain
