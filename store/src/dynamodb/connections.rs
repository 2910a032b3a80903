//! The HTTP client under the SDK's: connections, which are left behind where they may be dead.
//!
//! A sandbox that is thawed may hold connections whose other end is gone without a word: requests on them are never
//! answered. So when one request is not answered in time, the next does not go to another of the same age, but to a new
//! one. What is under way on those left behind goes on.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_sdk_dynamodb::config::http::HttpRequest;
use aws_sdk_dynamodb::config::{HttpClient, RuntimeComponents};
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::result::ConnectorError;
use tokio::time::timeout;

use crate::retry;

/// Makes a connector without connections.
pub(super) trait Connect:
    Fn(&HttpConnectorSettings, &RuntimeComponents) -> SharedHttpConnector + Send + Sync + 'static
{
}

impl<F> Connect for F where
    F: Fn(&HttpConnectorSettings, &RuntimeComponents) -> SharedHttpConnector + Send + Sync + 'static
{
}

/// Makes its one connector at the first request. The SDK's own client would make one, and parse every root certificate, at
/// construction too, only to throw it away.
#[derive(Clone)]
pub(super) struct Connections {
    shared: Arc<Shared>,
}

struct Shared {
    connect: Box<dyn Connect<Output = SharedHttpConnector>>,
    present: Mutex<Present>,
}

#[derive(Default)]
struct Present {
    /// Counts how often connections were left behind.
    number: u64,
    connector: Option<SharedHttpConnector>,
}

impl fmt::Debug for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connections").finish_non_exhaustive()
    }
}

impl Connections {
    pub(super) fn new(connect: impl Connect) -> Self {
        Self { shared: Arc::new(Shared { connect: Box::new(connect), present: Mutex::default() }) }
    }

    /// Leaves all behind.
    pub(super) fn leave(&self) {
        self.present().leave();
    }

    /// Leaves those behind that a request was made on, unless somebody else has done so.
    fn leave_if(&self, number: u64) {
        let mut present = self.present();
        if present.number == number {
            present.leave();
        }
    }

    fn present(&self) -> MutexGuard<'_, Present> {
        self.shared.present.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Present {
    fn leave(&mut self) {
        self.number += 1;
        self.connector = None;
    }
}

impl HttpClient for Connections {
    fn http_connector(&self, settings: &HttpConnectorSettings, components: &RuntimeComponents) -> SharedHttpConnector {
        let mut present = self.present();
        let number = present.number;
        let connector = present.connector.get_or_insert_with(|| (self.shared.connect)(settings, components)).clone();
        SharedHttpConnector::new(Watched { connector, number, connections: self.clone() })
    }
}

/// A connector whose requests are answered in time, or its connections are left behind.
#[derive(Debug)]
struct Watched {
    connector: SharedHttpConnector,
    number: u64,
    connections: Connections,
}

/// No answer began in time.
#[derive(Debug, thiserror::Error)]
#[error("no answer within {0:?}, this try's share of the time left")]
struct NoAnswer(Duration);

impl HttpConnector for Watched {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let limit = retry::answer_limit();
        let answer = self.connector.call(request);
        let (number, connections) = (self.number, self.connections.clone());
        HttpConnectorFuture::new(async move {
            let answer = match limit {
                Some(limit) => timeout(limit, answer)
                    .await
                    .unwrap_or_else(|_| Err(ConnectorError::timeout(NoAnswer(limit).into()))),
                None => answer.await,
            };
            if answer.as_ref().is_err_and(ConnectorError::is_timeout) {
                connections.leave_if(number);
            }
            answer
        })
    }
}
