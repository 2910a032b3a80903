//! Why a validation is a transactional read (ADR 19): a commit in flight shows one of its heads and not yet the other, also to
//! strongly consistent reads, and another transaction may build on the first meanwhile. Two looks at such a moment agree.

use std::collections::BTreeSet;
use std::time::Duration;

use aft_protocol::head::Keep;
use aft_protocol::id::{Fingerprint, Nonce, SandboxId, TransactionId};
use aft_protocol::isolation::Guards;
use aft_protocol::key::Key;
use aft_protocol::record::{CommitRecord, Response};
use aft_protocol::version::{Timestamp, Version};
use bytes::Bytes;
use tokio::time::sleep;

use super::key;
use crate::dynamodb::DynamoDb;
use crate::simulated::{Engine, Fault};
use crate::{Obstacles, Stepped, Store, Terms, Validated};

/// A step of this transaction, which moves these heads from where they were read.
async fn step(store: &DynamoDb, number: u64, read: &Guards, written: &[&Key]) -> Stepped {
    let record = CommitRecord {
        version: Version::new(Timestamp::from_micros(number), TransactionId::from_bits(number.into())),
        nonce: Nonce::from_bits(number.into()),
        writes: written.iter().map(|key| ((*key).clone(), None)).collect(),
        response: Response { content_type: None, body: Bytes::new() },
        fingerprint: Fingerprint::from_bits(0),
        origin: String::new(),
        sandbox: SandboxId::from_bits(0),
        applied_through: Version::ZERO,
        expires_at_seconds: 4_102_444_800,
    };
    let moves = written.iter().map(|key| ((*key).clone(), Keep::Inline)).collect();
    store.commit_if(&record, &Terms { guards: read.clone(), moves }).await.unwrap()
}

/// The versions that a strongly consistent read shows.
async fn look(store: &DynamoDb, keys: &BTreeSet<Key>) -> Guards {
    let heads = store.latest_heads(keys).await.unwrap();
    heads.into_iter().map(|(key, head)| (key, head.current.version)).collect()
}

#[tokio::test(start_paused = true)]
async fn two_looks_agree_in_the_middle_of_a_commit_and_a_validation_does_not() {
    let engine = Engine::new().await.unwrap();
    let plain = engine.store(|_| Fault::None);
    let both = BTreeSet::from([key("a"), key("b")]);
    let before = look(&plain, &both).await;
    let slow = engine.store(|_| Fault::None.in_flight(Duration::from_secs(1)));
    let transfer = {
        let before = before.clone();
        tokio::spawn(async move { step(&slow, 1, &before, &[&key("a"), &key("b")]).await })
    };
    let shown = loop {
        sleep(Duration::from_millis(1)).await;
        let now = look(&plain, &both).await;
        let new: Vec<_> = now.into_iter().filter(|(key, version)| before[key] != *version).collect();
        assert!(new.len() < 2, "both at once: nothing is shown here");
        if let [shown] = new.as_slice() {
            break shown.clone();
        }
    };
    let hidden = both.iter().find(|key| **key != shown.0).unwrap();

    let (built_on, built) = (Guards::from([shown]), key("c"));
    assert_eq!(step(&plain, 2, &built_on, &[&built]).await, Stepped::Now, "it builds on what is shown");
    let audited = BTreeSet::from([built, hidden.clone()]);
    let first = look(&plain, &audited).await;
    assert_eq!(
        look(&plain, &audited).await,
        first,
        "after the one that builds on the transfer, and before the transfer"
    );
    let contended = BTreeSet::from([hidden.clone()]);
    let expected = Validated::Refused(Obstacles { contended, ..Obstacles::default() });
    assert_eq!(plain.validate(&first).await.unwrap(), expected);

    assert_eq!(transfer.await.unwrap(), Stepped::Now);
    let changed = look(&plain, &BTreeSet::from([hidden.clone()])).await;
    let expected = Validated::Refused(Obstacles { changed, ..Obstacles::default() });
    assert_eq!(plain.validate(&first).await.unwrap(), expected);
}
