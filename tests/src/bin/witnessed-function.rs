//! A Lambda runtime with a handler that writes two keys, and that a test directs: at each gate it tells the witness where
//! it is and what it has seen, and goes on when it is told to.
//!
//! | gate | where |
//! |---|---|
//! | `init` | before the first `/next` |
//! | `event` | it has the event |
//! | `first-write` | it has read both keys |
//! | `between-writes` | it has written the first |
//! | `last-write` | it has written both |
//! | `responded` | Lambda has taken its response |
//! | `refused` | no gate: a request to the local endpoint came to nothing, and it reports an error |
//!
//! Events: `{"do": "write"}`; `{"do": "read", "keys": [...]}`, key by key; `{"do": "ask", "requests": [...]}`, any requests to the
//! local endpoint, one after the other. The last two have no gates.
//!
//! Orders to end are obeyed at any time, by a thread of their own. HTTP is bytes on blocking sockets, so that nothing of
//! it is shared with what is tested.

use std::collections::BTreeMap;
use std::error::Error;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::process::CommandExt;
use std::process::{Command, exit};
use std::sync::mpsc::{Receiver, channel};

use serde_json::{Value, json};

type Failure = Box<dyn Error + Send + Sync>;

const INVOCATION: &str = "/2018-06-01/runtime/invocation";
const BOTH: [&str; 2] = ["a", "b"];

fn main() -> Result<(), Failure> {
    let mut function = Function::start()?;
    let init = function.gate("init", "", json!(null))?;
    if init == "error" {
        function.fail("/2018-06-01/runtime/init/error", "Function.InitFailed")?;
        exit(1);
    }
    loop {
        let next = function.lambda("GET", &format!("{INVOCATION}/next"), &[], b"")?;
        let id = next.headers.get("lambda-runtime-aws-request-id").ok_or("an event without a request id")?;
        let event: Value = serde_json::from_slice(&next.body)?;
        function.runs += 1;
        function.handle(id, &event)?;
    }
}

struct Function {
    api: String,
    endpoint: String,
    token: String,
    side: String,
    witness: TcpStream,
    orders: Receiver<String>,
    runs: u32,
}

impl Function {
    fn start() -> Result<Self, Failure> {
        let witness = TcpStream::connect(std::env::var("FUNCTION_WITNESS")?)?;
        let lines = BufReader::new(witness.try_clone()?).lines();
        let (heard, orders) = channel();
        std::thread::spawn(move || {
            for order in lines.map_while(Result::ok) {
                obey(&order);
                // Nobody hears it only when the process ends.
                let _ = heard.send(order);
            }
        });
        let endpoint = std::env::var("AFT_ENDPOINT")?;
        Ok(Self {
            api: std::env::var("AWS_LAMBDA_RUNTIME_API")?,
            endpoint: endpoint.trim_start_matches("http://").to_owned(),
            token: std::env::var("AFT_TOKEN")?,
            side: std::env::var("FUNCTION_SIDE")?,
            witness,
            orders,
            runs: 0,
        })
    }

    /// Tells the witness, and does not wait.
    fn tell(&mut self, at: &str, request: &str, seen: Value) -> Result<(), Failure> {
        let report =
            json!({ "at": at, "side": self.side, "process": std::process::id(), "request": request, "seen": seen });
        // In one write: whoever is killed has reported all or nothing.
        Ok(self.witness.write_all(format!("{report}\n").as_bytes())?)
    }

    /// Tells the witness, and waits for an order: `go` or `error`. Whoever is to hang gets none.
    fn gate(&mut self, at: &str, request: &str, seen: Value) -> Result<String, Failure> {
        self.tell(at, request, seen)?;
        Ok(self.orders.recv()?)
    }

    fn handle(&mut self, id: &str, event: &Value) -> Result<(), Failure> {
        let result = match event["do"].as_str() {
            Some("read") => self.read(event),
            Some("ask") => self.ask(event),
            _ => self.write(id, event),
        };
        let response = match result {
            Ok(Some(response)) => response,
            Ok(None) => return self.fail(&format!("{INVOCATION}/{id}/error"), "Function.Failed"),
            Err(error) => {
                self.tell("refused", id, json!(error.to_string()))?;
                return self.fail(&format!("{INVOCATION}/{id}/error"), "Function.Refused");
            }
        };
        let kind = [("Content-Type", "application/json")];
        let path = format!("{INVOCATION}/{id}/response");
        let answer = self.lambda("POST", &path, &kind, response.to_string().as_bytes())?;
        if event["do"] == "write" {
            self.gate("responded", id, json!(answer.status))?;
        }
        Ok(())
    }

    /// The keys in the order that the event asks for.
    fn read(&self, event: &Value) -> Result<Option<Value>, Failure> {
        let mut values = serde_json::Map::new();
        for key in event["keys"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            values.insert(key.to_owned(), self.get(key)?);
        }
        Ok(Some(Value::Object(values)))
    }

