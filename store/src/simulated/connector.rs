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
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::engine::Answer;
use super::fault::{self, Fate, Fault, Reply, Side};
use super::{Engine, Plan, Request, transactions};

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
        let fate = (self.plan)(&request);
        self.engine.shared.note(&request, fate);
        let (reply, answered) = oneshot::channel();
        let engine = self.engine.clone();
        tokio::spawn(async move {
            if let Some(answer) = engine.meet(&request, fate).await {
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
    async fn meet(&self, request: &Request, fate: Fate) -> Option<Reply> {
        let tables = &self.shared.tables;
        let effect = || tables.answer(request, Duration::ZERO, fate.in_flight);
        match fate.fault {
            Fault::None => answered(effect()).await,
            Fault::Unseen => answered(tables.answer_truly(request)).await,
            Fault::Slow(before, after) => {
                sleep(before).await;
                let answer = answered(effect()).await;
                sleep(after).await;
                answer
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
                let answer = effect();
                due(answer.at).await;
                Some(fault::cut_off(answer.status, answer.body.as_bytes()))
            }
            Fault::Unprocessed(keys) => answered(tables.answer_partly(request, keys, fate.in_flight)).await,
            Fault::Stale(age) => answered(tables.answer(request, age, fate.in_flight)).await,
            Fault::Cancelled(reason, position) => {
                let cancelled = transactions::cancelled_out_of_the_blue(request, reason, position);
                answered(cancelled.unwrap_or_else(effect)).await
            }
        }
    }
}

/// What DynamoDB says, once it does.
async fn answered(answer: Answer) -> Option<Reply> {
    due(answer.at).await;
    Some(fault::answer(answer.status, answer.body))
}

/// Waits for a time, if it is still to come: even a sleep of no length would take its turn.
async fn due(at: Instant) {
    if at > Instant::now() {
        sleep_until(at).await;
    }
}
