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


def document(event):
    """A JSON text of so many bytes."""
    return json.dumps("v" * (event["value"] - 2))


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
    """The local endpoint."""
    import http.client
    from urllib.parse import quote, urlsplit

    connection = http.client.HTTPConnection(urlsplit(os.environ["AFT_ENDPOINT"]).netloc)
    headers = {"X-Aft-Token": os.environ["AFT_TOKEN"], "Content-Type": "application/json"}

    def request(method, key, body=None):
        connection.request(method, "/v1/kv/" + quote(key, safe=""), body, headers)
        answer = connection.getresponse()
        content = answer.read()
        if answer.status not in (200, 204, 404):
            raise RuntimeError(content.decode())

    def handler(event, context):
        for key in keys(event)[: event["reads"]]:
            request("GET", key)
        for key in keys(event):
            request("PUT", key, document(event))
        return RESPONSE

    return handler


handler = {"powertools": powertools, "transaction": transaction, "aft": aft}[os.environ["COSTS_OF"]]()
