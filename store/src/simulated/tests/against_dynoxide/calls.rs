//! The production store's calls in random sequences, with keys and versions that meet each other.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use aft_protocol::claim::Claim;
use aft_protocol::head::{Cowritten, Entry, Keep};
use aft_protocol::id::{ClaimOwner, Fingerprint, Nonce, SandboxId, TransactionId};
use aft_protocol::key::Key;
use aft_protocol::record::{CommitRecord, Response};
use aft_protocol::value::{ContentType, Value as Stored};
use aft_protocol::version::{Timestamp, Version};

use super::super::key;
use super::{Both, everything};
use crate::conformance::Random;
use crate::dynamodb::DynamoDb;
use crate::{Store, StoreError, Terms};

/// What calls are made of.
impl Random {
    fn key(&mut self) -> Key {
        key(["a", "b", "c", "ä\"\\\u{1f600}", "e"][self.below(5) as usize])
    }

    fn keys(&mut self) -> BTreeSet<Key> {
        (0..=self.below(4)).map(|_| self.key()).collect()
    }

    /// Few, so that the same come again.
    fn version(&mut self) -> Version {
        let number = self.below(12);
        if number == 0 { Version::ZERO } else { Version::new(Timestamp::from_micros(number), self.transaction()) }
    }

    fn transaction(&mut self) -> TransactionId {
        TransactionId::from_bits((self.below(5) + 1).into())
    }

    fn value(&mut self) -> Option<Stored> {
        let length = match self.below(40) {
            0..=9 => return None,
            10 => 180_000,
            11 => 0,
            _ => self.below(2_000),
        };
        let bytes: Vec<_> = (0..length).map(|_| self.below(256) as u8).collect();
        Some(Stored::new(bytes, ContentType::default()).unwrap())
    }

    fn keep(&mut self) -> Keep {
        if self.below(2) == 0 { Keep::Inline } else { Keep::InRecord { until_seconds: self.below(3) } }
    }

    fn entry(&mut self) -> Entry {
        let cowritten = if self.below(3) == 0 { Cowritten::InRecord } else { Cowritten::Keys(Arc::new(self.keys())) };
        let (version, record_expires_at_seconds) = (self.version(), self.below(3));
        Entry { version, value: self.value(), cowritten, record_expires_at_seconds }
    }

    fn record(&mut self, nonce: u128) -> CommitRecord {
        let version = Version::new(Timestamp::from_micros(self.below(12) + 1), self.transaction());
        let response = if self.below(10) == 0 { 900_000 } else { self.below(500) };
        CommitRecord {
            version,
            nonce: Nonce::from_bits(nonce),
            writes: self.keys().into_iter().map(|key| (key, self.value())).collect(),
            response: Response { content_type: None, body: vec![1; response as usize].into() },
            fingerprint: Fingerprint::from_bits(1),
            origin: "against dynoxide".to_owned(),
            sandbox: SandboxId::from_bits(1),
            applied_through: Version::ZERO,
            expires_at_seconds: 4_102_444_800,
        }
    }
}

/// Whatever comes of it: both engines said the same.
async fn call(store: &DynamoDb, random: &mut Random, nonce: u128) -> Result<(), StoreError> {
    match random.below(12) {
        0 => drop(store.heads(&random.keys()).await?),
        1 => drop(store.heads_at_once(&random.keys()).await?),
        2..=4 => drop(store.apply(&random.key(), &random.entry(), random.keep()).await?),
        5 => drop(store.commit(&random.record(nonce)).await?),
        6..=8 => {
            let record = random.record(nonce);
            let moves = record.writes.keys().map(|key| (key.clone(), random.keep())).collect();
            let guards = if random.below(2) == 0 {
                // As it is, so that some are taken.
                let heads = store.latest_heads(&record.writes.keys().cloned().collect()).await?;
                heads.into_iter().map(|(key, head)| (key, head.current.version)).collect()
            } else {
                random.keys().into_iter().map(|key| (key, random.version())).collect()
            };
            drop(store.commit_if(&record, &Terms { guards, moves }).await?);
        }
        9 => {
            let guards = random.keys().into_iter().map(|key| (key, random.version())).collect();
            drop(store.validate(&guards).await?);
        }
        10 => {
            let owner = ClaimOwner::new(["me", "you"][random.below(2) as usize]);
            let claim = Claim { transaction: random.transaction(), owner, expires_at_seconds: random.below(10) };
            if random.below(3) == 0 {
                store.release(&claim).await?;
            } else {
                let _claimed = store.claim(&claim, random.below(10)).await?;
            }
        }
        _ => {
            drop(store.records(&(0..3).map(|_| random.transaction()).collect()).await?);
        }
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn the_stores_calls_are_answered_alike() {
    let mut seen = BTreeMap::<String, u32>::new();
    for seed in 1..=8 {
        let both = Both::new().await;
        let (store, mut random) = (both.store(), Random(seed));
        for nonce in 1..=60 {
            // A refusal is as good an answer as any.
            let _ = call(&store, &mut random, nonce).await;
            if nonce % 10 == 0 {
                let only_records = nonce % 20 == 0;
                let ours = everything(only_records, 3, |request| both.engine_says(request));
                let theirs = everything(only_records, 2, |request| both.other(request));
                // Not `assert_eq`: it is too long to be read.
                assert!(ours == theirs, "seed {seed} after {nonce}: {} and {} items", ours.len(), theirs.len());
            }
        }
        for (how, times) in both.seen.lock().unwrap().iter() {
            *seen.entry(how.clone()).or_default() += times;
        }
    }
    for how in [
        "GetItem answered",
        "BatchGetItem answered",
        "PutItem answered",
        "PutItem ConditionalCheckFailedException",
        "UpdateItem answered",
        "UpdateItem ConditionalCheckFailedException",
        "TransactWriteItems answered",
        "TransactWriteItems TransactionCanceledException",
        "TransactGetItems answered",
    ] {
        assert!(seen.get(how).is_some_and(|times| *times >= 10), "{how}: {seen:?}");
    }
}
