//! Kinesis, DynamoDB Streams and Kafka: a batch is a range of a shard or partition, and is named by it. A range that is cut
//! differently the next time (bisected after an error, or after an event source mapping was changed) is another transaction.

use std::collections::BTreeMap;

use aft_protocol::id::Parts;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::event::{Origin, Top};
use super::partial::Batch;
use super::{Source, json};

#[derive(Deserialize)]
struct KinesisRecord {
    /// `shard:sequence number`.
    #[serde(rename = "eventID")]
    event_id: String,
    #[serde(rename = "eventSourceARN")]
    event_source_arn: String,
    kinesis: KinesisData,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct KinesisData {
    partition_key: String,
    sequence_number: String,
    data: String,
}

struct Kinesis(Vec<KinesisRecord>);

pub(super) fn kinesis<'a>(records: &str) -> Option<Box<dyn Origin + 'a>> {
    Some(Box::new(Kinesis(serde_json::from_str(records).ok()?)))
}

impl Origin for Kinesis {
    fn source(&self) -> Source {
        Source::Kinesis
    }

    fn name(&self, seed: Parts) -> Option<Parts> {
        let (first, last) = (self.0.first()?, self.0.last()?);
        let shard = |record: &KinesisRecord| record.event_id.split_once(':').map(|(shard, _)| shard.to_owned());
        let of_first = shard(first)?;
        let one_shard = |record| shard(record).as_ref() == Some(&of_first);
        if !self.0.iter().all(|record| one_shard(record) && record.event_source_arn == first.event_source_arn) {
            return None;
        }
        let range = [&first.kinesis.sequence_number, &last.kinesis.sequence_number, &self.0.len().to_string()];
        Some(range.iter().fold(seed.with(&first.event_source_arn).with(&of_first), Parts::with))
    }

    fn kept(&self, seed: Parts) -> Parts {
        self.0.iter().fold(seed, |seed, KinesisRecord { kinesis, .. }| {
            seed.with(&kinesis.sequence_number).with(&kinesis.partition_key).with(&kinesis.data)
        })
    }

    fn batch(&self) -> Option<Batch> {
        Some(Batch::new(&self.0.first()?.kinesis.sequence_number, self.0.len()))
    }
}

#[derive(Deserialize)]
struct DynamoDbRecord<'a> {
    #[serde(rename = "eventName")]
    event_name: String,
    #[serde(rename = "eventSourceARN")]
    event_source_arn: String,
    #[serde(borrow)]
    dynamodb: &'a RawValue,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Change {
    sequence_number: String,
}

impl DynamoDbRecord<'_> {
    fn sequence_number(&self) -> Option<String> {
        json::read::<Change>(Some(self.dynamodb)).map(|change| change.sequence_number)
    }
}

/// Its records do not name their shard; sequence numbers are those of the whole stream.
struct DynamoDb<'a>(Vec<DynamoDbRecord<'a>>);

pub(super) fn dynamodb<'a>(records: &'a str) -> Option<Box<dyn Origin + 'a>> {
    Some(Box::new(DynamoDb(serde_json::from_str(records).ok()?)))
}

impl Origin for DynamoDb<'_> {
    fn source(&self) -> Source {
        Source::DynamoDb
    }

    fn name(&self, seed: Parts) -> Option<Parts> {
        let (first, last) = (self.0.first()?, self.0.last()?);
        if self.0.iter().any(|record| record.event_source_arn != first.event_source_arn) {
            return None;
        }
        let range = [first.sequence_number()?, last.sequence_number()?, self.0.len().to_string()];
        Some(range.iter().fold(seed.with(&first.event_source_arn), Parts::with))
    }

    fn kept(&self, seed: Parts) -> Parts {
        // The order of an item's attributes is not part of it.
        let add = |seed: Parts, record: &DynamoDbRecord<'_>| {
            seed.with(&record.event_name).with(json::canonical(Some(record.dynamodb)))
        };
        self.0.iter().fold(seed, add)
    }

    fn batch(&self) -> Option<Batch> {
        Some(Batch::new(self.0.first()?.sequence_number()?, self.0.len()))
    }
}

#[derive(Deserialize)]
struct KafkaRecord<'a> {
    offset: i64,
    key: Option<String>,
    value: Option<String>,
    #[serde(borrow)]
    headers: Option<&'a RawValue>,
}

/// Records by partition (`topic-partition`).
struct Kafka<'a> {
    cluster: String,
    partitions: BTreeMap<String, Vec<KafkaRecord<'a>>>,
}

pub(super) fn kafka<'a>(top: &Top<'a>) -> Option<Box<dyn Origin + 'a>> {
    let source: String = json::read(top.event_source)?;
    let cluster = match source.as_str() {
        "aws:kafka" => json::read(top.event_source_arn)?,
        "SelfManagedKafka" => json::read(top.bootstrap_servers)?,
        _ => return None,
    };
    let partitions = serde_json::from_str(top.kafka_records?.get()).ok()?;
    Some(Box::new(Kafka { cluster, partitions }))
}

impl Origin for Kafka<'_> {
    fn source(&self) -> Source {
        Source::Kafka
    }

    fn name(&self, seed: Parts) -> Option<Parts> {
        if self.partitions.is_empty() {
            return None;
        }
        self.partitions.iter().try_fold(seed.with(&self.cluster), |seed, (partition, records)| {
            let range = [records.first()?.offset, records.last()?.offset];
            Some(range.iter().fold(seed.with(partition), |seed, offset| seed.with(offset.to_string())))
        })
    }

    fn kept(&self, seed: Parts) -> Parts {
        self.partitions.values().flatten().fold(seed, |seed, record| {
            let [key, value] = [&record.key, &record.value].map(|text| text.as_deref().unwrap_or_default());
            seed.with(record.offset.to_string()).with(key).with(value).with(json::canonical(record.headers))
        })
    }
}
