"""Three ways to write n keys once for each request, whose consumption `tests/tests/costs.rs` measures. The event:

    {"request": "...", "writes": n, "reads": m, "value": bytes, "keys": "prefix"}

Reads are of the first m of the keys that are written. The response has 100 bytes, as a document.
"""

import json
import os

PLAIN_TABLE, RECORD_TABLE = "plain", "records"


def keys(event):
    """Of 32 bytes."""
    return [f"{event['keys']}/{number}".ljust(32, "-") for number in range(event["writes"])]


def value(event):
    """So many bytes as JSON."""
    return "v" * (event["value"] - 2)


def document(event):
    return json.dumps(value(event))


RESPONSE = "r" * 98


def dynamodb():
    import boto3

    return boto3.client("dynamodb", endpoint_url=os.environ["COSTS_DYNAMODB"])


def plain_reads(client, event):
    for key in keys(event)[: event["reads"]]:
        client.get_item(TableName=PLAIN_TABLE, Key={"k": {"S": key}}, ConsistentRead=True)


def powertools():
    """Powertools for AWS Lambda: its idempotency utility around plain writes."""
    from aws_lambda_powertools.utilities.idempotency import DynamoDBPersistenceLayer, IdempotencyConfig, idempotent

    client = dynamodb()
    layer = DynamoDBPersistenceLayer(table_name=RECORD_TABLE, boto3_client=client)

    @idempotent(config=IdempotencyConfig(event_key_jmespath="request"), persistence_store=layer)
    def handler(event, context):
        plain_reads(client, event)
        for key in keys(event):
            client.put_item(TableName=PLAIN_TABLE, Item={"k": {"S": key}, "v": {"S": document(event)}})
        return RESPONSE

    return handler


def transaction():
    """TransactWriteItems: the writes and, so that a request counts once for longer than ten minutes, a record of it."""
    client = dynamodb()

    def handler(event, context):
        plain_reads(client, event)
        record = {"id": {"S": event["request"]}, "response": {"S": RESPONSE}, "expiration": {"N": "2000000000"}}
        new = {"TableName": RECORD_TABLE, "Item": record, "ConditionExpression": "attribute_not_exists(id)"}
        items = [{"Put": new}]
        for key in keys(event):
            items.append({"Put": {"TableName": PLAIN_TABLE, "Item": {"k": {"S": key}, "v": {"S": document(event)}}}})
        try:
            client.transact_write_items(TransactItems=items, ClientRequestToken=event["request"][:36])
        except client.exceptions.TransactionCanceledException as cancelled:
            if cancelled.response["CancellationReasons"][0]["Code"] != "ConditionalCheckFailed":
                raise
            found = client.get_item(TableName=RECORD_TABLE, Key={"id": {"S": event["request"]}}, ConsistentRead=True)
            return found["Item"]["response"]["S"]
        return RESPONSE

    return handler


def aft():
    """The library that comes with the layer."""
    import aft

    def handler(event, context):
        for key in keys(event)[: event["reads"]]:
            aft.get(key)
        for key in keys(event):
            aft.put(key, value(event))
        return RESPONSE

    return handler


handler = {"powertools": powertools, "transaction": transaction, "aft": aft}[os.environ["COSTS_OF"]]()
