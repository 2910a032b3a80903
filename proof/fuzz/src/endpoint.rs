//! Requests to the local endpoint: routes, percent-encoded keys, headers, bodies of batches.
//!
//! The bytes are a request in short: a line with method and target, lines with headers, an empty line, the body; `Host`, token
//! and length are added. After an exclamation mark, they are what is sent.
//!
//! Every request is answered, with what the documentation knows. What is accepted is what the transaction holds then, under the
//! key that the target says by RFC 3986; what is refused has changed nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use aft_extension::http::{Endpoint, Token};
use aft_extension::session::{Ack, Behaviour, DuplicateCheck, Named, Session};
use aft_extension::sources::Sources;
use aft_protocol::id::{AttemptNumber, Fingerprint, RequestId, Scope, TransactionId};
use aft_protocol::isolation::Isolation;
use aft_protocol::key::Key;
use aft_protocol::version::Timestamp;
use aft_protocol::wire::{Begin, ErrorCode, route};
use aft_store::memory::Memory;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::conversation::{Answer, told};
use crate::items::block_on;

/// The address that requests must name.
pub const HOST: &str = "127.0.0.1:7321";

/// The target.
pub fn check(data: &[u8]) {
    if let Some(raw) = data.strip_prefix(b"!") {
        block_on(async {
            let world = World::open().await;
            if let Some(answer) = world.send(raw).await {
                known(&answer);
            }
        });
    } else if let Some(request) = Short::read(data) {
        block_on(asked(&request));
    }
}

/// A sandbox with an open transaction, over a store in memory.
pub struct World {
    /// Its session.
    pub session: Session<Memory>,
    token: Token,
}

/// How transactions behave here.
#[must_use]
pub fn behaviour() -> Behaviour {
    Behaviour {
        duplicate_check: DuplicateCheck::CommitOnly,
        ack: Ack::Visible,
        memoize_always: true,
        retention_seconds: 3_600,
        reads_strongly: true,
        look_ups: 0,
        cache_bytes: 1_000_000,
        isolation: Isolation::ReadAtomic,
        refuse_in_progress: false,
    }
}

/// A clock that stands, and random bits of which no two are the same.
#[must_use]
pub fn sources() -> Sources {
    let drawn = AtomicU64::new(1);
    let random = move || u128::from(drawn.fetch_add(1, Ordering::Relaxed));
    Sources { now: Arc::new(|| Timestamp::from_micros(1_000_000)), random: Arc::new(random) }
}

/// An attempt at a transaction.
#[must_use]
pub fn begin(transaction: u128) -> Begin {
    Begin {
        request: RequestId::new(format!("r-{transaction}")),
        transaction: TransactionId::from_bits(transaction),
        attempt: AttemptNumber::FIRST,
        fingerprint: Fingerprint::of(b"{}"),
        origin: format!("test/r-{transaction}"),
        deadline_ms: 60_000,
    }
}

impl World {
    /// Transaction 1 is open.
    pub async fn open() -> Self {
        let session = Session::new(Memory::new(), behaviour(), sources());
        session.begin(begin(1)).await.unwrap();
        Self { session, token: Token::from_random(42) }
    }

    async fn send(&self, request: &[u8]) -> Option<Answer> {
        let (session, token) = (self.session.clone(), Some(self.token.clone()));
        let endpoint = Endpoint::new(session, HOST.parse().unwrap(), token, Scope::new("test"));
        let said = told(request, |stream| async move { endpoint.converse(stream).await }).await;
        Answer::read(&said)
    }

    async fn value(&self, key: &str) -> Option<Vec<u8>> {
        let key = Key::new(key).expect("what was written is a key");
        let seen = self.session.read(Named::default(), BTreeSet::from([key.clone()])).await.unwrap();
        Some(seen.get(&key)?.value()?.bytes().to_vec())
    }
}

/// A request in short.
pub(crate) struct Short<'a> {
    pub(crate) method: &'a str,
    pub(crate) target: &'a str,
    pub(crate) headers: Vec<&'a str>,
    pub(crate) body: &'a [u8],
}

impl<'a> Short<'a> {
    pub(crate) fn read(data: &'a [u8]) -> Option<Self> {
        let end = data.windows(2).position(|window| window == b"\n\n").unwrap_or(data.len());
        let head = std::str::from_utf8(&data[..end]).ok()?;
        let mut lines = head.split('\n');
        let (method, target) = lines.next()?.split_once(' ')?;
        Some(Self { method, target, headers: lines.collect(), body: data.get(end + 2..).unwrap_or_default() })
    }

