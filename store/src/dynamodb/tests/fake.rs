//! A DynamoDB that answers what a test says, in raw HTTP on a free port, so that failures come through the real client.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What is sent back.
#[derive(Debug, Clone)]
pub(super) enum Answer {
    /// A status and a body.
    Reply(u16, String),
    /// Half of that, and the connection is closed.
    Cut,
    /// The connection is closed.
    Close,
    /// Nothing, ever.
    Hang,
}

impl Answer {
    /// One of DynamoDB's own errors, with more members if there are any.
    pub(super) fn error(status: u16, code: &str, more: &str) -> Self {
        let body = format!(r#"{{"__type":"com.amazonaws.dynamodb.v20120810#{code}","message":"because"{more}}}"#);
        Self::Reply(status, body)
    }

    pub(super) fn empty() -> Self {
        Self::Reply(200, "{}".to_owned())
    }
}

/// A request: its operation, its body, and the access key that it was signed with.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) operation: String,
    pub(super) body: String,
    pub(super) key: String,
}

/// A running fake.
#[derive(Debug)]
pub(super) struct Fake {
    pub(super) endpoint: String,
    requests: Arc<AtomicUsize>,
}

impl Fake {
    pub(super) async fn start(answer: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(AtomicUsize::new(0));
        let (counter, answer) = (Arc::clone(&requests), Arc::new(answer));
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(serve(stream, Arc::clone(&counter), Arc::clone(&answer)));
            }
        });
        Self { endpoint, requests }
    }

    /// How many requests came so far.
    pub(super) fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

async fn serve(mut stream: TcpStream, counter: Arc<AtomicUsize>, answer: Arc<impl Fn(&Request) -> Answer>) {
    while let Some(request) = read(&mut stream).await {
        counter.fetch_add(1, Ordering::SeqCst);
        let (status, body, length) = match answer(&request) {
            Answer::Reply(status, body) => (status, body.clone(), body.len()),
            Answer::Cut => (200, "{\"Item\":".to_owned(), 1_000),
            Answer::Close => return,
            Answer::Hang => std::future::pending().await,
        };
        let head = format!("HTTP/1.1 {status} X\r\ncontent-length: {length}\r\n\r\n");
        if stream.write_all((head + &body).as_bytes()).await.is_err() || body.len() < length {
            return;
        }
    }
}

async fn read(stream: &mut TcpStream) -> Option<Request> {
    let mut bytes = Vec::new();
    loop {
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
        let text = String::from_utf8_lossy(&bytes);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let header = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        if body.len() >= header("content-length:").and_then(|length| length.parse().ok()).unwrap_or(0) {
            let operation = header("x-amz-target: DynamoDB_20120810.").unwrap_or_default().to_owned();
            let signed = header("authorization: AWS4-HMAC-SHA256 Credential=").and_then(|text| text.split('/').next());
            let key = signed.unwrap_or_default().to_owned();
            return Some(Request { operation, body: body.to_owned(), key });
        }
    }
}
