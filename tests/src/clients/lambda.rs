//! Lambda, as far as one sandbox sees it: the Runtime API and the Extensions API at one address. It hands out the events
//! that it is given, and keeps every request of the runtime's byte for byte.

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex as Lock, PoisonError};

use bytes::Bytes;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufStream};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex, mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};

use super::wire::{Field, Request, answer};

/// The runtime's way to an event.
pub const NEXT: &str = "/2018-06-01/runtime/invocation/next";

/// What an invocation begins with.
#[derive(Debug, Clone)]
pub struct Event {
    /// For people.
    pub name: &'static str,
    /// The request ID.
    pub request: String,
    /// When it ends, in milliseconds since the epoch.
    pub deadline_ms: u128,
    /// Every header, the request ID's and the deadline's, too.
    pub fields: Vec<Field>,
    /// The payload.
    pub body: Bytes,
}

/// Lambda. It listens for as long as this lives.
#[derive(Debug)]
pub struct Lambda {
    address: SocketAddr,
    shared: Arc<Shared>,
    events: mpsc::UnboundedSender<Event>,
    heard: mpsc::UnboundedReceiver<Request>,
    server: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    /// What the runtime is to get.
    events: Mutex<mpsc::UnboundedReceiver<Event>>,
    /// What the extension is to get, one for each event that the runtime got.
    invokes: Mutex<mpsc::UnboundedReceiver<Event>>,
    invoked: mpsc::UnboundedSender<Event>,
    heard: mpsc::UnboundedSender<Request>,
    /// The status of answers to posts to these targets; 202 for all others.
    refused: Lock<HashMap<String, &'static str>>,
    /// An extension has registered.
    registered: watch::Sender<bool>,
}

type Connection = BufStream<TcpStream>;

impl Lambda {
    /// Listens on a free port.
    ///
    /// # Panics
    /// If there is none.
    pub async fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let ((events, queued), (invoked, invokes)) = (mpsc::unbounded_channel(), mpsc::unbounded_channel());
        let (noted, heard) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared {
            events: Mutex::new(queued),
            invokes: Mutex::new(invokes),
            invoked,
            heard: noted,
            refused: Lock::default(),
            registered: watch::Sender::new(false),
        });
        let server = tokio::spawn(serve(listener, Arc::clone(&shared)));
        Self { address, shared, events, heard, server }
    }

    /// What `AWS_LAMBDA_RUNTIME_API` says.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The runtime's next event, or one after that.
    ///
    /// # Panics
    /// Never: the queue lives as long as this.
    pub fn deliver(&self, event: Event) {
        self.events.send(event).expect("the queue is there");
    }

    /// Posts to this target get this status, such as `410 Gone`.
    pub fn refuse(&self, target: &str, status: &'static str) {
        let mut refused = self.shared.refused.lock().unwrap_or_else(PoisonError::into_inner);
        refused.insert(target.to_owned(), status);
    }

    /// What the runtime, or the shim, asked next.
    ///
    /// # Panics
    /// If the server broke.
    pub async fn heard(&mut self) -> Request {
        self.heard.recv().await.expect("the server runs")
    }

    /// Waits for the extension.
    ///
    /// # Panics
    /// Never: who tells lives as long as this.
    pub async fn registered(&self) {
        self.shared.registered.subscribe().wait_for(|registered| *registered).await.expect("the server runs");
    }
}

impl Drop for Lambda {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let shared = Arc::clone(&shared);
        connections.spawn(async move {
            // A runtime that was killed is no event.
            let _ = converse(stream, &shared).await;
        });
    }
}

async fn converse(stream: TcpStream, shared: &Shared) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut stream = BufStream::new(stream);
    while let Some(request) = Request::read(&mut stream).await? {
        let text = match request.target() {
            "/2020-01-01/extension/register" => {
                shared.registered.send_replace(true);
                answer("200 OK", &[Field::new("Lambda-Extension-Identifier", "test")], b"{}")
            }
            "/2020-01-01/extension/event/next" => {
                let Some(event) = awaited(&shared.invokes, &mut stream).await else { return Ok(()) };
                answer("200 OK", &[], invoke(&event).as_bytes())
            }
            NEXT => {
                let _ = shared.heard.send(request);
                let Some(event) = awaited(&shared.events, &mut stream).await else { return Ok(()) };
                let _ = shared.invoked.send(event.clone());
                answer("200 OK", &event.fields, &event.body)
            }
            _ => shared.posted(request),
        };
        stream.write_all(&text).await?;
        stream.flush().await?;
    }
    Ok(())
}

impl Shared {
    fn posted(&self, request: Request) -> Vec<u8> {
        let refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner).get(request.target()).copied();
        // The test may be over.
        let _ = self.heard.send(request);
        let fields = [Field::new("Content-Type", "application/json"), Field::new("X-aMz-Odd", "kEpT")];
        match refused {
            Some(status) => answer(status, &fields, br#"{"errorMessage":"stale","errorType":"InvalidInvocationID"}"#),
            None => answer("202 Accepted", &fields, b"{\"status\":\"OK\"}\n"),
        }
    }
}

/// The next event, for whom is still there when it comes.
async fn awaited(queue: &Mutex<mpsc::UnboundedReceiver<Event>>, asking: &mut Connection) -> Option<Event> {
    tokio::select! {
        event = async { queue.lock().await.recv().await } => event,
        // The end of the connection: nobody sends a second request before the first one's answer.
        _ = asking.fill_buf() => None,
    }
}

fn invoke(event: &Event) -> String {
    serde_json::json!({
        "eventType": "INVOKE",
        "deadlineMs": u64::try_from(event.deadline_ms).unwrap_or(u64::MAX),
        "requestId": event.request,
        "invokedFunctionArn": "arn:aws:lambda:us-east-1:012345678912:function:client",
        "tracing": { "type": "X-Amzn-Trace-Id", "value": "" },
    })
    .to_string()
}
