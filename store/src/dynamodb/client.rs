//! How to reach DynamoDB: configuration, time limits and TLS.
//!
//! Nothing heavy happens before the first request, because a Lambda cold start waits for this process to register: no
//! certificate is read, no connection made. Over plain HTTP, no certificate is read ever.

use std::fmt;
use std::str::FromStr;
use std::sync::{Mutex, PoisonError, RwLock};
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::config::timeout::TimeoutConfig;
use aws_sdk_dynamodb::config::{BehaviorVersion, Region, RuntimeComponents, StalledStreamProtectionConfig};
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{self, TlsContext, TrustStore};
use aws_smithy_http_client::{Connector, ConnectorBuilder};
use aws_smithy_runtime_api::client::http::{HttpConnectorSettings, SharedHttpConnector};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::Uri;
use tokio::time::Instant;

use super::ca_bundle::CaBundle;
use super::connections::Connections;
use super::credentials::Credentials;

/// How long the parts of one request may take. Those of production are [`TimeLimits::default`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeLimits {
    /// TCP and TLS handshakes.
    pub connect: Duration,
    /// From the start of a request, the connection included, to the head of its answer.
    pub answer: Duration,
    /// All of a request.
    pub request: Duration,
}

impl Default for TimeLimits {
    fn default() -> Self {
        Self {
            // Single milliseconds within a region, hundreds where a small function has a tenth of a CPU for the
            // cryptography.
            connect: Duration::from_secs(1),
            // DynamoDB answers in milliseconds. A connection that died while the sandbox was frozen never does; a call with
            // less time left waits for a share of it only (`retry`).
            answer: Duration::from_secs(2),
            // An answer may have 16 MB, at 70 MB/s and less on a small function.
            request: Duration::from_secs(5),
        }
    }
}

/// An idle connection older than this is not used again: DynamoDB and the networks before it drop idle connections.
const IDLE_LIMIT: Duration = Duration::from_secs(20);

/// How to reach the two tables.
#[derive(Debug, Clone)]
pub struct Config {
    /// `AFT_DATA_TABLE`: a name or an ARN.
    pub data_table: String,
    /// `AFT_TRANSACTION_TABLE`: a name or an ARN.
    pub transaction_table: String,
    /// `AWS_REGION`.
    pub region: String,
    /// `AFT_DYNAMODB_ENDPOINT`; the region's own if `None`.
    pub endpoint: Option<Endpoint>,
    /// `AFT_CA_BUNDLE`: who is trusted to sign the endpoint's certificate; the bundled roots if `None`.
    pub ca_bundle: Option<CaBundle>,
    /// Who asks.
    pub credentials: Credentials,
    /// `AFT_READ`, for heads. Commit records are always read consistently.
    pub reads: ReadConsistency,
}

impl Config {
    /// Where requests go, for people.
    pub(super) fn place(&self) -> String {
        match &self.endpoint {
            Some(endpoint) => format!("{endpoint} (region {})", self.region),
            None => format!("region {}", self.region),
        }
    }
}

/// The URL of a DynamoDB: `http://` or `https://`, a host, perhaps a port, and nothing else. Checked here, because the
/// SDK's complaint about a wrong one would show the whole request, users' data included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint(Uri);

/// Text that is not an endpoint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an endpoint: expected http:// or https://, a host, and perhaps a port")]
pub struct InvalidEndpoint(String);

impl FromStr for Endpoint {
    type Err = InvalidEndpoint;

    fn from_str(text: &str) -> Result<Self, InvalidEndpoint> {
        let usable = |uri: &Uri| {
            matches!(uri.scheme_str(), Some("http" | "https"))
                && uri
                    .authority()
                    .is_some_and(|authority| !authority.host().is_empty() && !authority.as_str().contains('@'))
                && uri.path_and_query().is_none_or(|rest| rest == "/")
        };
        text.parse().ok().filter(usable).map(Self).ok_or_else(|| InvalidEndpoint(text.to_owned()))
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.to_string().trim_end_matches('/'))
    }
}

impl Endpoint {
    fn is_plain(&self) -> bool {
        self.0.scheme_str() == Some("http")
    }
}

/// DynamoDB's read consistency (R-READ-5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ReadConsistency {
    /// A read sees every write that was acknowledged before it.
    #[default]
    Strong,
    /// A read may be a second behind, at half the price.
    Eventual,
}

impl ReadConsistency {
    pub(super) fn is_strong(self) -> bool {
        self == Self::Strong
    }
}

/// After an answer that the credentials have expired, others are not asked for again within this: answers to requests that
/// were signed with the old ones may still come.
const EXPIRY_LIMIT: Duration = Duration::from_secs(5);

/// The SDK's client, which can be made anew: with new connections, and with credentials asked for again.
pub(super) struct Clients {
    make: Box<dyn Fn(&Connections) -> Client + Send + Sync>,
    connections: Connections,
    current: RwLock<Client>,
    expired: Mutex<Option<Instant>>,
}

impl fmt::Debug for Clients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Clients").finish_non_exhaustive()
    }
}

