//! Credentials that end: asked for again before they do, after a freeze, and when DynamoDB says so first.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::primitives::{DateTime, DateTimeFormat};
use aws_smithy_async::time::TimeSource;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::super::client::{self, Clients};
use super::super::connections::Connections;
use super::*;
use crate::retry::Patience;

const HOUR: Duration = Duration::from_secs(3_600);

/// A wall clock that a test sets, in milliseconds since the epoch. It begins in 2100, so that no key expires by the real one.
#[derive(Debug, Clone)]
struct WallClock(Arc<AtomicU64>);

impl WallClock {
    fn new() -> Self {
        Self(Arc::new(AtomicU64::new(4_102_444_800_000)))
    }

    fn pass(&self, time: Duration) {
        self.0.fetch_add(u64::try_from(time.as_millis()).unwrap(), Ordering::SeqCst);
    }
}

impl TimeSource for WallClock {
    fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_millis(self.0.load(Ordering::SeqCst))
    }
}

/// Lambda's endpoint for keys: another key each time, good for an hour; how often it was asked.
async fn endpoint(clock: &WallClock, failing: usize) -> (Credentials, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let uri = format!("http://{}/credentials", listener.local_addr().unwrap());
    let (asked, clock) = (Arc::new(AtomicUsize::new(0)), clock.clone());
    let count = Arc::clone(&asked);
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                assert_ne!(stream.read_buf(&mut request).await.unwrap(), 0);
            }
            let number = count.fetch_add(1, Ordering::SeqCst) + 1;
            let expires = DateTime::from(clock.now() + HOUR).fmt(DateTimeFormat::DateTime).unwrap();
            let body = format!(
                r#"{{"AccessKeyId":"KEY{number}","SecretAccessKey":"s","Token":"t","Expiration":"{expires}"}}"#
            );
            let status = if number <= failing { "500 Broken" } else { "200 OK" };
            let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n", body.len());
            stream.write_all((head + &body).as_bytes()).await.unwrap();
        }
    });
    (Credentials::Container { uri, token: "s3cret".to_owned() }, asked)
}

/// The store as it is, but for its wall clock.
fn store_at(clock: &WallClock, config: Config) -> DynamoDb {
    let store = DynamoDb::new(&config);
    let clock = clock.clone();
    let connections =
        Connections::new(|settings, components| client::connector(&client::Security::Plain, settings, components));
    let make = move |connections: &Connections| {
        let made = client::client(&config, &super::super::TimeLimits::default(), connections);
        Client::from_conf(made.config().to_builder().time_source(clock.clone()).build())
    };
    DynamoDb { clients: Arc::new(Clients::new(connections, make)), ..store }
}

async fn read(store: &DynamoDb) -> Result<(), StoreError> {
    store.heads(&BTreeSet::from([Key::new("k").unwrap()])).await.map(drop)
}

/// The last key that a request was signed with.
fn noting() -> (Arc<std::sync::Mutex<String>>, impl Fn(&fake::Request) -> Answer + Send + Sync + 'static) {
    let key = Arc::new(std::sync::Mutex::new(String::new()));
    let noted = Arc::clone(&key);
    let answer = move |request: &fake::Request| {
        noted.lock().unwrap().clone_from(&request.key);
        Answer::empty()
    };
    (key, answer)
}

#[tokio::test]
async fn keys_are_asked_for_again_before_they_expire_and_after_a_freeze() {
    let clock = WallClock::new();
    let (credentials, asked) = endpoint(&clock, 0).await;
    let (signed, answer) = noting();
    let fake = Fake::start(answer).await;
    let store = store_at(&clock, Config { credentials, ..config(&fake.endpoint) });
    for (pass, key) in [
        (Duration::ZERO, "KEY1"),
        (HOUR - Duration::from_secs(11), "KEY1"),
        // Five seconds before the end of the hour at the latest.
        (Duration::from_secs(6), "KEY2"),
        (HOUR / 2, "KEY2"),
        // Frozen: no timer of this process has run meanwhile.
        (12 * HOUR, "KEY3"),
        (HOUR / 2, "KEY3"),
    ] {
        clock.pass(pass);
        read(&store).await.unwrap();
        assert_eq!(*signed.lock().unwrap(), key);
    }
    assert_eq!(asked.load(Ordering::SeqCst), 3);
}

/// Revoked, or this sandbox's clock is wrong: nothing happened, and the caller's next try is signed with other keys.
#[tokio::test]
async fn an_expiry_that_comes_as_a_surprise_leads_to_asking_again() {
    let clock = WallClock::new();
    let (credentials, asked) = endpoint(&clock, 0).await;
    let fake = Fake::start(|request| match request.key.as_str() {
        "KEY1" => Answer::error(400, "ExpiredTokenException", ""),
        _ => Answer::empty(),
    })
    .await;
    let store = DynamoDb::new(&Config { credentials, ..config(&fake.endpoint) });
    // As many at the same time as an apply sends.
    let first = futures_util::future::join_all((0..32).map(|_| read(&store))).await;
    for error in first.into_iter().filter_map(Result::err) {
        assert_eq!(error.kind(), Unavailable, "{error}");
        assert!(error.to_string().contains("expired before their time"), "{error}");
    }
    let patience = Patience { until: Instant::now() + Duration::from_secs(10), random: &|| 0 };
    patience.retrying(|| read(&store)).await.unwrap();
    assert_eq!(asked.load(Ordering::SeqCst), 2, "once more, and not once for each request");
}

/// Keys that are refused however new they are do not make this process ask in a loop.
#[tokio::test]
async fn an_expiry_that_stays_does_not_lead_to_asking_all_the_time() {
    let clock = WallClock::new();
    let (credentials, asked) = endpoint(&clock, 0).await;
    let fake = Fake::start(|_| Answer::error(400, "ExpiredTokenException", "")).await;
    let store = DynamoDb::new(&Config { credentials, ..config(&fake.endpoint) });
    for _ in 0..20 {
        assert_eq!(read(&store).await.unwrap_err().kind(), Unavailable);
    }
    assert_eq!(asked.load(Ordering::SeqCst), 2);
}

/// Without keys nothing is sent, and so nothing can have happened.
#[tokio::test]
async fn an_endpoint_that_fails_is_asked_again_by_the_next_try() {
    let clock = WallClock::new();
    let (credentials, asked) = endpoint(&clock, 1).await;
    let fake = Fake::start(|_| Answer::empty()).await;
    let store = DynamoDb::new(&Config { credentials, ..config(&fake.endpoint) });
    let error = read(&store).await.unwrap_err();
    assert_eq!(error.kind(), Unavailable, "{error}");
    let text = error.to_string();
    assert!(text.contains("no credentials could be had") && text.contains("it answered 500"), "{text}");
    assert_eq!(fake.requests(), 0);
    read(&store).await.unwrap();
    assert_eq!(asked.load(Ordering::SeqCst), 2);
}
