//! What Lambda hands over and gets back: a batch of records of the transaction table's stream, and which of them failed.
//!
//! The event (Lambda developer guide, "Using AWS Lambda with Amazon DynamoDB"; the records are those of the DynamoDB
//! Streams API, `Record` and `StreamRecord`), without what is not used here:
//!
//! ```json
//! {"Records": [{"eventName": "INSERT", "dynamodb": {
//!     "Keys": {"id": {"S": "…"}, "part": {"S": "commit"}},
//!     "NewImage": {"id": {"S": "…"}, "t": {"S": "…"}, "w": {"M": {}}},
//!     "SequenceNumber": "111"}}]}
//! ```
//!
//! The answer (same guide, "Configuring partial batch response with DynamoDB and Lambda"):
//! `{"batchItemFailures": [{"itemIdentifier": "111"}]}`. Lambda goes back to the *lowest* sequence number in it and delivers
//! from there again, so records after a failed one come again whatever became of them; those before it do not.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// A batch.
#[derive(Debug, Deserialize)]
pub struct Event {
    /// In the order of their shard.
    #[serde(rename = "Records")]
    pub records: Vec<StreamRecord>,
}

/// A change of the transaction table.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StreamRecord {
    /// `INSERT`, `MODIFY` or `REMOVE`.
    event_name: String,
    dynamodb: Change,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Change {
    keys: Keys,
    /// Left as text: most of it is never looked at.
    new_image: Option<Box<RawValue>>,
    sequence_number: SequenceNumber,
}

/// A key of the transaction table; what has another key is the stream of another table.
#[derive(Debug, Deserialize)]
struct Keys {
    id: Text,
    part: Text,
}

#[derive(Debug, Deserialize)]
struct Text {
    #[serde(rename = "S")]
    text: String,
}

/// Names a record within its shard.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(transparent)]
pub struct SequenceNumber(String);

impl fmt::Display for SequenceNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl StreamRecord {
    /// Whether a commit record was written. Chunks and claims, and what TTL deletes, are passed over; a commit record never
    /// changes.
    #[must_use]
    pub fn is_commit(&self) -> bool {
        self.event_name == "INSERT" && self.dynamodb.keys.part.text == "commit"
    }

    /// The transaction, as the key says.
    #[must_use]
    pub fn transaction(&self) -> &str {
        &self.dynamodb.keys.id.text
    }

    /// The record's name.
    #[must_use]
    pub fn sequence_number(&self) -> &SequenceNumber {
        &self.dynamodb.sequence_number
    }

    /// The item as it was written, in DynamoDB's JSON; `None` if the stream does not carry it.
    #[must_use]
    pub fn new_image(&self) -> Option<&str> {
        self.dynamodb.new_image.as_deref().map(RawValue::get)
    }
}

/// Which records of a batch are to come again.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    /// Every one that failed, in the batch's order.
    pub batch_item_failures: Vec<ItemFailure>,
}

/// A record that is to come again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ItemFailure {
    /// Its name.
    pub item_identifier: SequenceNumber,
}

impl FromIterator<SequenceNumber> for Answer {
    fn from_iter<T: IntoIterator<Item = SequenceNumber>>(failed: T) -> Self {
        let failure = |item_identifier| ItemFailure { item_identifier };
        Self { batch_item_failures: failed.into_iter().map(failure).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::{Answer, Event, SequenceNumber};

    /// With all that Lambda sends.
    const EVENT: &str = r#"{"Records": [
        {"eventID": "1", "eventVersion": "1.1", "eventSource": "aws:dynamodb", "awsRegion": "eu-west-1",
         "eventSourceARN": "arn:aws:dynamodb:eu-west-1:1:table/t/stream/2026-11-26T00:00:00.000",
         "eventName": "INSERT", "dynamodb": {"ApproximateCreationDateTime": 1795687200.0, "SizeBytes": 26,
           "Keys": {"id": {"S": "a"}, "part": {"S": "commit"}}, "NewImage": {"id": {"S": "a"}},
           "SequenceNumber": "111", "StreamViewType": "NEW_IMAGE"}},
        {"eventName": "INSERT", "dynamodb": {"Keys": {"id": {"S": "a"}, "part": {"S": "chunk#n#0000"}}, "SequenceNumber": "1"}},
        {"eventName": "INSERT", "dynamodb": {"Keys": {"id": {"S": "a"}, "part": {"S": "claim"}}, "SequenceNumber": "2"}},
        {"eventName": "MODIFY", "dynamodb": {"Keys": {"id": {"S": "a"}, "part": {"S": "commit"}}, "SequenceNumber": "3"}},
        {"eventName": "REMOVE", "userIdentity": {"type": "Service", "principalId": "dynamodb.amazonaws.com"},
         "dynamodb": {"Keys": {"id": {"S": "a"}, "part": {"S": "commit"}}, "SequenceNumber": "4"}}
    ]}"#;

    #[test]
    fn only_new_commit_records_count() {
        let event: Event = serde_json::from_str(EVENT).unwrap();
        let commits: Vec<_> = event.records.iter().map(super::StreamRecord::is_commit).collect();
        assert_eq!(commits, [true, false, false, false, false]);
        let first = &event.records[0];
        assert_eq!((first.transaction(), first.new_image()), ("a", Some(r#"{"id": {"S": "a"}}"#)));
        assert_eq!(first.sequence_number().to_string(), "111");
        assert_eq!(event.records[1].new_image(), None);
    }

    #[test]
    fn another_tables_stream_is_no_event() {
        let other = EVENT.replace("\"part\"", "\"sort\"");
        let error = serde_json::from_str::<Event>(&other).unwrap_err().to_string();
        assert!(error.contains("missing field `part`"), "{error}");
    }

    #[test]
    fn the_answer_is_as_lambda_reads_it() {
        let answer: Answer = ["5", "7"].map(|number| SequenceNumber(number.to_owned())).into_iter().collect();
        let text = serde_json::to_string(&answer).unwrap();
        assert_eq!(text, r#"{"batchItemFailures":[{"itemIdentifier":"5"},{"itemIdentifier":"7"}]}"#);
        assert_eq!(serde_json::to_string(&Answer::default()).unwrap(), r#"{"batchItemFailures":[]}"#);
    }
}
