//! HTTP over a pipe in this process: raw bytes to a server, raw bytes to a client, on virtual time.

use std::future::Future;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::time::timeout;

/// What a pipe holds: more than any input here.
const PIPE_BYTES: usize = 1 << 20;
/// Virtual: longer than any answer takes. Passes at once when nothing more can happen.
const PATIENCE: Duration = Duration::from_secs(60);

/// An answer.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    head: String,
    /// What follows the head.
    pub body: Vec<u8>,
}

impl Answer {
    /// The first answer in these bytes, with all that follows its head.
    #[must_use]
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
        let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let status = head.split(' ').nth(1)?.parse().ok()?;
        if status == 100 {
            return Self::read(&bytes[end + 4..]);
        }
        Some(Self { status, head, body: bytes[end + 4..].to_vec() })
    }

    /// A header's text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// If it is none.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// Sends these bytes to a server, and returns all that it says until it is silent.
pub async fn told<F: Future>(bytes: &[u8], serve: impl FnOnce(DuplexStream) -> F) -> Vec<u8> {
    let (mut client, server) = duplex(PIPE_BYTES);
    let talk = async move {
        let mut said = Vec::new();
        // The server may have hung up already.
        let _ = client.write_all(bytes).await;
        let _ = timeout(PATIENCE, client.read_to_end(&mut said)).await;
        said
    };
    let (said, _) = tokio::join!(talk, timeout(3 * PATIENCE, serve(server)));
    said
}

/// The far end of a client: says each of these in its turn, whenever something was asked.
pub async fn answering(mut stream: DuplexStream, answers: Vec<Vec<u8>>) {
    let mut asked = vec![0; PIPE_BYTES];
    for answer in answers {
        match timeout(PATIENCE, stream.read(&mut asked)).await {
            Ok(Ok(1..)) => {}
            _ => return,
        }
        if stream.write_all(&answer).await.is_err() {
            return;
        }
    }
    // Read on, and say nothing, until the client has had enough.
    let _ = timeout(PATIENCE, async { while matches!(stream.read(&mut asked).await, Ok(1..)) {} }).await;
}

/// A pipe.
#[must_use]
pub fn pipe() -> (DuplexStream, DuplexStream) {
    duplex(PIPE_BYTES)
}
