//! A TCP proxy in front of one of the things that a sandbox talks to: its connections can be broken, with a reset or in
//! silence, and counted, and a request can be held back when it is seen.

use std::net::{Ipv4Addr, SocketAddr};
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

/// Where a proxy's connections go; asked for each anew.
type Target = Arc<dyn Fn() -> Option<SocketAddr> + Send + Sync>;

/// A proxy. Dropped, it breaks its connections and takes no more.
pub struct Wire {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

struct Shared {
    target: Target,
    /// Counts breaks: a connection lives while this stays as it was.
    breaks: watch::Sender<u64>,
    /// Counts silences: nothing passes a connection that was there when this changed.
    silences: watch::Sender<u64>,
    /// How many connections there ever were.
    accepted: AtomicUsize,
    open: watch::Sender<usize>,
    trap: Mutex<Option<Trap>>,
}

/// What a request must contain to be held, who is told, and who decides what becomes of it.
struct Trap {
    text: &'static str,
    seen: oneshot::Sender<()>,
    fate: oneshot::Receiver<Fate>,
}

/// What becomes of a request that was held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It arrives.
    Passed,
    /// It never does, and its connection breaks.
    Lost,
}

/// A request that is held, once it has been seen.
pub struct Held {
    seen: oneshot::Receiver<()>,
    fate: oneshot::Sender<Fate>,
}

impl Held {
    /// Waits for the request.
    ///
    /// # Panics
    /// If the proxy is gone.
    pub async fn seen(&mut self) {
        (&mut self.seen).await.expect("the proxy lives as long as its world");
    }

    /// Decides over it; whoever sent it may be gone.
    pub fn decide(self, fate: Fate) {
        let _ = self.fate.send(fate);
    }
}

impl Wire {
    /// A proxy on a free port in front of whatever `target` names.
    ///
    /// # Panics
    /// If there is no port to be had.
    pub async fn new(target: impl Fn() -> Option<SocketAddr> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let address = listener.local_addr().expect("a listener has an address");
        let shared = Arc::new(Shared {
            target: Arc::new(target),
            breaks: watch::Sender::new(0),
            silences: watch::Sender::new(0),
            accepted: AtomicUsize::new(0),
            open: watch::Sender::new(0),
            trap: Mutex::default(),
        });
        let accepting = tokio::spawn(accept(listener, Arc::clone(&shared)));
        Self { address, shared, accepting }
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Breaks every connection, on both sides by a reset, and waits until all are gone.
    pub async fn break_connections(&self) {
        self.shared.breaks.send_modify(|breaks| *breaks += 1);
        let _ = self.shared.open.subscribe().wait_for(|open| *open == 0).await;
    }

    /// From now on nothing passes the connections that there are: neither side hears anything, not even of an end. New ones
    /// work.
    pub fn silence_connections(&self) {
        self.shared.silences.send_modify(|silences| *silences += 1);
    }

    /// How many connections there were so far.
    #[must_use]
    pub fn accepted(&self) -> usize {
        self.shared.accepted.load(Ordering::SeqCst)
    }

    /// Holds the next piece of a request that contains this text.
    #[must_use]
    pub fn hold(&self, text: &'static str) -> Held {
        let (see, seen) = oneshot::channel();
        let (decide, fate) = oneshot::channel();
        *self.shared.trap.lock().unwrap_or_else(PoisonError::into_inner) = Some(Trap { text, seen: see, fate });
        Held { seen, fate: decide }
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.accepting.abort();
        self.shared.breaks.send_modify(|breaks| *breaks += 1);
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    while let Ok((client, _)) = listener.accept().await {
        let Some(target) = (shared.target)() else { continue };
        let Ok(server) = TcpStream::connect(target).await else { continue };
        for stream in [&client, &server] {
            // Closed by a reset: what is under way is gone.
            let _ = stream.set_nodelay(true).and_then(|()| stream.set_zero_linger());
        }
        shared.open.send_modify(|open| *open += 1);
        shared.accepted.fetch_add(1, Ordering::SeqCst);
        let (mut breaks, mut silences) = (shared.breaks.subscribe(), shared.silences.subscribe());
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            {
                let ((client_in, client_out), (server_in, server_out)) = (client.into_split(), server.into_split());
                let mut passing = pin!(async {
                    tokio::select! {
                        () = requests(client_in, server_out, &shared) => {}
                        () = answers(server_in, client_out) => {}
                    }
                });
                tokio::select! {
                    () = &mut passing => {}
                    _ = breaks.changed() => {}
                    // Neither polled nor dropped until it is broken.
                    _ = silences.changed() => drop(breaks.changed().await),
                }
            }
            shared.open.send_modify(|open| *open -= 1);
        });
    }
}

async fn requests(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, shared: &Shared) {
    let mut buffer = vec![0; 64 * 1_024];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        let piece = &buffer[..length];
        let trap = {
            let mut trap = shared.trap.lock().unwrap_or_else(PoisonError::into_inner);
            trap.take_if(|trap| piece.windows(trap.text.len()).any(|window| window == trap.text.as_bytes()))
        };
        if let Some(Trap { seen, fate, .. }) = trap {
            let _ = seen.send(());
            if fate.await != Ok(Fate::Passed) {
                return;
            }
        }
        if to.write_all(piece).await.is_err() {
            return;
        }
    }
}

async fn answers(mut from: OwnedReadHalf, mut to: OwnedWriteHalf) {
    // Ends when either side does.
    let _ = tokio::io::copy(&mut from, &mut to).await;
}
