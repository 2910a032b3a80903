//! The SDK's connector: what of a request arrives at the engine, when, and what comes back.
//!
//! A request that was sent is the engine's: it goes on in a task of its own, whatever becomes of its caller.

use std::fmt;
use std::future::pending;
use std::time::Duration;

use aws_sdk_dynamodb::config::SharedHttpClient;
use aws_smithy_runtime_api::client::http::{HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

use super::fault::{self, Fault, Reply, Side};
use super::{Engine, Plan, Request};

/// What precedes an operation's name in `X-Amz-Target`.
const TARGET_PREFIX: &str = "DynamoDB_20120810.";

/// The HTTP client of one store.
pub(super) fn http_client(engine: Engine, plan: Plan) -> SharedHttpClient {
    http_client_fn(move |settings, _| {
        let (engine, plan) = (engine.clone(), Plan::clone(&plan));
        SharedHttpConnector::new(Connector { engine, plan, answer_limit: settings.read_timeout() })
    })
}

pub(super) struct Connector {
    pub(super) engine: Engine,
    pub(super) plan: Plan,
    pub(super) answer_limit: Option<Duration>,
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector").finish_non_exhaustive()
    }
}

impl HttpConnector for Connector {
    fn call(&self, sent: HttpRequest) -> HttpConnectorFuture {
        let target = sent.headers().get("x-amz-target").unwrap_or_default();
        let operation = target.strip_prefix(TARGET_PREFIX).unwrap_or_default();
        let request = Request::new(operation, sent.body().bytes().unwrap_or_default());
        let fault = (self.plan)(&request);
        self.engine.shared.note(&request, fault);
        let (reply, answered) = oneshot::channel();
        let engine = self.engine.clone();
        tokio::spawn(async move {
            if let Some(answer) = engine.meet(&request, fault).await {
                // The caller may have given up.
                let _ = reply.send(answer);
            }
        });
        let limit = self.answer_limit;
        HttpConnectorFuture::new(async move {
            let answer = async {
                match answered.await {
                    Ok(answer) => answer,
                    Err(_) => pending().await,
                }
            };
            match limit {
                Some(limit) => timeout(limit, answer).await.unwrap_or_else(|_| fault::timed_out(limit)),
                None => answer.await,
            }
        })
    }
}

impl Engine {
    /// What becomes of a request; `None`: it is never answered.
    async fn meet(&self, request: &Request, fault: Fault) -> Option<Reply> {
        let effect = || self.shared.tables.answer(request);
        let answered = |(status, body): (u16, String)| Some(fault::answer(status, body));
        match fault {
            Fault::None | Fault::Unseen => answered(effect()),
            Fault::Slow(before, after) => {
                sleep(before).await;
                let answer = effect();
                sleep(after).await;
                answered(answer)
            }
            Fault::Unconnected => Some(fault::unconnected()),
            Fault::Unavailable => Some(fault::unavailable()),
            Fault::Throttled(throttle) => Some(fault::throttled(throttle)),
            Fault::Lost(Side::Before) => Some(fault::lost()),
            Fault::Failed(Side::Before) => Some(fault::failed()),
            Fault::Silent(Side::Before) => None,
            Fault::Lost(Side::After) => {
                effect();
                Some(fault::lost())
            }
            Fault::Failed(Side::After) => {
                effect();
                Some(fault::failed())
            }
            Fault::Silent(Side::After) => {
                effect();
                None
            }
            Fault::CutOff => {
                let (status, body) = effect();
                Some(fault::cut_off(status, body.as_bytes()))
            }
            Fault::Unprocessed(keys) => answered(self.shared.tables.answer_partly(request, keys)),
            Fault::Stale(age) => answered(self.shared.tables.answer_late(request, age)),
        }
    }
}
