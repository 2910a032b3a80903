//! Where `witnessed-function` processes report, and from where they are directed.
//!
//! Every process holds a connection from its first instant to its last. At a gate it waits until it is told to go on: at
//! once, unless a rule says otherwise.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};

use crate::soon;

/// The end of a process, as a report.
pub const GONE: &str = "gone";

/// What a process said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The gate, or [`GONE`].
    pub at: String,
    /// Of which host its sandbox is.
    pub side: String,
    /// Its process id.
    pub process: u32,
    /// Lambda's request ID, where there is one.
    pub request: String,
    /// What it has seen or done, depending on the gate.
    pub seen: Value,
}

/// What happens at a gate, instead of going on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Of which host; `None`: of any.
    pub side: Option<&'static str>,
    /// Which gate.
    pub at: &'static str,
    /// The order that is given; `None`: the process waits for the test.
    pub order: Option<&'static str>,
}

#[derive(Default)]
struct Shared {
    reports: watch::Sender<Vec<Report>>,
    rules: Mutex<Vec<Rule>>,
    orders: Mutex<HashMap<u32, mpsc::UnboundedSender<String>>>,
}

/// A witness. It ends when this is dropped.
pub struct Witness {
    /// Where processes are to report.
    pub address: String,
    shared: Arc<Shared>,
    server: JoinHandle<()>,
}

impl Witness {
    /// A witness that lets everything go on.
    ///
    /// # Panics
    /// If there is no port.
    pub async fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let address = listener.local_addr().expect("a port that was bound").to_string();
        let shared = Arc::new(Shared::default());
        let heard = Arc::clone(&shared);
        let server = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(Arc::clone(&heard).follow(stream));
            }
        });
        Self { address, shared, server }
    }

    /// From now on these rules count; the first that fits decides.
    pub fn rule(&self, rules: impl IntoIterator<Item = Rule>) {
        *lock(&self.shared.rules) = rules.into_iter().collect();
    }

    /// Whoever comes to this gate waits for [`Self::order`].
    pub fn hold(&self, side: &'static str, at: &'static str) {
        self.rule([Rule { side: Some(side), at, order: None }]);
    }

    /// Tells a process what to do. One that has gone hears nothing.
    pub fn order(&self, process: u32, order: &str) {
        if let Some(orders) = lock(&self.shared.orders).get(&process) {
            // Its connection may have ended.
            let _ = orders.send(order.to_owned());
        }
    }

    /// Waits for so many reports that `wanted` chooses, and returns the last of them.
    ///
    /// # Panics
    /// If they do not come.
    pub async fn reports(&self, count: usize, what: &str, wanted: impl Fn(&Report) -> bool) -> Report {
        let mut reports = self.shared.reports.subscribe();
        let enough = |reports: &Vec<Report>| reports.iter().filter(|report| wanted(report)).count() >= count;
        let reports = soon(what, reports.wait_for(enough)).await.expect("this witness holds the sender").clone();
        reports.into_iter().filter(|report| wanted(report)).nth(count - 1).expect("there are as many")
    }

    /// Waits until a process of this side is at this gate.
    ///
    /// # Panics
    /// If none comes there.
    pub async fn at(&self, side: &str, at: &str) -> Report {
        self.reports(1, at, |report| report.side == side && report.at == at).await
    }

    /// Waits for the end of a process.
    ///
    /// # Panics
    /// If it does not end.
    pub async fn gone(&self, process: u32) {
        self.reports(1, "the end of a process", |report| report.process == process && report.at == GONE).await;
    }

    /// Everything that was reported.
    #[must_use]
    pub fn all(&self) -> Vec<Report> {
        self.shared.reports.borrow().clone()
    }

    /// The runs of the handler for this request, on this side, each by its first report.
    #[must_use]
    pub fn runs(&self, side: &str, request: &str) -> usize {
        let is_run = |report: &&Report| report.at == "event" && report.side == side && report.request == request;
        self.all().iter().filter(is_run).count()
    }

    /// The process of this side that started last.
    #[must_use]
    pub fn newest(&self, side: &str) -> Option<u32> {
        let started = |report: &&Report| report.at == "init" && report.side == side;
        self.all().iter().rev().find(started).map(|report| report.process)
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Shared {
    async fn follow(self: Arc<Self>, stream: TcpStream) {
        let (read, mut write) = stream.into_split();
        let (orders, mut given) = mpsc::unbounded_channel::<String>();
        let writer = async {
            while let Some(order) = given.recv().await {
                // Fails if the process has ended, which the reader notices.
                let _ = write.write_all(format!("{order}\n").as_bytes()).await;
            }
        };
        let reader = async {
            let mut lines = BufReader::new(read).lines();
            let mut last = None;
            // A killed process's connection may end in a reset.
            while let Ok(Some(line)) = lines.next_line().await {
                let report = parse(&line);
                lock(&self.orders).insert(report.process, orders.clone());
                let order = self.order_at(&report);
                self.reports.send_modify(|reports| reports.push(report.clone()));
                last = Some(report);
                if let Some(order) = order {
                    // Fails only if the process has just ended.
                    let _ = orders.send(order.to_owned());
                }
            }
            if let Some(last) = last {
                let gone = Report { at: GONE.to_owned(), ..last };
                self.reports.send_modify(|reports| reports.push(gone));
            }
        };
        tokio::select! {
            () = reader => {}
            () = writer => {}
        }
    }

    fn order_at(&self, report: &Report) -> Option<&'static str> {
        if report.at == "refused" {
            return None;
        }
        let rules = lock(&self.rules);
        let fits = |rule: &&Rule| rule.at == report.at && rule.side.is_none_or(|side| side == report.side);
        match rules.iter().find(fits) {
            Some(rule) => rule.order,
            None => Some("go"),
        }
    }
}

fn parse(line: &str) -> Report {
    let report: Value = serde_json::from_str(line).expect("a report is a JSON document");
    let text = |name: &str| report[name].as_str().unwrap_or_default().to_owned();
    let process = report["process"].as_u64().and_then(|id| u32::try_from(id).ok()).expect("a report names its process");
    Report { at: text("at"), side: text("side"), process, request: text("request"), seen: report["seen"].clone() }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
