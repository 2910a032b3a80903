//! What is written is what is read, and what is another is told apart: properties of values that are valid by construction.
//! The seed is fixed, as in `mutated.rs`.
#![allow(missing_docs, clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::sync::Arc;

use aft_fuzz::{control, endpoint, event, items, journal, names, settings};
use aft_protocol::head::{Cowritten, Entry, Head, Previous};
use aft_protocol::id::{Fingerprint, Nonce, SandboxId, TransactionId};
use aft_protocol::key::Key;
use aft_protocol::record::{CommitRecord, Response};
use aft_protocol::settings::ALL;
use aft_protocol::value::{ContentType, Value};
use aft_protocol::version::{Timestamp, Version};
use bytes::Bytes;
use hyper::header::HeaderValue;
use proptest::collection::{btree_map, btree_set, vec};
use proptest::option;
use proptest::prelude::{Just, ProptestConfig, Strategy, any, prop_oneof, proptest};
use proptest::sample::select;
use proptest::test_runner::{FileFailurePersistence, RngSeed};

fn config(cases: u32) -> ProptestConfig {
    let persistence = FileFailurePersistence::WithSource("proptest-regressions");
    ProptestConfig {
        cases,
        rng_seed: RngSeed::Fixed(0xaf7),
        failure_persistence: Some(Box::new(persistence)),
        source_file: Some(file!()),
        ..ProptestConfig::default()
    }
}

fn key() -> impl Strategy<Value = Key> {
    let characters = prop_oneof![any::<char>(), select(vec!['/', '%', '?', '#', '+', ' ', '.', '\0', '"', 'é'])];
    vec(characters, 1..12).prop_map(|text| Key::new(String::from_iter(text)).unwrap())
}

fn content_type() -> impl Strategy<Value = ContentType> {
    "[!-~]([ -~]{0,20}[!-~])?".prop_map(|text| ContentType::new(&text).unwrap())
}

fn value(bytes: usize) -> impl Strategy<Value = Option<Value>> {
    option::of((vec(any::<u8>(), 0..bytes), content_type()).prop_map(|(bytes, kind)| Value::new(bytes, kind).unwrap()))
}

fn version() -> impl Strategy<Value = Version> {
    // Not zero, which is no version of anything.
    (1_u64..1 << 60, any::<u128>())
        .prop_map(|(micros, id)| Version::new(Timestamp::from_micros(micros), TransactionId::from_bits(id)))
}

fn or_zero() -> impl Strategy<Value = Version> {
    prop_oneof![Just(Version::ZERO), version()]
}

fn record(values: usize) -> impl Strategy<Value = CommitRecord> {
    let asked = (1_u64..1 << 60, any::<[u128; 3]>(), btree_map(key(), value(values), 0..8));
    let response = (option::of(".{0,30}"), vec(any::<u8>(), 0..values), "\\PC{0,30}", or_zero(), any::<u64>());
    (asked, response).prop_map(|((micros, bits, writes), (content_type, body, origin, applied_through, expires))| {
        CommitRecord {
            version: Version::new(Timestamp::from_micros(micros), items::transaction()),
            nonce: Nonce::from_bits(bits[0]),
            writes,
            response: Response { content_type, body: body.into() },
            fingerprint: Fingerprint::from_bits(bits[1]),
            origin,
            sandbox: SandboxId::from_bits(bits[2]),
            applied_through,
            // Chunks live longer, in the same numbers.
            expires_at_seconds: expires >> 1,
        }
    })
}

fn entry() -> impl Strategy<Value = Entry> {
    let cowritten = prop_oneof![
        Just(Cowritten::InRecord),
        btree_set(key(), 0..4).prop_map(|keys: BTreeSet<Key>| Cowritten::Keys(Arc::new(keys)))
    ];
    (version(), value(40), cowritten, any::<u64>()).prop_map(|(version, value, cowritten, expires)| Entry {
        version,
        value,
        cowritten,
        record_expires_at_seconds: expires,
    })
}

fn head() -> impl Strategy<Value = Head> {
    let previous = prop_oneof![
        entry().prop_map(Previous::Inline),
        version().prop_map(Previous::InRecord),
        Just(Previous::Inline(Entry::absent()))
    ];
    let older = [or_zero(), or_zero(), or_zero(), or_zero()];
    (entry(), previous, older).prop_map(|(current, previous, older)| Head { current, previous, older })
}