    /// What is sent, with these headers added.
    pub(crate) fn long(&self, added: &[&str]) -> Vec<u8> {
        let Self { method, target, headers, body } = self;
        let headers: String = added.iter().chain(headers).map(|line| format!("{line}\r\n")).collect();
        let length = body.len();
        let framing = format!("Host: {HOST}\r\nConnection: close\r\nContent-Length: {length}");
        let head = format!("{method} {target} HTTP/1.1\r\n{framing}\r\n{headers}\r\n");
        [head.as_bytes(), body].concat()
    }

    /// Whether no header changes what the body is, and nothing where the head ends.
    pub(crate) fn is_plain(&self) -> bool {
        let reframes = |line: &&str| {
            let name = line.split(':').next().unwrap_or_default().to_ascii_lowercase();
            matches!(name.as_str(), "transfer-encoding" | "content-length" | "connection" | "upgrade" | "expect")
        };
        let broken = |text: &str| text.contains(['\r', '\n']);
        !self.headers.iter().any(|line| reframes(line) || broken(line) || line.is_empty())
            && !broken(self.method)
            && !broken(self.target)
            && !self.target.contains(' ')
    }
}

/// What a target names, by RFC 3986; `None`: it names no text. A fragment, which no target has, is not seen by the endpoint:
/// the `http` crate drops it.
#[must_use]
pub fn key_of(target: &str) -> Option<String> {
    let target = target.split('#').next()?;
    let encoded = target.strip_prefix(route::KV)?.as_bytes();
    let mut bytes = Vec::new();
    let mut rest = encoded;
    while let [first, after @ ..] = rest {
        rest = after;
        bytes.push(match (first, after) {
            (b'%', [high, low, after @ ..]) => {
                rest = after;
                let digit = |byte: &u8| char::from(*byte).to_digit(16);
                u8::try_from(16 * digit(high)? + digit(low)?).unwrap()
            }
            (b'%' | b'?', _) => return None,
            (byte, _) => *byte,
        });
    }
    String::from_utf8(bytes).ok().filter(|key| Key::new(key.as_str()).is_ok())
}

/// An answer that clients can know: of a documented code, or of hyper's, which has no body.
fn known(answer: &Answer) {
    if answer.status < 400 {
        assert!(matches!(answer.status, 200 | 201 | 204), "{answer:?}");
        return;
    }
    if answer.header("content-type").is_none() {
        assert!(matches!(answer.status, 400 | 414 | 431), "of hyper's: {answer:?}");
        return;
    }
    assert_eq!(answer.header("content-type"), Some("application/problem+json"));
    // The answer to HEAD has none.
    if !answer.body.is_empty() && answer.header("content-length") == Some(&answer.body.len().to_string()) {
        let problem = answer.json();
        let code = ErrorCode::ALL.iter().find(|code| problem["code"] == code.as_str()).expect("a documented code");
        assert_eq!((answer.status, &problem["status"]), (code.status(), &Value::from(code.status())));
        assert!(problem["detail"].as_str().is_some_and(|detail| !detail.is_empty()));
    }
}

/// A key is itself however it is percent-encoded: as little as it takes or all of it, in upper or lower case.
pub fn comes_through(key: &Key, value: &[u8], lower: bool, all: bool) {
    let encode = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' if !all => char::from(byte).to_string(),
        byte if lower => format!("%{byte:02x}"),
        byte => format!("%{byte:02X}"),
    };
    let target: String = route::KV.chars().map(String::from).chain(key.as_str().bytes().map(encode)).collect();
    assert_eq!(key_of(&target).as_deref(), Some(key.as_str()));
    block_on(async {
        let request = Short { method: "PUT", target: &target, headers: Vec::new(), body: value };
        let world = World::open().await;
        let answer = world.send(&request.long(&[&format!("X-Aft-Token: {}", world.token.reveal())])).await.unwrap();
        assert_eq!((answer.status, world.value(key.as_str()).await.as_deref()), (204, Some(value)), "{answer:?}");
    });
}