    /// Whatever the event asks for. `{transaction}` in a path is the transaction that a reply before named; a request that is
    /// `within` it says so. `ifNoneMatch` is a header of its own.
    fn ask(&self, event: &Value) -> Result<Option<Value>, Failure> {
        let (mut replies, mut transaction) = (Vec::new(), String::new());
        for request in event["requests"].as_array().into_iter().flatten() {
            let text = |name: &str| request[name].as_str().unwrap_or_default();
            let path = text("path").replace("{transaction}", &transaction);
            let mut headers = vec![("X-Aft-Token", self.token.as_str())];
            if request["within"] == true {
                headers.push(("X-Aft-Transaction", &transaction));
            }
            if let Some(tag) = request["ifNoneMatch"].as_str() {
                headers.push(("If-None-Match", tag));
            }
            let reply = call(&self.endpoint, text("method"), &path, &headers, request["body"].to_string().as_bytes())?;
            if reply.status >= 400 {
                return Err(reply.problem());
            }
            let document: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
            if let Some(named) = document["transaction"].as_str() {
                named.clone_into(&mut transaction);
            }
            replies.push(document);
        }
        Ok(Some(json!(replies)))
    }

    /// Reads both keys, writes both, each write with this run's own mark, and answers with the mark. `None`: told to fail.
    fn write(&mut self, id: &str, event: &Value) -> Result<Option<Value>, Failure> {
        let mark = format!("{}-{}-{}", self.side, std::process::id(), self.runs);
        if self.gate("event", id, json!(mark))? == "error" {
            return Ok(None);
        }
        while event["until_refused_at"] == self.side.as_str() {
            self.get(BOTH[0])?;
        }
        let seen = json!({ "a": self.get(BOTH[0])?, "b": self.get(BOTH[1])? });
        if self.gate("first-write", id, seen)? == "error" {
            return Ok(None);
        }
        for extra in 0..event["extra_keys"].as_u64().unwrap_or_default() {
            let size = usize::try_from(event["extra_bytes"].as_u64().unwrap_or_default())?;
            self.put(&format!("extra-{extra}"), "x".repeat(size).as_bytes())?;
        }
        for (key, after) in BOTH.into_iter().zip(["between-writes", "last-write"]) {
            self.put(key, mark.as_bytes())?;
            if self.gate(after, id, json!(mark))? == "error" {
                return Ok(None);
            }
        }
        let padding = usize::try_from(event["padding"].as_u64().unwrap_or_default())?;
        Ok(Some(json!({ "wrote": mark, "padding": "p".repeat(padding) })))
    }

    /// What this attempt sees of a key: text, or null.
    fn get(&self, key: &str) -> Result<Value, Failure> {
        let reply = self.aft("GET", key, b"")?;
        match reply.status {
            200 => Ok(json!(String::from_utf8(reply.body)?)),
            404 => Ok(Value::Null),
            _ => Err(reply.problem()),
        }
    }

    fn put(&self, key: &str, value: &[u8]) -> Result<(), Failure> {
        let reply = self.aft("PUT", key, value)?;
        if reply.status == 204 { Ok(()) } else { Err(reply.problem()) }
    }

    fn aft(&self, method: &str, key: &str, body: &[u8]) -> Result<Reply, Failure> {
        call(&self.endpoint, method, &format!("/v1/kv/{key}"), &[("X-Aft-Token", &self.token)], body)
    }

    fn lambda(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Result<Reply, Failure> {
        call(&self.api, method, path, headers, body)
    }

    fn fail(&self, path: &str, error_type: &str) -> Result<(), Failure> {
        let document = json!({ "errorType": error_type, "errorMessage": "as it was told" }).to_string();
        let headers = [("Lambda-Runtime-Function-Error-Type", error_type)];
        self.lambda("POST", path, &headers, document.as_bytes())?;
        Ok(())
    }
}

/// Ends the process if that is the order.
fn obey(order: &str) {
    match order.split_once(' ') {
        Some(("exit", code)) => exit(code.parse().unwrap_or(99)),
        Some(("die", signal)) => {
            // Not by this process's own Rust, which has a handler for SIGSEGV and passes over SIGPIPE.
            let error = Command::new("sh").args(["-c", &format!("kill -{signal} $$")]).exec();
            eprintln!("no shell to die in: {error}");
            exit(99);
        }
        Some(("allocate", bytes)) => {
            let mut memory = vec![0_u8; bytes.parse().unwrap_or_default()];
            // Touched, so that it is really taken.
            memory.iter_mut().step_by(4_096).for_each(|byte| *byte = 1);
            std::hint::black_box(&memory);
        }
        Some(_) | None => {}
    }
}

struct Reply {
    status: u16,
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
}

impl Reply {
    fn problem(&self) -> Failure {
        let document: Value = serde_json::from_slice(&self.body).unwrap_or_default();
        format!("{} {}", self.status, document["code"].as_str().unwrap_or("no code")).into()
    }
}

/// One request on a connection of its own.
fn call(address: &str, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Result<Reply, Failure> {
    let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let length = body.len();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n"
    );
    let mut connection = TcpStream::connect(address)?;
    connection.write_all(head.as_bytes())?;
    connection.write_all(body)?;
    let mut bytes = Vec::new();
    connection.read_to_end(&mut bytes)?;
    let end =
        bytes.windows(4).position(|window| window == b"\r\n\r\n").ok_or("an answer without an end of its head")?;
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let mut lines = head.lines();
    let status =
        lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok()).ok_or("an answer without a status")?;
    let headers = lines.filter_map(|line| line.split_once(": "));
    let headers = headers.map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())).collect();
    Ok(Reply { status, headers, body: bytes[end + 4..].to_vec() })
}
