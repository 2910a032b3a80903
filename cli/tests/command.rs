//! `aft local` as its users see it: what it prints, how it ends, and that it leaves no process behind even when killed.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "clippy sees no test in what tests share")]

mod world;

use std::process::{Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use world::wire::call;
use world::{Life, PATIENCE, Witness, fixture};

struct Aft {
    process: Child,
    lines: Lines<BufReader<ChildStdout>>,
    witness: Witness,
}

impl Aft {
    /// `aft local` with a fixture runtime that has a child of its own, once it serves.
    async fn start(arguments: &[&str]) -> Self {
        let witness = Witness::start().await;
        let runtime = fixture("runtime");
        let mut process = Command::new(env!("CARGO_BIN_EXE_aft"))
            .args(["local", "--port", "0", "--in-memory", "--without-aft", "-e", "FIXTURE_RUNTIME=with-child", "-e"])
            .arg(format!("FIXTURE_WITNESS={}", witness.address))
            .args(arguments)
            .arg("--")
            .arg(runtime.executable)
            .args(runtime.arguments)
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        Self { process, lines, witness }
    }

    /// Waits for a line that contains this.
    async fn line(&mut self, text: &str) -> String {
        let found = async {
            while let Some(line) = self.lines.next_line().await.unwrap() {
                if line.contains(text) {
                    return line;
                }
            }
            panic!("aft ended without a line that contains {text:?}");
        };
        tokio::time::timeout(PATIENCE, found).await.unwrap_or_else(|_| panic!("no line contains {text:?}"))
    }

    /// Invokes the function by the line that is there to be copied.
    async fn invoke(&mut self) -> [Life; 2] {
        let curl = self.line("curl").await;
        let (address, path) = curl.split_once("http://").unwrap().1.split_once('/').unwrap();
        let (address, path) = (address.to_owned(), format!("/{path}"));
        let reply = tokio::task::spawn_blocking(move || call(&address, "POST", &path, &[], b"{}").unwrap());
        assert_eq!(reply.await.unwrap().status, 200);
        [self.witness.birth("runtime").await, self.witness.birth("child").await]
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.process.id().unwrap().cast_signed()).unwrap();
        kill_process(pid, signal).unwrap();
    }
}

#[tokio::test]
async fn a_signal_ends_it_cleanly() {
    for signal in [Signal::INT, Signal::TERM] {
        let mut aft = Aft::start(&[]).await;
        let lives = aft.invoke().await;
        aft.line("sandbox-1 lambda | END RequestId").await;
        aft.signal(signal);
        aft.line("Stopping").await;
        let status = tokio::time::timeout(PATIENCE, aft.process.wait()).await.unwrap().unwrap();
        assert_eq!(status.code(), Some(0));
        for life in lives {
            life.death().await;
        }
    }
}

#[tokio::test]
async fn killed_it_leaves_no_process() {
    let mut aft = Aft::start(&[]).await;
    let lives = aft.invoke().await;
    aft.signal(Signal::KILL);
    for life in lives {
        life.death().await;
    }
}

#[tokio::test]
async fn it_shows_whose_lines_were_asked_for() {
    let mut aft = Aft::start(&["--log", "aft"]).await;
    let _lives = aft.invoke().await;
    loop {
        let line = aft.line("sandbox-1").await;
        assert!(!line.contains("function |"), "{line}");
        if line.contains("REPORT") {
            return;
        }
    }
}

#[tokio::test]
async fn what_cannot_be_served_is_one_line_and_exit_code_2() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let cases: [(&[&str], &str); 5] = [
        (&["--without-aft"], "after `--`"),
        (&["--layer", "/nowhere", "--", "sh"], "--without-aft"),
        (&["--without-aft", "--in-memory", "--port", &port, "--", "sh"], "--port"),
        (&["--without-aft", "--dynamodb-endpoint", "localhost:8000", "--", "sh"], "http://"),
        (&["--without-aft", "--data", "/dev/null/x", "--", "sh"], "--data"),
    ];
    for (arguments, remedy) in cases {
        let output = Command::new(env!("CARGO_BIN_EXE_aft")).arg("local").args(arguments).output();
        let Output { status, stdout, stderr } = tokio::time::timeout(PATIENCE, output).await.unwrap().unwrap();
        let (stdout, stderr) = (String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap());
        assert_eq!(status.code(), Some(2), "{arguments:?}: {stderr}");
        assert_eq!((stderr.lines().count(), stdout.as_str()), (1, ""), "{arguments:?}: {stderr}");
        assert!(stderr.starts_with("aft: ") && stderr.contains(remedy), "{stderr}");
    }
}
