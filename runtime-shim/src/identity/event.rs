//! An event, taken apart once and as little as it takes: fields that nobody asked for are skipped, not built.

use aft_protocol::id::{Fingerprint, Parts};
use memchr::memmem;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::http::{Http, Integration};
use super::partial::Batch;
use super::{Source, notification, queue, stream};

/// Every event that says more than its bytes has one of these in it. Looking for them costs next to nothing.
const MARKS: [&str; 4] = ["\"requestContext\"", "ventSource\"", "\"detail-type\"", "\"aft\""];

/// An event source's own identity.
pub(super) trait Origin {
    /// Which source.
    fn source(&self) -> Source;

    /// Adds what names the event to a seed; `None` if it has no name that its redelivery repeats.
    fn name(&self, seed: Parts) -> Option<Parts>;

    /// Adds what every delivery repeats to a seed.
    fn kept(&self, seed: Parts) -> Parts;

    /// The batch, if its source takes partial batch responses.
    fn batch(&self) -> Option<Batch> {
        None
    }
}

/// The top of an event. Each field is a piece of its text: a type that is not as expected is noticed where it is read.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Top<'a> {
    #[serde(borrow)]
    aft: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) request_context: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) http_method: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) path: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) raw_path: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) raw_query_string: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) query_string_parameters: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) multi_value_query_string_parameters: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) headers: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) multi_value_headers: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) body: Option<&'a RawValue>,
    #[serde(borrow, rename = "isBase64Encoded")]
    pub(super) is_base64_encoded: Option<&'a RawValue>,
    #[serde(borrow, rename = "Records")]
    records: Option<&'a RawValue>,
    #[serde(borrow, rename = "records")]
    pub(super) kafka_records: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) event_source: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) event_source_arn: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) bootstrap_servers: Option<&'a RawValue>,
    #[serde(borrow, rename = "detail-type")]
    pub(super) detail_type: Option<&'a RawValue>,
}

/// What an event says besides its bytes; nothing, if it is none of those that are known.
#[derive(Default)]
pub(super) struct Event<'a> {
    pub(super) aft: Option<&'a RawValue>,
    pub(super) http: Option<Http<'a>>,
    pub(super) origin: Option<Box<dyn Origin + 'a>>,
}

impl<'a> Event<'a> {
    pub(super) fn read(body: &'a [u8]) -> Self {
        if !MARKS.iter().any(|mark| memmem::find(body, mark.as_bytes()).is_some()) {
            return Self::default();
        }
        let Ok(top) = serde_json::from_slice::<Top<'a>>(body) else { return Self::default() };
        let http = Http::read(&top);
        let origin = if http.is_none() { origin(body, &top) } else { None };
        Self { aft: top.aft, http, origin }
    }

    pub(super) fn integration(&self) -> Option<Integration> {
        self.http.as_ref().map(|http| http.integration)
    }

    /// The fingerprint of what every delivery repeats.
    pub(super) fn kept(&self, body: &[u8]) -> Fingerprint {
        match (&self.http, &self.origin) {
            (Some(http), _) => http.kept(Parts::new("http")).fingerprint(),
            (None, Some(origin)) => origin.kept(Parts::new(origin.source().as_str())).fingerprint(),
            (None, None) => Fingerprint::of(body),
        }
    }
}

/// What a record is of; the spelling differs by source.
#[derive(Deserialize)]
struct Kind {
    #[serde(rename = "eventSource", alias = "EventSource")]
    source: String,
}

fn origin<'a>(body: &'a [u8], top: &Top<'a>) -> Option<Box<dyn Origin + 'a>> {
    if top.detail_type.is_some() {
        return notification::event_bridge(body);
    }
    if top.kafka_records.is_some() {
        return stream::kafka(top);
    }
    let records = top.records?.get();
    let kinds: Vec<Kind> = serde_json::from_str(records).ok()?;
    let source = &kinds.first()?.source;
    if kinds.iter().any(|kind| kind.source != *source) {
        return None;
    }
    match source.as_str() {
        "aws:sqs" => queue::sqs(records),
        "aws:sns" => queue::sns(records),
        "aws:kinesis" => stream::kinesis(records),
        "aws:dynamodb" => stream::dynamodb(records),
        "aws:s3" => notification::s3(records),
        _ => None,
    }
}
