"""The function under test, in Python: plain writes, and the same within Powertools' idempotency utility."""

import os

import boto3

TABLE, RECORDS = "plain", "records"
RESPONSE = "r" * 98

client = boto3.client(
    "dynamodb",
    endpoint_url=os.environ["PEER_DYNAMODB"],
    region_name="us-east-1",
    aws_access_key_id="local",
    aws_secret_access_key="local",
)


def plain(event, context):
    for key in event["reads"]:
        client.get_item(TableName=TABLE, Key={"k": {"S": key}}, ConsistentRead=True)
    for key in event["writes"]:
        client.put_item(TableName=TABLE, Item={"k": {"S": key}, "v": {"B": b"v" * event["bytes"]}})
    return RESPONSE


def powertools():
    from aws_lambda_powertools.utilities.idempotency import DynamoDBPersistenceLayer, IdempotencyConfig, idempotent

    layer = DynamoDBPersistenceLayer(table_name=RECORDS, boto3_client=client)
    return idempotent(config=IdempotencyConfig(event_key_jmespath="request"), persistence_store=layer)(plain)


handler = powertools() if os.environ["PEER_SYSTEM"] == "powertools" else plain
