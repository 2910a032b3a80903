//! SQS as a function meets it: batches of up to ten messages, each delivered at least once.
//!
//! A message stays until a delivery of it succeeds *and* its deletion is not lost; what stays is delivered again. A standard
//! queue gives messages in any order, sometimes one twice in a batch, sometimes one that had been deleted; a FIFO queue
//! gives one group at a time, in order. A message that has been delivered too often goes to the dead letters.

use std::collections::BTreeSet;

use aft_cli::InvokeResult;
use fastrand::Rng;
use serde_json::{Value, json};

/// Messages in one batch.
const BATCH: usize = 10;

/// A message.
#[derive(Debug, Clone)]
pub struct Message {
    /// The same in every delivery.
    pub id: String,
    /// What was sent.
    pub body: Value,
    /// What orders a FIFO queue's messages; the standard queue's have none.
    pub group: Option<String>,
    deliveries: u32,
}

impl Message {
    /// A message that has not been delivered.
    #[must_use]
    pub fn new(id: impl Into<String>, body: Value, group: Option<String>) -> Self {
        Self { id: id.into(), body, group, deliveries: 0 }
    }
}

/// A queue, of which nothing but its seed decides what it gives.
#[derive(Debug)]
pub struct Queue {
    waiting: Vec<Message>,
    deleted: Vec<Message>,
    is_fifo: bool,
    max_deliveries: u32,
    random: Rng,
}

impl Queue {
    /// A queue with these messages, FIFO if they have groups.
    #[must_use]
    pub fn new(messages: Vec<Message>, max_deliveries: u32, seed: u64) -> Self {
        let is_fifo = messages.iter().any(|message| message.group.is_some());
        Self { waiting: messages, deleted: Vec::new(), is_fifo, max_deliveries, random: Rng::with_seed(seed) }
    }

    /// How many messages wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// The next batch; `None` when all messages are deleted or dead.
    pub fn receive(&mut self) -> Option<Vec<Message>> {
        let most = self.max_deliveries;
        self.waiting.retain(|message| message.deliveries < most);
        if self.waiting.is_empty() {
            return None;
        }
        let mut ids = Vec::new();
        if self.is_fifo {
            let group = self.waiting[self.random.usize(..self.waiting.len())].group.clone();
            ids.extend(self.waiting.iter().filter(|message| message.group == group).map(|message| message.id.clone()));
        } else {
            ids.extend(self.waiting.iter().map(|message| message.id.clone()));
            self.random.shuffle(&mut ids);
        }
        ids.truncate(BATCH);
        let mut batch = Vec::new();
        for id in ids {
            let message = self.waiting.iter_mut().find(|message| message.id == id).expect("it waits");
            message.deliveries += 1;
            batch.push(message.clone());
        }
        if !self.is_fifo {
            self.add_duplicates(&mut batch);
        }
        Some(batch)
    }

    /// In a place of a full batch: one of the same batch, and one that was deleted long ago.
    fn add_duplicates(&mut self, batch: &mut Vec<Message>) {
        let twice = self.random.choice(batch.iter()).cloned();
        let late = self.random.choice(self.deleted.iter()).cloned();
        for duplicate in [twice, late].into_iter().flatten() {
            if batch.len() < BATCH && self.random.bool() {
                batch.insert(self.random.usize(..=batch.len()), duplicate);
            }
        }
    }

    /// The event of a batch.
    #[must_use]
    pub fn event(&self, batch: &[Message]) -> Value {
        let suffix = if self.is_fifo { ".fifo" } else { "" };
        let records = batch.iter().map(|message| {
            let mut attributes = json!({
                "ApproximateReceiveCount": message.deliveries.to_string(),
                "SentTimestamp": "1545082649183",
                "SenderId": "AIDAIENQZJOLO23YVJ4VO",
                "ApproximateFirstReceiveTimestamp": "1545082649185",
            });
            if let Some(group) = &message.group {
                attributes["MessageGroupId"] = json!(group);
                attributes["MessageDeduplicationId"] = json!(message.id);
            }
            json!({
                "messageId": message.id,
                // Another one in every delivery.
                "receiptHandle": format!("{}-{}", message.id, message.deliveries),
                "body": message.body.to_string(),
                "attributes": attributes,
                "messageAttributes": {},
                "eventSource": "aws:sqs",
                "eventSourceARN": format!("arn:aws:sqs:us-east-1:123456789012:orders{suffix}"),
                "awsRegion": "us-east-1",
            })
        });
        json!({ "Records": records.collect::<Vec<_>>() })
    }

    /// Deletes what a delivery did not report as failed, but for deletions that get lost. Returns what it acknowledged.
    pub fn settle(&mut self, batch: &[Message], result: &InvokeResult) -> BTreeSet<String> {
        let Some(failed) = failures(result) else { return BTreeSet::new() };
        let acknowledged: BTreeSet<String> =
            batch.iter().map(|message| message.id.clone()).filter(|id| !failed.contains(id)).collect();
        for id in &acknowledged {
            if self.random.u32(..8) == 0 {
                continue;
            }
            self.deleted.extend(self.waiting.extract_if(.., |message| message.id == *id));
        }
        acknowledged
    }
}

/// What the function reported as failed; `None`: everything, because it failed itself.
fn failures(result: &InvokeResult) -> Option<BTreeSet<String>> {
    if !result.succeeded() {
        return None;
    }
    let answer: Value = serde_json::from_slice(&result.payload).expect("a function answers with JSON");
    let failures = answer["batchItemFailures"].as_array().unwrap_or_else(|| panic!("no partial response: {answer}"));
    Some(failures.iter().map(|item| item["itemIdentifier"].as_str().expect("a message ID").to_owned()).collect())
}
