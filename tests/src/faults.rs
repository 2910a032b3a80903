//! Faults of an app that knows nothing of them.
//!
//! `tests/faults/` holds what makes an app's process ask here after each HTTP request that it has made: `sitecustomize.py` and
//! `faults.mjs`. The request has had its effect by then. A test says what comes next: the process goes on, its request fails, or it
//! ends; and it waits for as long as the test takes to say so. The same for an app on AFT and for its version without.

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fastrand::Rng;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{oneshot, watch};
use tokio::task::{JoinHandle, JoinSet};

use crate::soon;

/// What comes after a request, instead of its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The call raises what nobody expects. In Node.js it is the request's error, as if the connection had broken.
    Error,
    /// The connection breaks, and the answer with it. What repeats such a request by itself, repeats it.
    Lost,
    /// The process ends by itself.
    Exit,
    /// The process is killed.
    Kill,
    /// The process that Lambda started is killed, and with it the sandbox.
    Sandbox,
}

/// Every fault.
pub const ALL: [Fault; 5] = [Fault::Error, Fault::Lost, Fault::Exit, Fault::Kill, Fault::Sandbox];

/// A request that an app has made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Who.
    pub process: u32,
    /// Method and path; of DynamoDB's own API, the operation.
    pub request: String,
}

/// Where apps ask. It ends when this is dropped.
pub struct Faults {
    /// What the variable `FAULTS` of an app is to say.
    pub address: String,
    shared: Arc<Shared>,
    server: JoinHandle<()>,
}

/// A process that waits after a request, until it is told to go on.
pub struct Held {
    arrived: oneshot::Receiver<()>,
    go: oneshot::Sender<()>,
}

#[derive(Default)]
struct Shared {
    plan: Mutex<Plan>,
    seen: watch::Sender<Vec<Seen>>,
}

#[derive(Default)]
enum Plan {
    #[default]
    Nothing,
    /// After so many more requests, once.
    Once(usize, Next),
    /// After one request in so many, any of these.
    Often { random: Rng, one_in: u32, faults: Vec<Fault> },
}

enum Next {
    Fault(Fault),
    Hold { arrived: oneshot::Sender<()>, go: oneshot::Receiver<()> },
}

impl Faults {
    /// Nothing goes wrong yet.
    ///
    /// # Panics
    /// If there is no port.
    pub async fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let address = listener.local_addr().expect("a port that was bound").to_string();
        let shared = Arc::new(Shared::default());
        let asked = Arc::clone(&shared);
        let server = tokio::spawn(async move {
            let mut processes = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                processes.spawn(Arc::clone(&asked).answer(stream));
            }
        });
        Self { address, shared, server }
    }

    /// This fault after so many requests from now on, once.
    ///
    /// # Panics
    /// If there are to be none.
    pub fn after(&self, requests: usize, fault: Fault) {
        assert!(requests > 0, "a fault comes after a request");
        *lock(&self.shared.plan) = Plan::Once(requests, Next::Fault(fault));
    }

    /// Whoever makes the last of so many requests from now on waits after it.
    ///
    /// # Panics
    /// If there are to be none.
    #[must_use]
    pub fn hold_after(&self, requests: usize) -> Held {
        assert!(requests > 0, "a process is held after a request");
        let ((arrived, arrival), (go, release)) = (oneshot::channel(), oneshot::channel());
        *lock(&self.shared.plan) = Plan::Once(requests, Next::Hold { arrived, go: release });
        Held { arrived: arrival, go }
    }

    /// From now on one of these faults after one request in so many, on average.
    pub fn often(&self, seed: u64, one_in: u32, faults: &[Fault]) {
        let (random, faults) = (Rng::with_seed(seed), faults.to_vec());
        *lock(&self.shared.plan) = Plan::Often { random, one_in, faults };
    }

    /// Nothing goes wrong any more. Whether something that was to happen once has not happened.
    pub fn end(&self) -> bool {
        matches!(std::mem::take(&mut *lock(&self.shared.plan)), Plan::Once(..))
    }

    /// All requests that were made, in the order in which they were answered.
    #[must_use]
    pub fn seen(&self) -> Vec<Seen> {
        self.shared.seen.borrow().clone()
    }

    /// How often this request was made.
    #[must_use]
    pub fn count(&self, request: &str) -> usize {
        self.shared.seen.borrow().iter().filter(|seen| seen.request == request).count()
    }
}

impl Drop for Faults {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Held {
    /// Waits until a process is there.
    ///
    /// # Panics
    /// If none comes.
    pub async fn reached(&mut self) {
        soon("a process to be held", &mut self.arrived).await.expect("the plan is kept until it happens");
    }

    /// Lets it go on.
    pub fn go(self) {
        // Fails only if the process has ended.
        let _ = self.go.send(());
    }
}

impl Shared {
    /// One process, from its first request to its end.
    async fn answer(self: Arc<Self>, stream: TcpStream) {
        let (read, mut write) = stream.into_split();
        let mut lines = BufReader::new(read).lines();
        // A killed process's connection may end in a reset.
        while let Ok(Some(line)) = lines.next_line().await {
            let question: Value = serde_json::from_str(&line).expect("a question is a JSON document");
            let process = question["process"].as_u64().and_then(|id| u32::try_from(id).ok()).expect("a process ID");
            let request = question["request"].as_str().expect("a request").to_owned();
            let next = lock(&self.plan).next();
            self.seen.send_modify(|seen| seen.push(Seen { process, request }));
            let then = match next {
                None => "go",
                Some(Next::Fault(fault)) => fault.name(),
                Some(Next::Hold { arrived, go }) => {
                    // Who armed it may have given up.
                    let _ = arrived.send(());
                    let _ = go.await;
                    "go"
                }
            };
            let answer = json!({ "id": question["id"], "then": then });
            // Fails only if the process has just ended.
            let _ = write.write_all(format!("{answer}\n").as_bytes()).await;
        }
    }
}

impl Plan {
    fn next(&mut self) -> Option<Next> {
        match self {
            Self::Nothing => None,
            Self::Once(1, _) => match std::mem::take(self) {
                Self::Once(_, next) => Some(next),
                Self::Nothing | Self::Often { .. } => None,
            },
            Self::Once(left, _) => {
                *left -= 1;
                None
            }
            Self::Often { random, one_in, faults } => {
                let strikes = random.u32(..*one_in) == 0;
                strikes.then(|| random.choice(faults.iter().copied())).flatten().map(Next::Fault)
            }
        }
    }
}

impl Fault {
    const fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Lost => "lost",
            Self::Exit => "exit",
            Self::Kill => "kill",
            Self::Sandbox => "sandbox",
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
