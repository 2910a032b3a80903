//! SQS and SNS: a message that is alone in its event has its own ID. (Messages of a larger batch are transactions of their
//! own, if the function makes them: the batch as a whole has no identity, because the next one is put together anew.)
//!
//! A redelivered message keeps its ID, its body and its attributes; receipt handle, receive count and times are new.

use aft_protocol::id::Parts;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::event::Origin;
use super::partial::Batch;
use super::{Source, json};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SqsMessage<'a> {
    message_id: String,
    body: String,
    #[serde(borrow)]
    message_attributes: Option<&'a RawValue>,
    #[serde(rename = "eventSourceARN")]
    event_source_arn: String,
}

struct Sqs<'a>(Vec<SqsMessage<'a>>);

pub(super) fn sqs<'a>(records: &'a str) -> Option<Box<dyn Origin + 'a>> {
    Some(Box::new(Sqs(serde_json::from_str(records).ok()?)))
}

impl Origin for Sqs<'_> {
    fn source(&self) -> Source {
        Source::Sqs
    }

    fn name(&self, seed: Parts) -> Option<Parts> {
        let [message] = self.0.as_slice() else { return None };
        Some(seed.with(&message.event_source_arn).with(&message.message_id))
    }

    fn kept(&self, seed: Parts) -> Parts {
        self.0.iter().fold(seed, |seed, message| {
            let attributes = json::canonical(message.message_attributes);
            seed.with(&message.message_id).with(&message.body).with(attributes)
        })
    }

    fn batch(&self) -> Option<Batch> {
        Some(Batch::new(&self.0.first()?.message_id, self.0.len()))
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct SnsRecord<'a> {
    event_subscription_arn: String,
    #[serde(borrow)]
    sns: SnsMessage<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct SnsMessage<'a> {
    message_id: String,
    subject: Option<String>,
    message: String,
    #[serde(borrow)]
    message_attributes: Option<&'a RawValue>,
}

struct Sns<'a>(Vec<SnsRecord<'a>>);

pub(super) fn sns<'a>(records: &'a str) -> Option<Box<dyn Origin + 'a>> {
    Some(Box::new(Sns(serde_json::from_str(records).ok()?)))
}

impl Origin for Sns<'_> {
    fn source(&self) -> Source {
        Source::Sns
    }

    fn name(&self, seed: Parts) -> Option<Parts> {
        let [record] = self.0.as_slice() else { return None };
        Some(seed.with(&record.event_subscription_arn).with(&record.sns.message_id))
    }

    fn kept(&self, seed: Parts) -> Parts {
        self.0.iter().fold(seed, |seed, SnsRecord { sns, .. }| {
            let attributes = json::canonical(sns.message_attributes);
            seed.with(&sns.message_id)
                .with(sns.subject.as_deref().unwrap_or_default())
                .with(&sns.message)
                .with(attributes)
        })
    }
}
