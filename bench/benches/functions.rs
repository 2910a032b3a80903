//! The pure functions that every request or invocation pays for.

use std::collections::BTreeSet;
use std::sync::Arc;

use aft_protocol::atomic_read::{Choice, ReadSet, Records};
use aft_protocol::attempt::{Attempt, Identity};
use aft_protocol::head::{Cowritten, Entry, Head, Previous};
use aft_protocol::id::{AttemptNumber, Fingerprint, RequestId, Scope, TransactionId};
use aft_protocol::isolation::Isolation;
use aft_protocol::key::Key;
use aft_protocol::record::Writes;
use aft_protocol::value::{ContentType, Value};
use aft_protocol::version::{Timestamp, Version};
use divan::{Bencher, black_box};

fn main() {
    divan::main();
}

const NOW_SECONDS: u64 = 1_790_000_000;

fn key(number: usize) -> Key {
    Key::new(format!("account-{number:04}")).expect("a short key is a key")
}

fn version(micros: u64) -> Version {
    Version::new(Timestamp::from_micros(micros), TransactionId::from_bits(micros.into()))
}

/// A version that was written with two other keys, as a transfer's are.
fn entry(number: usize, micros: u64) -> Entry {
    let others = BTreeSet::from([key(number + 1), key(number + 2)]);
    let value = Value::new(vec![b'v'; 1_024], ContentType::default()).expect("1 KB is a value");
    let cowritten = Cowritten::Keys(Arc::new(others));
    Entry { version: version(micros), value: Some(value), cowritten, record_expires_at_seconds: NOW_SECONDS + 1 }
}

/// The atomic read rule (R-READ-1) for a key that fits, with this many keys read before.
#[divan::bench(args = [1, 10, 100])]
fn atomic_read_choose(bencher: Bencher, read: usize) {
    let mut reads = ReadSet::default();
    for number in 0..read {
        reads.insert(key(number), entry(number, 1_000));
    }
    let previous = Previous::Inline(entry(read, 1_500));
    let head = Head { current: entry(read, 2_000), previous, older: [Version::ZERO; 4] };
    let (wanted, records) = (key(read), Records::new());
    assert!(matches!(reads.choose(&wanted, &head, &records, NOW_SECONDS), Choice::Accept(_)));
    bencher.bench(|| black_box(&reads).choose(black_box(&wanted), black_box(&head), &records, NOW_SECONDS));
}

#[divan::bench]
fn version_text_round_trip(bencher: Bencher) {
    let version = version(1_790_000_000_000_000);
    bencher.bench(|| black_box(version).to_string().parse::<Version>());
}

/// What the shim does with every event: its fingerprint, and the transaction ID from that.
#[divan::bench(args = [1_024, 1_048_576])]
fn transaction_id_for_request(bencher: Bencher, payload_bytes: usize) {
    let payload = vec![b'p'; payload_bytes];
    let scope = Scope::new("transfer");
    let request = RequestId::new("8476a536-e9f4-11e8-9739-2dfe598c3fcd");
    bencher
        .counter(divan::counter::BytesCount::new(payload_bytes))
        .bench(|| TransactionId::for_request(&scope, &request, Fingerprint::of(black_box(&payload))));
}

/// A PUT of 1 KB, once it has been read: into an attempt that has written this key before.
#[divan::bench]
fn attempt_write_1_kb(bencher: Bencher) {
    let mut attempt = Attempt::new(
        Identity {
            transaction: TransactionId::from_bits(1),
            number: AttemptNumber::FIRST,
            fingerprint: Fingerprint::of(b"{}"),
            origin: "transfer".to_owned(),
        },
        Isolation::default(),
    );
    let value = Value::new(vec![b'v'; 1_024], ContentType::default()).expect("1 KB is a value");
    let wanted = key(0);
    bencher.bench_local(|| attempt.write(Writes::from([(wanted.clone(), Some(value.clone()))])));
}
