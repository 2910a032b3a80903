//! Events of HTTP integrations: API Gateway's REST APIs (payload format 1.0), HTTP APIs and function URLs (2.0), and
//! Application Load Balancers, each with single or multiple values.
//!
//! The fingerprint is what the client sent: method, path, query and decoded body. What the way adds (request IDs, times,
//! traces, addresses) differs between two deliveries of one request.

use std::collections::BTreeMap;

use aft_protocol::id::Parts;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use super::event::Top;
use super::json;
use super::key::{self, Malformed};

/// IETF draft.
pub(super) const KEY_HEADER: &str = "idempotency-key";
/// A transaction context's key.
pub(super) const CONTEXT_HEADER: &str = "x-aft-transaction-key";

/// In which format an HTTP integration takes its response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Integration {
    /// API Gateway, payload format 1.0.
    V1,
    /// API Gateway, payload format 2.0; function URLs.
    V2,
    /// A load balancer.
    LoadBalancer {
        /// Whether headers have several values; then it takes nothing else.
        multi_value: bool,
    },
}

/// An HTTP request in an event.
pub(super) struct Http<'a> {
    pub(super) integration: Integration,
    method: String,
    headers: [Option<&'a RawValue>; 2],
    path: Option<&'a RawValue>,
    query: Query<'a>,
    body: Option<&'a RawValue>,
    is_base64: bool,
    client: Vec<String>,
}

enum Query<'a> {
    Raw(Option<&'a RawValue>),
    Parameters([Option<&'a RawValue>; 2]),
}

#[derive(Deserialize)]
struct RequestContext<'a> {
    elb: Option<IgnoredAny>,
    http: Option<Method>,
    #[serde(borrow)]
    authorizer: Option<&'a RawValue>,
    #[serde(borrow)]
    identity: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Method {
    method: String,
}

/// Who the gateway says is calling. All of it stays the same when a client signs in again.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Authorizer {
    principal_id: Option<String>,
    claims: Option<Claims>,
    jwt: Option<Jwt>,
    iam: Option<Caller>,
}

#[derive(Deserialize)]
struct Jwt {
    claims: Claims,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Claims {
    iss: Option<String>,
    sub: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Caller {
    user_arn: Option<String>,
}

/// One value, or several.
#[derive(Deserialize)]
#[serde(untagged)]
enum Values {
    One(String),
    Many(Vec<String>),
}

type Fields<'a> = BTreeMap<String, &'a RawValue>;

impl<'a> Http<'a> {
    pub(super) fn read(top: &Top<'a>) -> Option<Self> {
        let context: RequestContext<'a> = serde_json::from_str(top.request_context?.get()).ok()?;
        let is_v2 = context.http.is_some();
        let method = match &context.http {
            Some(http) => http.method.clone(),
            None => json::read(top.http_method)?,
        };
        let integration = match (is_v2, &context.elb) {
            (true, _) => Integration::V2,
            (false, Some(_)) => Integration::LoadBalancer { multi_value: top.multi_value_headers.is_some() },
            (false, None) => Integration::V1,
        };
        let query = match integration {
            Integration::V2 => Query::Raw(top.raw_query_string),
            Integration::V1 | Integration::LoadBalancer { .. } => {
                Query::Parameters([top.multi_value_query_string_parameters, top.query_string_parameters])
            }
        };
        Some(Self {
            integration,
            method,
            headers: [top.multi_value_headers, top.headers],
            path: if is_v2 { top.raw_path } else { top.path },
            query,
            body: top.body,
            is_base64: json::read(top.is_base64_encoded).unwrap_or(false),
            client: client(&context),
        })
    }

    /// The key in the header of this name, in lower case.
    pub(super) fn key(&self, name: &str) -> Result<Option<String>, Malformed> {
        for headers in self.headers.into_iter().flatten() {
            let Ok(headers) = serde_json::from_str::<Fields<'_>>(headers.get()) else { continue };
            let named = headers.iter().filter(|(header, _)| header.eq_ignore_ascii_case(name));
            let values: Vec<String> = named.flat_map(|(_, value)| values(value)).collect();
            // API Gateway has each header in both; the one with all values comes first.
            if !values.is_empty() {
                return key::parse(&values);
            }
        }
        Ok(None)
    }

    /// Adds who is calling, if the gateway says it: two clients' keys are two keys.
    pub(super) fn client(&self, seed: Parts) -> Parts {
        self.client.iter().fold(seed, Parts::with)
    }

    pub(super) fn kept(&self, seed: Parts) -> Parts {
        let path: String = json::read(self.path).unwrap_or_default();
        let seed = self.query.kept(seed.with(&self.method).with(path));
        let body: String = json::read(self.body).unwrap_or_default();
        match self.is_base64.then(|| STANDARD.decode(&body)) {
            Some(Ok(decoded)) => seed.with(decoded),
            Some(Err(_)) | None => seed.with(body),
        }
    }
}

impl Query<'_> {
    fn kept(&self, seed: Parts) -> Parts {
        match self {
            Self::Raw(text) => seed.with(json::read::<String>(*text).unwrap_or_default()),
            Self::Parameters(both) => {
                let parameters =
                    both.iter().flatten().find_map(|raw| serde_json::from_str::<Fields<'_>>(raw.get()).ok());
                // By name: the order among different names is lost on the way.
                parameters.into_iter().flatten().fold(seed, |seed, (name, value)| {
                    values(value).into_iter().fold(seed, |seed, value| seed.with(&name).with(value))
                })
            }
        }
    }
}

fn values(raw: &RawValue) -> Vec<String> {
    match serde_json::from_str(raw.get()) {
        Ok(Values::One(value)) => vec![value],
        Ok(Values::Many(values)) => values,
        Err(_) => Vec::new(),
    }
}

fn client(context: &RequestContext<'_>) -> Vec<String> {
    let authorizer: Authorizer = json::read(context.authorizer).unwrap_or_default();
    let identity: Caller = json::read(context.identity).unwrap_or_default();
    let claims = authorizer.claims.or(authorizer.jwt.map(|jwt| jwt.claims)).unwrap_or_default();
    let arn = authorizer.iam.and_then(|iam| iam.user_arn).or(identity.user_arn);
    let named = [
        ("iss", claims.iss),
        ("sub", claims.sub),
        ("principal", authorizer.principal_id),
        ("arn", arn.map(|arn| without_session(&arn).to_owned())),
    ];
    named.into_iter().filter_map(|(kind, name)| Some([kind.to_owned(), name?])).flatten().collect()
}

/// A role's session is another one at every retry.
fn without_session(arn: &str) -> &str {
    match arn.rsplit_once('/') {
        Some((role, _)) if arn.contains(":assumed-role/") => role,
        Some(_) | None => arn,
    }
}
