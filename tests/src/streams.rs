//! The stream of a table in DynamoDB Local, read as Lambda's event source mapping reads it: `DescribeStream`,
//! `GetShardIterator`, `GetRecords`. What the last returns is, record by record, what Lambda hands to a function.

use serde_json::{Value, json};

use crate::soon;
use crate::store::ask;

/// A table's stream of new images.
#[derive(Debug)]
pub struct Stream {
    endpoint: String,
    arn: String,
}

impl Stream {
    /// Switches the stream of a table on.
    ///
    /// # Panics
    /// If the engine refuses.
    pub async fn of(endpoint: &str, table: &str) -> Self {
        let specification = json!({"StreamEnabled": true, "StreamViewType": "NEW_IMAGE"});
        let query = json!({"TableName": table, "StreamSpecification": specification});
        let table = ask(endpoint, "DynamoDB_20120810.UpdateTable", &query).await;
        let arn = table["TableDescription"]["LatestStreamArn"].as_str().expect("a stream that is on has a name");
        Self { endpoint: endpoint.to_owned(), arn: arn.to_owned() }
    }

    /// Everything that was written since, in order, once so many commit records are among it.
    ///
    /// # Panics
    /// If they do not come.
    pub async fn until(&self, commits: usize) -> Vec<Value> {
        let read = async {
            loop {
                let records = self.records().await;
                if records.iter().filter(|record| is_commit(record)).count() >= commits {
                    return records;
                }
            }
        };
        soon("the stream", read).await
    }

    async fn records(&self) -> Vec<Value> {
        let described = self.ask("DescribeStream", &json!({"StreamArn": self.arn})).await;
        let shards = described["StreamDescription"]["Shards"].as_array().cloned().unwrap_or_default();
        let mut all = Vec::new();
        for shard in shards {
            let from = json!({"StreamArn": self.arn, "ShardId": shard["ShardId"], "ShardIteratorType": "TRIM_HORIZON"});
            let mut iterator = self.ask("GetShardIterator", &from).await["ShardIterator"].clone();
            while !iterator.is_null() {
                let page = self.ask("GetRecords", &json!({"ShardIterator": iterator})).await;
                let records = page["Records"].as_array().cloned().unwrap_or_default();
                // An open shard never ends.
                iterator = if records.is_empty() { Value::Null } else { page["NextShardIterator"].clone() };
                all.extend(records);
            }
        }
        all
    }

    async fn ask(&self, operation: &str, query: &Value) -> Value {
        ask(&self.endpoint, &format!("DynamoDBStreams_20120810.{operation}"), query).await
    }
}

/// Whether a commit record was written.
#[must_use]
pub fn is_commit(record: &Value) -> bool {
    record["eventName"] == "INSERT" && record["dynamodb"]["Keys"]["part"]["S"] == "commit"
}

/// A record's sequence number.
#[must_use]
pub fn sequence_number(record: &Value) -> Value {
    record["dynamodb"]["SequenceNumber"].clone()
}
