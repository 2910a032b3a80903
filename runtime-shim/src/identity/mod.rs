//! Which transaction an event belongs to, and what of it is compared with a later delivery (DESIGN section 4). Pure.
//!
//! | file | source |
//! |---|---|
//! | `context.rs` | a context that the caller passed: client context or payload |
//! | `http.rs`, `key.rs` | HTTP integrations: `X-Aft-Transaction-Key` and `Idempotency-Key` |
//! | `expression.rs` | `AFT_TRANSACTION_KEY` |
//! | `queue.rs` | SQS and SNS |
//! | `stream.rs` | Kinesis, DynamoDB Streams, Kafka |
//! | `notification.rs` | S3 and EventBridge |
//! | `partial.rs` | batches whose partial failure brings them again |
//! | `event.rs`, `json.rs` | taking events apart without building them |
//! | `refusal.rs` | the answer to a request that must not run |
//!
//! Invariants: the fingerprint covers exactly what every delivery of one request repeats. A name that a client or an event
//! source gives is hashed without the fingerprint, so that the same name with another payload is found, and refused; a
//! request ID is hashed with it. Whatever cannot be read falls through to the request ID; only a key that an HTTP client
//! sent and that is none is refused.

mod context;
mod event;
mod expression;
mod http;
mod json;
mod key;
mod notification;
mod partial;
mod queue;
mod refusal;
mod stream;

use std::fmt;

use aft_protocol::id::{Fingerprint, Parts, RequestId, Scope, TransactionId};
use hyper::HeaderMap;

use event::Event;

pub use expression::{InvalidExpression, KeyExpression};
pub use http::Integration;
pub use partial::Batch;
pub use refusal::Refusal;

/// What named a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// A context that the caller passed.
    Context,
    /// The `Idempotency-Key` header of an HTTP event.
    IdempotencyKey,
    /// `AFT_TRANSACTION_KEY`.
    Expression,
    /// An SQS message, alone in its batch.
    Sqs,
    /// An SNS message.
    Sns,
    /// A range of a Kinesis shard.
    Kinesis,
    /// A range of a DynamoDB stream.
    DynamoDb,
    /// Ranges of Kafka partitions.
    Kafka,
    /// A change of an S3 object.
    S3,
    /// An EventBridge event.
    EventBridge,
    /// Lambda's request ID, with the payload.
    Request,
}

impl Source {
    /// The text that is hashed, and shown to people.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Context => "context",
            Self::IdempotencyKey => "idempotency-key",
            Self::Expression => "expression",
            Self::Sqs => "sqs",
            Self::Sns => "sns",
            Self::Kinesis => "kinesis",
            Self::DynamoDb => "dynamodb",
            Self::Kafka => "kafka",
            Self::S3 => "s3",
            Self::EventBridge => "eventbridge",
            Self::Request => "request",
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What an event is, as far as transactions go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Its transaction.
    pub transaction: TransactionId,
    /// What a later delivery is compared with.
    pub fingerprint: Fingerprint,
    /// What named the transaction.
    pub source: Source,
    /// The HTTP integration that it came through: what is refused is answered in its format.
    pub integration: Option<Integration>,
    /// The batch that it is, if that has the same name when it comes again.
    pub batch: Option<Batch>,
    /// Why the handler must not run.
    pub refusal: Option<Refusal>,
    /// What people should know: a key expression that failed on this event.
    pub warning: Option<String>,
}

/// How this function's events are named.
#[derive(Debug)]
pub struct Rules {
    /// `AWS_LAMBDA_FUNCTION_NAME`.
    pub function: Scope,
    /// `AFT_TRANSACTION_KEY`.
    pub key: Option<KeyExpression>,
}

/// A transaction's name, before it is hashed.
type Named = (Source, Parts);

impl Rules {
    /// Names an event, given its bytes, Lambda's headers and Lambda's request ID.
    #[must_use]
    pub fn identify(&self, body: &[u8], headers: &HeaderMap, request: &RequestId) -> Identity {
        let event = Event::read(body);
        let mut warning = None;
        let (named, refusal) = match self.name(body, headers, &event, &mut warning) {
            Ok(named) => (named, None),
            Err(malformed) => (None, Some(Refusal::MalformedKey(malformed.to_string()))),
        };
        let integration = event.integration();
        let Some((source, parts)) = named else {
            let fingerprint = Fingerprint::of(body);
            let transaction = TransactionId::for_request(&self.function, request, fingerprint);
            let source = Source::Request;
            return Identity { transaction, fingerprint, source, integration, batch: None, refusal, warning };
        };
        let batch = event.origin.as_deref().and_then(event::Origin::batch);
        let (transaction, fingerprint) = (parts.transaction(), event.kept(body));
        Identity { transaction, fingerprint, source, integration, batch, refusal, warning }
    }

    /// The first source that names this event; none: the request ID does.
    fn name(
        &self,
        body: &[u8],
        headers: &HeaderMap,
        event: &Event<'_>,
        warning: &mut Option<String>,
    ) -> Result<Option<Named>, key::Malformed> {
        let http = event.http.as_ref();
        let mut context = context::of_client(headers);
        if let (None, Some(http)) = (&context, http) {
            context = http.key(http::CONTEXT_HEADER)?;
        }
        if let Some(key) = context.or_else(|| event.aft.and_then(context::of_payload)) {
            // Shared by whoever is given the context: no function's own.
            return Ok(Some((Source::Context, Parts::new(Source::Context.as_str()).with(key))));
        }
        if let Some(http) = http
            && let Some(key) = http.key(http::KEY_HEADER)?
        {
            return Ok(Some((Source::IdempotencyKey, http.client(self.seed(Source::IdempotencyKey)).with(key))));
        }
        match self.key.as_ref().map(|expression| expression.key(body)) {
            Some(Ok(Some(key))) => return Ok(Some((Source::Expression, self.seed(Source::Expression).with(key)))),
            Some(Err(why)) => *warning = Some(why),
            Some(Ok(None)) | None => {}
        }
        let origin = event.origin.as_deref();
        Ok(origin.and_then(|origin| Some((origin.source(), origin.name(self.seed(origin.source()))?))))
    }

    fn seed(&self, source: Source) -> Parts {
        Parts::new(source.as_str()).with(self.function.as_str())
    }
}