proptest! {
    #![proptest_config(config(2_000))]

    #[test]
    fn versions_sort_as_their_texts(one: (u64, u128), other: (u64, u128), near: bool) {
        let one = (one.0 >> 4, one.1);
        names::versions(one, if near { (one.0, other.1) } else { (other.0 >> 4, other.1) });
    }

    #[test]
    fn parts_do_not_run_into_each_other(some in vec(vec(0_u8..3, 0..4), 0..4), others in vec(vec(0_u8..3, 0..4), 0..4)) {
        let [some, others] = [&some, &others].map(|parts| parts.iter().map(Vec::as_slice).collect::<Vec<_>>());
        names::parts(&some, &others);
    }

    #[test]
    fn keys_and_content_types_are_kept_as_they_are(text in "\\PC{0,40}", long in 1_000_usize..1_100) {
        names::key(&text);
        names::key(&text.repeat(long / text.len().max(1)));
        names::content_type(&text);
    }

    #[test]
    fn a_digit_more_is_another_payload(one in "[1-9][0-9]{0,30}", other in "[1-9][0-9]{0,30}", places in "(\\.[0-9]{1,20})?") {
        event::numbers(&format!("{one}{places}"), &format!("{other}{places}"));
        event::numbers(&format!("{one}0"), &format!("{one}1"));
        event::numbers(&format!("1.{one}0"), &format!("1.{one}1"));
    }
}

proptest! {
    #![proptest_config(config(300))]

    #[test]
    fn a_key_comes_through_the_route_however_it_is_encoded(key in key(), value in vec(any::<u8>(), 0..40), lower: bool, all: bool) {
        endpoint::comes_through(&key, &value, lower, all);
    }

    #[test]
    fn a_record_comes_back(record in record(60)) {
        items::comes_back(&record);
    }

    #[test]
    fn a_head_comes_back(head in head()) {
        items::head_comes_back(&head);
    }

    #[test]
    fn a_response_is_told_as_it_was_recorded(kind in option::of(vec(32_u8..=255, 1..30)), body in vec(any::<u8>(), 0..60)) {
        let kind = kind.and_then(|bytes| HeaderValue::from_bytes(bytes.trim_ascii()).ok()).filter(|kind| !kind.is_empty());
        items::block_on(control::recorded(kind, Bytes::from(body)));
    }

    #[test]
    fn cache_control_is_read_as_the_rfc_has_it(parts in vec(select(vec![
        "max-age", "no-cache", "no-store", "x", "=", "5", "0", "\"", "\\", ",", " ", "\\\"", "max-age=5", "\t", "MAX-AGE=7", "=\"a, b\"",
    ]), 0..8)) {
        endpoint::check(format!("GET /v1/kv/a\nCache-Control: {}", parts.concat()).as_bytes());
    }

    #[test]
    fn any_setting_of_any_text(values in vec((select(ALL), "[^\0]{0,12}|[0-9]{1,20}|true|false|/bin/sh"), 0..6)) {
        let variables: Vec<_> = values.into_iter().map(|(setting, value)| format!("{}={value}", setting.name)).collect();
        settings::check(variables.join("\0").as_bytes());
    }
}

proptest! {
    #![proptest_config(config(6))]

    /// Above 340 KB a record goes on in chunks.
    #[test]
    fn a_record_with_chunks_comes_back(record in record(60), size in 200_000_usize..1_200_000) {
        let body: Vec<u8> = (0..size).map(|n| (n % 251) as u8).collect();
        let response = Response { content_type: None, body: body.into() };
        items::comes_back(&CommitRecord { response, ..record });
    }
}

/// R-FM-4: whoever dies while the journal is written leaves the old one or the new one; and if it were not so, none.
#[test]
fn no_journal_that_ends_too_soon_names_anything() {
    let entry = |n: u128| {
        let version = Version::new(Timestamp::from_micros(2), TransactionId::from_bits(n));
        format!("{} {version}\n", SandboxId::from_bits(n))
    };
    let text = format!("aft-journal 1\n{}{}   end\n", entry(1), entry(2));
    assert_eq!(journal::named(text.as_bytes()).len(), 2);
    for end in 0..text.len() {
        assert!(journal::named(&text.as_bytes()[..end]).is_empty());
        journal::check(&text.as_bytes()[..end]);
    }
    journal::check(text.as_bytes());
}
