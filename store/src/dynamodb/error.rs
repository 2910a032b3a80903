//! What a failed request means: one cause out of [`Cause`], and from it the [`ErrorKind`] and what to do.
//!
//! Valid only because the SDK's own retries are off: the failure is that of the only try.

use std::error::Error;
use std::fmt::{self, Write};
use std::{io, iter};

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_dynamodb::config::http::HttpResponse;
use aws_sdk_dynamodb::error::{BuildError, ProvideErrorMetadata, SdkError};

use super::attribute::Malformed;
use super::tables::Table;
use crate::{ErrorKind, Pace, StoreError};

type BoxError = Box<dyn Error + Send + Sync>;

/// A failed request: what was asked of which table, what it means and what to do.
#[derive(thiserror::Error)]
#[error("{operation} on {table}: {cause}: {detail}")]
struct Failure {
    operation: &'static str,
    table: String,
    cause: Cause,
    detail: String,
    source: BoxError,
}

/// As for people: the SDK's own `Debug` shows requests and answers, users' data included.
impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Why a request failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Cause {
    #[error(
        "no connection; the endpoint must be right and reachable from this function (VPC endpoint, security group)"
    )]
    NotConnected,
    #[error(
        "the endpoint's certificate is not trusted; the endpoint must be right, and if no public authority has signed its \
         certificate, AFT_CA_BUNDLE must name the one that has"
    )]
    NotTrusted,
    #[error(
        "throttled; if it stays so, the table, one of its partitions or the account needs more capacity, or the keys must be \
         spread"
    )]
    Busy,
    #[error("another transaction is under way at the same item")]
    Contended,
    #[error("no answer in time")]
    TimedOut,
    #[error("the connection was lost before the answer was complete")]
    CutOff,
    #[error("the store itself failed")]
    StoreFault,
    #[error("the answer is cut off, or not one of DynamoDB; is the endpoint right?")]
    Unreadable,
    #[error(
        "there is no such table there, or it is still being made; create it, or correct the setting and the region"
    )]
    NoTable,
    #[error("not permitted; the function's role must allow this operation on this table")]
    NotPermitted,
    #[error("no credentials could be had, so nothing was sent")]
    NoCredentials,
    #[error("the credentials are not accepted; are they whole, and of an account that uses this region?")]
    Credentials,
    #[error(
        "the credentials have expired, and this process cannot ask for others; Lambda replaces the sandbox in time"
    )]
    Expired,
    #[error("the credentials have expired before their time; others are asked for")]
    Renewed,
    #[error("the request is not valid; does the table have this key?")]
    Invalid,
    #[error("the request could not be built; are endpoint and region right?")]
    NotBuilt,
}

impl Cause {
    fn kind(self) -> ErrorKind {
        match self {
            Self::NotConnected | Self::Busy | Self::Contended | Self::NoCredentials | Self::Renewed => {
                ErrorKind::Unavailable
            }
            Self::TimedOut | Self::CutOff | Self::StoreFault | Self::Unreadable => ErrorKind::Unknown,
            Self::NotTrusted
            | Self::NoTable
            | Self::NotPermitted
            | Self::Credentials
            | Self::Expired
            | Self::Invalid
            | Self::NotBuilt => ErrorKind::Rejected,
        }
    }

    fn pace(self) -> Pace {
        match self {
            Self::TimedOut | Self::CutOff | Self::Renewed => Pace::AtOnce,
            Self::Busy => Pace::Later,
            Self::NotConnected
            | Self::NotTrusted
            | Self::Contended
            | Self::StoreFault
            | Self::Unreadable
            | Self::NoTable
            | Self::NotPermitted
            | Self::NoCredentials
            | Self::Credentials
            | Self::Expired
            | Self::Invalid
            | Self::NotBuilt => Pace::Soon,
        }
    }

    fn of<E>(error: &SdkError<E, HttpResponse>) -> Self
    where
        E: ProvideErrorMetadata + Error + 'static,
    {
        match error {
            _ if without_credentials(error) => Self::NoCredentials,
            SdkError::ConstructionFailure(_) => Self::NotBuilt,
            SdkError::DispatchFailure(failure) if failure.is_user() => Self::NotBuilt,
            SdkError::DispatchFailure(_) if not_trusted(error) => Self::NotTrusted,
            SdkError::DispatchFailure(_) if never_connected(error) => Self::NotConnected,
            SdkError::DispatchFailure(failure) if failure.is_timeout() => Self::TimedOut,
            SdkError::DispatchFailure(_) => Self::CutOff,
            SdkError::TimeoutError(_) => Self::TimedOut,
            SdkError::ResponseError(_) => Self::Unreadable,
            SdkError::ServiceError(service) => {
                Self::of_answer(service.raw().status().as_u16(), service.err().code().unwrap_or_default())
            }
            // The enum is open: what is not known may have taken effect.
            _ => Self::Unreadable,
        }
    }

