//! What the Runtime API and the Extensions API of a sandbox share: one listener, one state, one form of error.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use axum::Router;
use axum::response::{IntoResponse, Response};
use axum::serve::ListenerExt;
use http::{HeaderMap, HeaderName, StatusCode, header};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::lifecycle::{CallRefusal, Lifecycle};
use crate::watched::Watched;
use crate::{clock, extensions_api, runtime_api};

/// The one version that there is of a function here.
pub(crate) const VERSION: &str = "$LATEST";
/// The account that functions belong to.
pub(crate) const ACCOUNT: &str = "000000000000";

/// What the APIs say about the function.
#[derive(Debug, Clone)]
pub(crate) struct Function {
    pub(crate) name: String,
    pub(crate) arn: String,
    pub(crate) handler: String,
}

/// The keys that a sandbox asks for under SnapStart, where its environment holds none.
#[derive(Debug)]
pub(crate) struct Credentials {
    /// What they are asked for with.
    pub(crate) token: String,
    pub(crate) document: serde_json::Value,
}

impl Credentials {
    /// The keys among these variables, under a new token.
    pub(crate) fn new(variables: &BTreeMap<String, String>) -> Self {
        let document = json!({
            "AccessKeyId": variables.get("AWS_ACCESS_KEY_ID"),
            "SecretAccessKey": variables.get("AWS_SECRET_ACCESS_KEY"),
            "Token": variables.get("AWS_SESSION_TOKEN"),
        });
        Self { token: clock::uuid(), document }
    }
}

/// What every call of either API works on.
#[derive(Debug)]
pub(crate) struct Api {
    pub(crate) lifecycle: Arc<Watched<Lifecycle>>,
    pub(crate) function: Function,
    /// Under SnapStart only.
    pub(crate) credentials: Option<Credentials>,
}

/// The listener of one sandbox's life; it takes no more connections once dropped.
#[derive(Debug)]
pub(crate) struct ApiServer {
    pub(crate) address: SocketAddr,
    server: JoinHandle<()>,
}

impl ApiServer {
    /// Listens on a free port of 127.0.0.1.
    pub(crate) async fn start(api: Api) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let routes = Router::new()
            .merge(runtime_api::routes())
            .merge(extensions_api::routes())
            .fallback(async || error_response(StatusCode::NOT_FOUND, "NotFound", "No such route here"))
            .with_state(Arc::new(api));
        Ok(Self { address, server: tokio::spawn(serve(listener, routes)) })
    }
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// Serves until the task is aborted.
pub(crate) async fn serve(listener: TcpListener, routes: Router) {
    let listener = listener.tap_io(|connection| {
        // Costs 40 ms a call where it is missing; a connection that refuses it works all the same.
        let _ = connection.set_nodelay(true);
    });
    // Never returns: axum retries a failing accept.
    let _ = axum::serve(listener, routes).await;
}

pub(crate) fn ok() -> Response {
    json_response(StatusCode::ACCEPTED, &json!({ "status": "OK" }))
}

pub(crate) fn json_response(status: StatusCode, document: &serde_json::Value) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], document.to_string()).into_response()
}

pub(crate) fn error_response(status: StatusCode, error_type: &str, message: &str) -> Response {
    json_response(status, &json!({ "errorType": error_type, "errorMessage": message }))
}

pub(crate) fn refused(refusal: CallRefusal) -> Response {
    let (status, error_type) = match refusal {
        CallRefusal::InvalidRequestId => (StatusCode::BAD_REQUEST, "InvalidRequestID"),
        CallRefusal::StaleInvocation => (StatusCode::GONE, "InvalidInvocationID"),
        CallRefusal::InvalidState => (StatusCode::FORBIDDEN, "InvalidStateTransition"),
        CallRefusal::AlreadyRegistered => (StatusCode::FORBIDDEN, "Extension.AlreadyRegistered"),
        CallRefusal::RegistrationClosed => (StatusCode::FORBIDDEN, "Extension.RegistrationClosed"),
        CallRefusal::InternalShutdown => (StatusCode::BAD_REQUEST, "ShutdownEventNotSupportedForInternalExtension"),
        CallRefusal::UnknownExtension => (StatusCode::FORBIDDEN, "Extension.UnknownExtensionIdentifier"),
    };
    error_response(status, error_type, &refusal.to_string())
}

pub(crate) fn header_text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}
