//! S3 and EventBridge.

use aft_protocol::id::Parts;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::event::Origin;
use super::{Source, json};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct S3Record {
    event_name: String,
    s3: Change,
}

#[derive(Deserialize)]
struct Change {
    bucket: Bucket,
    object: Object,
}

#[derive(Deserialize)]
struct Bucket {
    arn: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Object {
    key: String,
    version_id: Option<String>,
    /// Orders the changes of one key. Restores from archives have none.
    sequencer: Option<String>,
    size: Option<u64>,
    e_tag: Option<String>,
}

struct S3(Vec<S3Record>);

pub(super) fn s3<'a>(records: &str) -> Option<Box<dyn Origin + 'a>> {
    Some(Box::new(S3(serde_json::from_str(records).ok()?)))
}

impl Origin for S3 {
    fn source(&self) -> Source {
        Source::S3
    }

    fn name(&self, seed: Parts) -> Option<Parts> {
        let [S3Record { event_name, s3: Change { bucket, object } }] = self.0.as_slice() else { return None };
        let version = object.version_id.as_deref().unwrap_or_default();
        Some(seed.with(&bucket.arn).with(&object.key).with(version).with(object.sequencer.as_ref()?).with(event_name))
    }

    fn kept(&self, seed: Parts) -> Parts {
        self.0.iter().fold(seed, |seed, S3Record { event_name, s3: Change { bucket, object } }| {
            let [version, sequencer, e_tag] =
                [&object.version_id, &object.sequencer, &object.e_tag].map(|text| text.as_deref().unwrap_or_default());
            let seed = seed.with(event_name).with(&bucket.arn).with(&object.key).with(version).with(sequencer);
            seed.with(e_tag).with(object.size.unwrap_or_default().to_string())
        })
    }
}

/// A replay from an archive adds `replay-name`, and is a redelivery.
#[derive(Deserialize)]
struct EventBridge<'a> {
    id: String,
    source: String,
    account: String,
    region: String,
    time: String,
    #[serde(rename = "detail-type")]
    detail_type: String,
    #[serde(borrow)]
    resources: Option<&'a RawValue>,
    #[serde(borrow)]
    detail: Option<&'a RawValue>,
}

pub(super) fn event_bridge<'a>(body: &'a [u8]) -> Option<Box<dyn Origin + 'a>> {
    Some(Box::new(serde_json::from_slice::<EventBridge<'a>>(body).ok()?))
}

impl Origin for EventBridge<'_> {
    fn source(&self) -> Source {
        Source::EventBridge
    }

    fn name(&self, seed: Parts) -> Option<Parts> {
        let name = [&self.account, &self.region, &self.source, &self.id];
        (!self.id.is_empty()).then(|| name.iter().fold(seed, Parts::with))
    }

    fn kept(&self, seed: Parts) -> Parts {
        let seed = [&self.source, &self.detail_type, &self.time].iter().fold(seed, Parts::with);
        seed.with(json::canonical(self.resources)).with(json::canonical(self.detail))
    }
}