async fn asked(request: &Short<'_>) {
    let world = World::open().await;
    let answer = world.send(&request.long(&[&format!("X-Aft-Token: {}", world.token.reveal())])).await;
    if !request.is_plain() {
        if let Some(answer) = answer {
            known(&answer);
        }
        return;
    }
    let answer = answer.expect("every request is answered");
    known(&answer);
    let written = world.session.status(Named::default()).map_or(0, |status| status.writes);
    match (request.method, request.target) {
        ("PUT" | "DELETE", target) if answer.status == 204 => {
            let key = key_of(target).unwrap_or_else(|| panic!("{target:?} names no key, and something was written"));
            let value = (request.method == "PUT").then(|| request.body.to_vec());
            assert_eq!((written, world.value(&key).await), (1, value), "{target:?}");
        }
        ("POST", route::BATCH_WRITE) if answer.status == 204 => {
            let expected = batch(request.body);
            assert_eq!(written, expected.len());
            for (key, value) in expected {
                assert_eq!(world.value(&key).await, value, "{key:?}");
            }
        }
        ("POST", route::BATCH_GET) if answer.status == 200 => {
            let asked: Value = serde_json::from_slice(request.body).unwrap();
            let answered = answer.json();
            let keys: Vec<_> = answered["items"].as_array().unwrap().iter().map(|item| item["key"].clone()).collect();
            assert_eq!(asked["keys"], Value::from(keys), "what was asked, in its order");
        }
        ("GET", target) if answer.status == 404 && answer.json()["code"] == "key-not-found" => {
            assert!(key_of(target).is_some(), "{target:?} names no key, and was looked for");
            labelled(request, &answer);
        }
        _ => {}
    }
    if answer.status >= 400 {
        assert_eq!(written, 0, "what is refused has changed nothing: {answer:?}");
    }
}

/// What a batch writes; the last of several members of one name counts, if any of this is accepted.
fn batch(body: &[u8]) -> BTreeMap<String, Option<Vec<u8>>> {
    let document: Value = serde_json::from_slice(body).unwrap();
    let item = |item: &Value| {
        let text = item["value"].as_str().map(|text| text.as_bytes().to_vec());
        let bytes = item["valueBase64"].as_str().map(|text| STANDARD.decode(text).unwrap());
        (item["key"].as_str().unwrap().to_owned(), text.or(bytes))
    };
    document["writes"].as_array().unwrap().iter().map(item).collect()
}

/// `Cache-Status` says of a key that no cache has whether the cache might have been used.
fn labelled(request: &Short<'_>, answer: &Answer) {
    let lines = request.headers.iter().filter_map(|line| line.split_once(':'));
    let lines: Vec<_> = lines.filter(|(name, _)| name.eq_ignore_ascii_case("cache-control")).collect();
    if lines.iter().any(|(_, line)| !line.is_ascii()) {
        // What cannot be read may forbid the cache.
        return assert_eq!(answer.header("cache-status"), Some("aft; fwd=request"), "{:?}", request.headers);
    }
    let Some(directives) = lines.iter().map(|(_, value)| directives(value)).collect::<Option<Vec<_>>>() else { return };
    let directives: Vec<_> = directives.concat();
    let ages = directives.iter().filter(|(name, _)| name == "max-age");
    let ages: Option<Vec<u64>> = ages.map(|(_, age)| age.as_ref()?.parse().ok()).collect();
    let Some(ages) = ages else { return };
    let forbidden = directives.iter().any(|(name, _)| name == "no-cache" || name == "no-store");
    let expected = match ages.iter().min() {
        None if !forbidden => None,
        Some(1..) if !forbidden => Some("aft; fwd=uri-miss"),
        Some(_) | None => Some("aft; fwd=request"),
    };
    assert_eq!(answer.header("cache-status"), expected, "{:?}", request.headers);
}

/// The directives of a line by RFC 9111, 5.2; `None` if it is not well formed.
fn directives(line: &str) -> Option<Vec<(String, Option<String>)>> {
    let token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    let mut found = Vec::new();
    let mut rest = line;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        if rest.is_empty() {
            return Some(found);
        }
        let end = rest.find(|c| !token(c)).unwrap_or(rest.len());
        let (name, after) = rest.split_at(end);
        if name.is_empty() {
            return None;
        }
        rest = after;
        let mut argument = None;
        if let Some(after) = rest.strip_prefix('=') {
            let mut text = String::new();
            if let Some(quoted) = after.strip_prefix('"') {
                let mut characters = quoted.char_indices();
                loop {
                    match characters.next()? {
                        (at, '"') => {
                            rest = &quoted[at + 1..];
                            break;
                        }
                        (_, '\\') => text.push(characters.next()?.1),
                        (_, character) => text.push(character),
                    }
                }
            } else {
                let end = after.find(|c| !token(c)).unwrap_or(after.len());
                (text, rest) = (after[..end].to_owned(), &after[end..]);
                if text.is_empty() {
                    return None;
                }
            }
            argument = Some(text);
        }
        found.push((name.to_ascii_lowercase(), argument));
        rest = rest.trim_start_matches([' ', '\t']);
        if !rest.is_empty() && !rest.starts_with(',') {
            return None;
        }
    }
}