impl Clients {
    pub(super) fn new(connections: Connections, make: impl Fn(&Connections) -> Client + Send + Sync + 'static) -> Self {
        Self { current: RwLock::new(make(&connections)), make: Box::new(make), connections, expired: Mutex::default() }
    }

    pub(super) fn current(&self) -> Client {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Drops the client, and with it what it keeps: credentials and connections.
    pub(super) fn renew(&self) {
        self.leave_connections();
        self.renew_credentials();
    }

    fn renew_credentials(&self) {
        let new = (self.make)(&self.connections);
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = new;
    }

    /// Keeps the client and its credentials, but no connection.
    pub(super) fn leave_connections(&self) {
        self.connections.leave();
    }

    /// DynamoDB says that the credentials have expired, although the SDK, which asks for others before they do, took them for
    /// good: the next request asks for others.
    pub(super) fn renew_expired(&self) {
        let mut expired = self.expired.lock().unwrap_or_else(PoisonError::into_inner);
        if expired.is_none_or(|at| at.elapsed() >= EXPIRY_LIMIT) {
            *expired = Some(Instant::now());
            self.renew_credentials();
        }
    }
}

pub(super) fn client(config: &Config, limits: &TimeLimits, connections: &Connections) -> Client {
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(limits.connect)
        .read_timeout(limits.answer)
        .operation_attempt_timeout(limits.request)
        .build();
    let mut sdk = aws_sdk_dynamodb::Config::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::new(config.region.clone()))
        .credentials_provider(config.credentials.provider())
        .http_client(connections.clone())
        .timeout_config(timeouts)
        // Off: see the head of `mod.rs`.
        .retry_config(RetryConfig::disabled())
        // Off: it is for downloads of unknown length; the time limits above bound every answer.
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
    sdk.set_endpoint_url(config.endpoint.as_ref().map(Endpoint::to_string));
    Client::from_conf(sdk.build())
}

/// How connections are secured.
pub(super) enum Security {
    /// Over plain HTTP, not at all.
    Plain,
    /// By TLS, with a certificate that the bundled roots vouch for.
    BundledRoots,
    /// By TLS, with a certificate that others vouch for.
    Bundle(CaBundle),
}

impl Security {
    pub(super) fn of(config: &Config) -> Self {
        match (&config.endpoint, &config.ca_bundle) {
            (Some(endpoint), _) if endpoint.is_plain() => Self::Plain,
            (_, None) => Self::BundledRoots,
            (_, Some(bundle)) => Self::Bundle(bundle.clone()),
        }
    }
}

/// A connector without connections.
pub(super) fn connector(
    security: &Security,
    settings: &HttpConnectorSettings,
    components: &RuntimeComponents,
) -> SharedHttpConnector {
    let mut builder: ConnectorBuilder =
        Connector::builder().connector_settings(settings.clone()).pool_idle_timeout(IDLE_LIMIT);
    builder.set_sleep_impl(components.sleep_impl());
    SharedHttpConnector::new(match security {
        Security::Plain => builder.build_http(),
        Security::BundledRoots => build_https(builder, bundled_roots()),
        Security::Bundle(bundle) => build_https(builder, TrustStore::empty().with_pem_certificate(bundle.pem())),
    })
}

#[allow(
    clippy::expect_used,
    reason = "building fails only for certificates that cannot be read, and these were read before or are our own"
)]
fn build_https(builder: ConnectorBuilder, roots: TrustStore) -> Connector {
    let context = TlsContext::builder().with_trust_store(roots).build().expect("these roots can be read");
    builder.tls_provider(tls::Provider::Rustls(CryptoMode::Ring)).tls_context(context).build()
}

/// Mozilla's root certificates, from this binary: reading those of the system takes 3 to 35 ms.
fn bundled_roots() -> TrustStore {
    let mut pem = String::with_capacity(256 * 1_024);
    for certificate in webpki_root_certs::TLS_SERVER_ROOT_CERTS {
        pem.push_str("-----BEGIN CERTIFICATE-----\n");
        STANDARD.encode_string(certificate, &mut pem);
        pem.push_str("\n-----END CERTIFICATE-----\n");
    }
    TrustStore::empty().with_pem_certificate(pem)
}

#[cfg(test)]
mod tests {
    use super::Endpoint;

    #[test]
    fn an_endpoint_is_scheme_host_and_port() {
        for text in ["http://127.0.0.1:8000", "https://dynamodb.eu-central-1.amazonaws.com", "http://[::1]:8000/"] {
            let endpoint: Endpoint = text.parse().unwrap();
            assert_eq!(endpoint.to_string(), text.trim_end_matches('/'));
        }
        for text in [
            "",
            "localhost:8000",
            "ftp://a",
            "http://",
            "http://[",
            "http://a/b",
            "http://a?b",
            "http://u:p@a",
            "http://a b",
        ] {
            assert!(text.parse::<Endpoint>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn every_bundled_root_can_be_read() {
        drop(super::build_https(aws_smithy_http_client::Connector::builder(), super::bundled_roots()));
    }
}
