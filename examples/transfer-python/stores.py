"""The store as AFT offers it, with the standard library only; and, to compare, DynamoDB without AFT."""

import http.client
import json
import os
from urllib.parse import quote, urlsplit


class Aft:
    """AFT's local endpoint, which the shim names in the environment."""

    def __init__(self):
        self.connection = http.client.HTTPConnection(urlsplit(os.environ["AFT_ENDPOINT"]).netloc)

    @staticmethod
    def token():
        """Under SnapStart it changes with a restore, and so lies in a file."""
        if path := os.environ.get("AFT_TOKEN_FILE"):
            with open(path) as file:
                return file.read()
        return os.environ.get("AFT_TOKEN", "")

    def request(self, method, key, body=None):
        headers = {"X-Aft-Token": self.token(), "Content-Type": "application/json"}
        self.connection.request(method, "/v1/kv/" + quote(key), body, headers)
        answer = self.connection.getresponse()
        return answer.status, answer.read()

    def get(self, key):
        status, body = self.request("GET", key)
        if status == 404:
            return None
        if status != 200:
            raise RuntimeError(body.decode())
        return json.loads(body)

    def put(self, key, document):
        status, body = self.request("PUT", key, json.dumps(document))
        if status != 204:
            raise RuntimeError(body.decode())


class Plain:
    """A DynamoDB table with partition key "k"."""

    def __init__(self):
        import boto3

        self.table = boto3.resource("dynamodb").Table(os.environ["PLAIN_TABLE"])

    def get(self, key):
        item = self.table.get_item(Key={"k": key}, ConsistentRead=True).get("Item")
        return json.loads(item["v"]) if item else None

    def put(self, key, document):
        self.table.put_item(Item={"k": key, "v": json.dumps(document)})
