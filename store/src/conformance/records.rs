//! That there is one record per transaction, whole, whatever its size.

use std::collections::{BTreeMap, BTreeSet};

use aft_protocol::id::{Fingerprint, Nonce, SandboxId};
use aft_protocol::limits;
use aft_protocol::record::{CommitRecord, Response, Writes};
use aft_protocol::value::{ContentType, Value};
use bytes::Bytes;
use futures_util::future::try_join_all;

use super::{Fault, Outcome, World, noise, text};
use crate::{Committed, Store};

/// "No record" is an answer: the transaction did not commit.
pub async fn a_transaction_that_never_committed_has_no_record<S: Store>(world: &World<S>) -> Outcome {
    let (one, other) = (world.transaction(1), world.transaction(2));
    assert_eq!(world.stored(one).await?, None);
    assert_eq!(world.store.records(&BTreeSet::from([one, other])).await?, BTreeMap::from([(one, None), (other, None)]));
    assert_eq!(world.store.records(&BTreeSet::new()).await?, BTreeMap::new());
    Ok(())
}

/// R-FM-3 and R-COMMIT-2 rest on it: a record says everything, byte for byte.
pub async fn a_record_is_kept_whole<S: Store>(world: &World<S>) -> Outcome {
    let record = CommitRecord {
        version: world.version(1_790_000_000_000_000),
        nonce: Nonce::from_bits(u128::MAX),
        writes: Writes::from([
            (world.key("text")?, Some(text("hello")?)),
            (world.key("empty")?, Some(Value::new(Bytes::new(), ContentType::new("text/plain")?)?)),
            (world.key("deleted")?, None),
            (world.key("é\n\"%/#")?, Some(Value::new((0..=u8::MAX).collect::<Bytes>(), ContentType::default())?)),
        ]),
        response: Response { content_type: None, body: (0..=u8::MAX).rev().collect() },
        fingerprint: Fingerprint::of(b"payload"),
        origin: "function/é \"request\"\n".to_owned(),
        sandbox: SandboxId::from_bits(12_345),
        applied_through: world.version(1_789_999_999_999_999),
        expires_at_seconds: super::EXPIRES_AT_SECONDS + 1,
    };
    assert_eq!(world.store.commit(&record).await?, Committed::Now);
    assert_eq!(world.stored(record.transaction()).await?, Some(record));
    Ok(())
}

/// A transaction that wrote nothing may be recorded for its response, and that may be empty (R-COMMIT-7).
pub async fn a_record_of_nothing_is_kept<S: Store>(world: &World<S>) -> Outcome {
    let mut record = world.record(1, Writes::new(), "");
    record.origin = String::new();
    assert_eq!(world.store.commit(&record).await?, Committed::Now);
    assert_eq!(world.stored(record.transaction()).await?, Some(record));
    Ok(())
}

/// R-COMMIT-2: at most one record; who comes second gets it whole.
pub async fn the_first_commit_wins_and_the_second_gets_its_record<S: Store>(world: &World<S>) -> Outcome {
    let first = world.record(1, Writes::from([(world.key("a")?, Some(text("first")?))]), "first");
    let mut second = world.record(1, Writes::from([(world.key("b")?, Some(text("second")?))]), "second");
    second.nonce = Nonce::from_bits(2);
    assert_eq!(world.store.commit(&first).await?, Committed::Now);
    assert_eq!(world.store.commit(&second).await?, Committed::Before(Box::new(first.clone())));
    assert_eq!(world.stored(first.transaction()).await?, Some(first));
    Ok(())
}

/// R-COMMIT-4: a writer whose reply was lost tries again with the same content and recognises its nonce.
pub async fn a_commit_that_is_tried_again_finds_itself<S: Store>(world: &World<S>) -> Outcome {
    let small = world.record(1, Writes::from([(world.key("a")?, None)]), "small");
    let large = world.record(2, Writes::new(), noise(limits::RECORD_ITEM_BYTES + 1, 2));
    for record in [small, large] {
        assert_eq!(world.store.commit(&record).await?, Committed::Now);
        assert_eq!(world.store.commit(&record).await?, Committed::Before(Box::new(record)));
    }
    Ok(())
}

/// R-COMMIT-2 under contention.
pub async fn of_concurrent_commits_exactly_one_wins<S: Store>(world: &World<S>) -> Outcome {
    let key = world.key("a")?;
    let record = |number: u64| {
        let writes = Writes::from([(key.clone(), Some(text(&number.to_string())?))]);
        let record = world.record(1, writes, number.to_string());
        Ok::<_, Fault>(CommitRecord { nonce: Nonce::from_bits(number.into()), ..record })
    };
    let records = (1..=20).map(record).collect::<Result<Vec<_>, _>>()?;
    let results = try_join_all(records.iter().map(|record| world.store.commit(record))).await?;
    let winners: Vec<_> = records.iter().zip(&results).filter(|(_, result)| **result == Committed::Now).collect();
    let [(winner, _)] = winners.as_slice() else { panic!("{} winners", winners.len()) };
    let losers = results.iter().filter(|result| **result != Committed::Now);
    for loser in losers {
        assert_eq!(*loser, Committed::Before(Box::new((*winner).clone())));
    }
    assert_eq!(world.stored(winner.transaction()).await?.as_ref(), Some(*winner));
    Ok(())
}