    fn of_answer(status: u16, code: &str) -> Self {
        match (status, code) {
            // "InternalServerError: the write may have succeeded" (DynamoDB developer guide, error handling).
            (500.., _) => Self::StoreFault,
            (..400, _) | (_, "") => Self::Unreadable,
            (
                _,
                "ProvisionedThroughputExceededException"
                | "ThrottlingException"
                | "Throttling"
                | "ThrottledException"
                | "RequestLimitExceeded"
                | "RequestThrottled"
                | "RequestThrottledException",
            ) => Self::Busy,
            (_, "TransactionConflictException" | "ReplicatedWriteConflictException") => Self::Contended,
            (_, "RequestTimeout" | "RequestTimeoutException" | "TransactionInProgressException") => Self::TimedOut,
            (_, "ResourceNotFoundException") => Self::NoTable,
            (_, "AccessDeniedException" | "AccessDenied" | "UnauthorizedOperation") => Self::NotPermitted,
            (
                _,
                "UnrecognizedClientException"
                | "InvalidClientTokenId"
                | "InvalidSignatureException"
                | "SignatureDoesNotMatch"
                | "IncompleteSignature"
                | "IncompleteSignatureException"
                | "MissingAuthenticationToken"
                | "MissingAuthenticationTokenException"
                | "OptInRequired",
            ) => Self::Credentials,
            (_, "ExpiredToken" | "ExpiredTokenException") => Self::Expired,
            // Whatever else DynamoDB calls the client's fault it has refused: ValidationException and its like.
            (400.., _) => Self::Invalid,
        }
    }
}

/// What somebody else says, without its line ends: they would break a log's line.
pub(super) fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

impl Table {
    /// A failed request.
    pub(super) fn failure<E>(&self, operation: &'static str, error: SdkError<E, HttpResponse>) -> StoreError
    where
        E: ProvideErrorMetadata + Error + Send + Sync + 'static,
    {
        let cause = match Cause::of(&error) {
            Cause::Expired if self.renew_expired() => Cause::Renewed,
            cause => cause,
        };
        let detail = match &error {
            SdkError::ServiceError(service) => {
                let code = service.err().code().unwrap_or("no code");
                let status = service.raw().status().as_u16();
                format!("{code} (HTTP {status}) {}", one_line(service.err().message().unwrap_or_default()))
            }
            other => one_line(&chain(other)),
        };
        let failure = Failure { operation, table: self.to_string(), cause, detail, source: error.into() };
        StoreError::new(cause.kind(), operation, failure).at_pace(cause.pace())
    }

    /// A request that was never complete enough to be sent.
    pub(super) fn incomplete(&self, operation: &'static str, error: BuildError) -> StoreError {
        let (table, detail, source) = (self.to_string(), error.to_string(), error.into());
        let failure = Failure { operation, table, cause: Cause::NotBuilt, detail, source };
        StoreError::new(Cause::NotBuilt.kind(), operation, failure)
    }

    /// A batch of which DynamoDB did not process anything.
    pub(super) fn unprocessed(&self, operation: &'static str) -> StoreError {
        let text = format!("{self} returned every key unprocessed: {}", Cause::Busy);
        StoreError::new(ErrorKind::Unavailable, operation, text).at_pace(Pace::Later)
    }

    /// An item that is not in this version's layout.
    pub(super) fn malformed(&self, operation: &'static str, error: Malformed) -> StoreError {
        StoreError::new(ErrorKind::Malformed, operation, MalformedItem { table: self.to_string(), source: error })
    }
}

#[derive(Debug, thiserror::Error)]
#[error("{table}: {source}")]
struct MalformedItem {
    table: String,
    source: Malformed,
}

/// Whether the request certainly never left: the connector does not mark it in a way that is public, so the errors
/// beneath are asked.
fn never_connected(error: &(dyn Error + 'static)) -> bool {
    causes(error).any(|cause| {
        cause.downcast_ref::<hyper_util::client::legacy::Error>().is_some_and(|error| error.is_connect())
            || cause.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
    })
}

/// Whether the handshake ended at the endpoint's certificate: the TLS client's error lies in one or two of [`io::Error`],
/// which do not name what they hold as their source.
fn not_trusted(error: &(dyn Error + 'static)) -> bool {
    let held = |error: &(dyn Error + 'static)| -> Option<bool> {
        let mut error = error.downcast_ref::<io::Error>()?.get_ref()?;
        while let Some(inner) = error.downcast_ref::<io::Error>() {
            error = inner.get_ref()?;
        }
        Some(matches!(error.downcast_ref()?, rustls::Error::InvalidCertificate(_)))
    };
    causes(error).any(|cause| held(cause) == Some(true))
}

/// Whether the provider of the credentials failed, which comes before anything is sent.
fn without_credentials(error: &(dyn Error + 'static)) -> bool {
    causes(error).any(|cause| cause.downcast_ref::<CredentialsError>().is_some())
}

fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    iter::successors(Some(error), |&error| error.source())
}

fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = String::new();
    for cause in causes(error) {
        let separator = if text.is_empty() { "" } else { ": " };
        // Writing to a string cannot fail.
        let _ = write!(text, "{separator}{cause}");
    }
    text
}
