//! HTTP calls: heard by a scripted server, or made.

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::HeaderMap;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{mpsc, oneshot};

use super::soon;

/// A call that a scripted server heard. Not answered and dropped: its connection breaks.
pub struct Call {
    pub method: Method,
    pub path: String,
    pub headers: HeaderMap,
    pub body: Bytes,
    pub trailers: Option<HeaderMap>,
    /// What is still to come, if this is a streamed response and the test reads it as it comes.
    rest: Option<Incoming>,
    reply: oneshot::Sender<Response<Full<Bytes>>>,
}

impl Call {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// The next bytes of a streamed response; `None` at its end, when its trailers are known.
    pub async fn more(&mut self) -> Option<Bytes> {
        let frame = soon("a frame", self.rest.as_mut().unwrap().frame()).await?.unwrap();
        match frame.into_data() {
            Ok(data) => Some(data),
            Err(frame) => {
                self.trailers = frame.into_trailers().ok();
                None
            }
        }
    }

    /// Whether nothing more of a streamed response is here now.
    pub async fn has_no_more_yet(&mut self) -> bool {
        // Polled once.
        tokio::time::timeout(std::time::Duration::ZERO, self.rest.as_mut().unwrap().frame()).await.is_err()
    }

    /// Answers; nobody may be there any more.
    pub fn answer(self, status: u16, headers: &[(&str, &str)], body: impl Into<Bytes>) {
        let mut response = Response::new(Full::new(body.into()));
        *response.status_mut() = status.try_into().unwrap();
        for (name, value) in headers {
            response.headers_mut().insert(name.parse::<hyper::header::HeaderName>().unwrap(), value.parse().unwrap());
        }
        let _ = self.reply.send(response);
    }

    /// Answers as Lambda does when it took a post.
    pub fn accept(self) {
        self.answer(202, &[("Content-Type", "application/json")], r#"{"status":"OK"}"#);
    }

    /// Answers as the extension does.
    pub fn outcome(self, outcome: &str) {
        self.answer(200, &[("X-Aft-Outcome", outcome)], "");
    }

    /// Answers as the extension does when something went wrong.
    pub fn problem(self, outcome: &str, detail: &str) {
        let headers = [("X-Aft-Outcome", outcome), ("Content-Type", "application/problem+json")];
        let body = serde_json::json!({
            "type": "urn:aft:error:x", "title": "t", "status": 503, "code": "outcome-code", "detail": detail,
        });
        self.answer(200, &headers, body.to_string());
    }

    /// Answers as the extension does when the transaction had committed before.
    pub fn duplicate(self, content_type: &str, body: &'static str) {
        self.answer(200, &[("X-Aft-Outcome", "duplicate"), ("Content-Type", content_type)], body);
    }
}

/// Serves one connection: every call is heard, and answered when the test does; a streamed response as soon as it begins, if
/// the test reads it `live`.
pub async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin, heard: mpsc::UnboundedSender<Call>, live: bool) {
    let service = service_fn(|request: Request<Incoming>| {
        let heard = heard.clone();
        async move {
            let (head, incoming) = request.into_parts();
            let (reply, answer) = oneshot::channel();
            let (path, headers) = (head.uri.path().to_owned(), head.headers);
            let streamed = live && headers.contains_key("lambda-runtime-function-response-mode");
            let mut call =
                Call { method: head.method, path, headers, body: Bytes::new(), trailers: None, rest: None, reply };
            if streamed {
                call.rest = Some(incoming);
            } else {
                let collected = incoming.collect().await.map_err(|_| "the call broke off")?;
                call.trailers = collected.trailers().cloned();
                call.body = collected.to_bytes();
            }
            heard.send(call).map_err(|_| "the test is over")?;
            answer.await.map_err(|_| "the test breaks the connection")
        }
    });
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

/// The answer to a call that the test made.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}