/// R-COMMIT-9: what does not fit one item is kept all the same.
pub async fn a_long_response_and_large_values_are_kept<S: Store>(world: &World<S>) -> Outcome {
    let value = |n: u64| Value::new(noise(128 * 1_024, n), ContentType::default());
    let writes = (0..8).map(|n| Ok((world.key(&n.to_string())?, Some(value(n)?))));
    let writes = writes.collect::<Result<Writes, Fault>>()?;
    round_trip(world, &world.record(1, writes, noise(6 * 1_024 * 1_024, 9))).await
}

/// R-COMMIT-9: all limits at once.
pub async fn the_largest_transaction_is_kept<S: Store>(world: &World<S>) -> Outcome {
    let mut room = limits::TRANSACTION_BYTES;
    let mut writes = Writes::new();
    for number in 0.. {
        let key = world.longest_key(&number.to_string())?;
        let content_type = ContentType::new(&"c".repeat(limits::CONTENT_TYPE_BYTES))?;
        let Some(left) = room.checked_sub(key.as_str().len() + content_type.as_str().len()) else { break };
        let value = Value::new(noise(limits::VALUE_BYTES.min(left), number), content_type)?;
        room = left - value.bytes().len();
        writes.insert(key, Some(value));
    }
    round_trip(world, &world.record(1, writes, noise(limits::RESPONSE_BYTES, 1))).await
}

/// Keys count as values do: they overflow, too.
pub async fn many_long_keys_are_kept<S: Store>(world: &World<S>) -> Outcome {
    let count = limits::TRANSACTION_BYTES / limits::KEY_BYTES;
    let writes = (0..count).map(|n| Ok((world.longest_key(&format!("{n}/"))?, None)));
    let writes = writes.collect::<Result<Writes, Fault>>()?;
    round_trip(world, &world.record(1, writes, "ok")).await
}

async fn round_trip<S: Store>(world: &World<S>, record: &CommitRecord) -> Outcome {
    assert_eq!(world.store.commit(record).await?, Committed::Now);
    let stored = world.stored(record.transaction()).await?;
    // Not `assert_eq!`: a difference of megabytes cannot be read.
    assert!(stored.as_ref() == Some(record), "the record is not kept whole");
    let Committed::Before(existing) = world.store.commit(record).await? else { panic!("committed twice") };
    assert!(*existing == *record, "the existing record is not returned whole");
    Ok(())
}

/// R-COMMIT-2: two attempts write their overflow at the same time; only one record names its own.
pub async fn a_loser_does_not_disturb_the_winners_overflow<S: Store>(world: &World<S>) -> Outcome {
    let record = |nonce: u64| CommitRecord {
        nonce: Nonce::from_bits(nonce.into()),
        ..world.record(1, Writes::new(), noise(2 * limits::RECORD_ITEM_BYTES, nonce))
    };
    let records = [record(1), record(2), record(3)];
    let results = try_join_all(records.iter().map(|record| world.store.commit(record))).await?;
    let stored = world.stored(world.transaction(1)).await?;
    for (record, result) in records.iter().zip(results) {
        match result {
            Committed::Now => assert!(stored.as_ref() == Some(record), "the winner's record is not kept whole"),
            Committed::Before(existing) => assert!(stored == Some(*existing), "a loser got another record"),
        }
    }
    Ok(())
}

/// Several records in one call: small, overflowed, and none.
pub async fn many_records_are_read_at_once<S: Store>(world: &World<S>) -> Outcome {
    let body =
        |n: u64| if n.is_multiple_of(7) { noise(limits::RECORD_ITEM_BYTES + 1, n) } else { Bytes::from(n.to_string()) };
    let records: Vec<_> = (1..=30).map(|n| world.record(n, Writes::new(), body(n))).collect();
    for record in &records {
        assert_eq!(world.store.commit(record).await?, Committed::Now);
    }
    let missing = (31..=35).map(|n| (world.transaction(n), None));
    let expected: BTreeMap<_, _> =
        records.into_iter().map(|record| (record.transaction(), Some(record))).chain(missing).collect();
    let found = world.store.records(&expected.keys().copied().collect()).await?;
    assert_eq!(found.len(), expected.len());
    assert!(found == expected, "not every record is as it was written");
    Ok(())
}
