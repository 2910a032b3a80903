//! How heads move and what they keep.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use aft_protocol::head::{Cowritten, Entry, Head, Keep, Move, OLDER, Previous};
use aft_protocol::key::Key;
use aft_protocol::limits;
use aft_protocol::value::{ContentType, Value};
use aft_protocol::version::{Timestamp, Version};
use bytes::Bytes;
use futures_util::future::try_join_all;

use super::{EXPIRES_AT_SECONDS, Fault, Outcome, Random, World, moved, noise};
use crate::{Applied, Store};

/// The probe of a store that works says so.
pub async fn the_probe_finds_a_usable_store<S: Store>(world: &World<S>) -> Outcome {
    Ok(world.store.probe().await?)
}

/// R-READ-3: absence is an answer, not a missing entry.
pub async fn a_key_that_was_never_written_has_an_absent_head<S: Store>(world: &World<S>) -> Outcome {
    assert_eq!(world.head(&world.key("a")?).await?, Head::absent());
    let keys = BTreeSet::from([world.key("a")?, world.key("b")?]);
    let absent: BTreeMap<_, _> = keys.iter().map(|key| (key.clone(), Head::absent())).collect();
    assert_eq!(world.store.heads(&keys).await?, absent);
    assert_eq!(world.store.heads(&BTreeSet::new()).await?, BTreeMap::new());
    Ok(())
}

/// R-COMMIT-5: a head moves if and only if the version is greater; losing is success and changes nothing.
pub async fn a_head_moves_forward_only<S: Store>(world: &World<S>) -> Outcome {
    let key = world.key("a")?;
    let mut expected = Head::absent();
    for (number, applied) in [
        (5, Applied::Moved),
        (5, Applied::NotNewer),
        (4, Applied::NotNewer),
        (6, Applied::Moved),
        (5, Applied::NotNewer),
        (6, Applied::NotNewer),
    ] {
        let entry = world.entry(number)?;
        assert_eq!(world.apply(&key, &entry).await?, applied, "version {number} over {expected:?}");
        expected = moved(expected, entry);
        assert_eq!(world.head(&key).await?, expected);
    }
    Ok(())
}

/// A move shifts the previous version and every identifier back by one, through the whole register.
pub async fn a_head_keeps_its_history<S: Store>(world: &World<S>) -> Outcome {
    let key = world.key("a")?;
    let mut expected = Head::absent();
    for number in 1..=OLDER as u64 + 3 {
        let entry = world.entry(number)?;
        assert_eq!(world.apply(&key, &entry).await?, Applied::Moved);
        expected = moved(expected, entry);
        assert_eq!(world.head(&key).await?, expected, "after version {number}");
    }
    assert!(!expected.reaches_birth(), "the register has overflowed");
    Ok(())
}

/// The previous version is left to its record if that is there for long enough, at every place of the register; otherwise
/// nothing happens, and the move that keeps it inline takes its turn.
pub async fn a_previous_version_is_left_to_its_record_only_if_that_is_there<S: Store>(world: &World<S>) -> Outcome {
    let key = world.key("a")?;
    let mut expected = Head::absent();
    let [enough, too_long] = [EXPIRES_AT_SECONDS - 1, EXPIRES_AT_SECONDS];
    for (number, keep, applied) in [
        (2, Keep::InRecord { until_seconds: u64::MAX >> 1 }, Applied::Moved),
        (2, Keep::InRecord { until_seconds: enough }, Applied::NotNewer),
        (1, Keep::InRecord { until_seconds: too_long }, Applied::NotNewer),
        (3, Keep::InRecord { until_seconds: too_long }, Applied::RecordExpires),
        (3, Keep::InRecord { until_seconds: enough }, Applied::Moved),
        (4, Keep::Inline, Applied::Moved),
        (5, Keep::InRecord { until_seconds: enough }, Applied::Moved),
        (6, Keep::InRecord { until_seconds: enough }, Applied::Moved),
        (7, Keep::Inline, Applied::Moved),
    ] {
        // Deleted and written again: a tombstone is left to its record like any value.
        let value = world.entry(number)?.value.filter(|_| number != 5);
        let entry = Entry { value, ..world.entry(number)? };
        assert_eq!(world.store.apply(&key, &entry, keep).await?, applied, "version {number} over {expected:?}");
        if let Move::To(head) = expected.moved_to(entry, keep) {
            expected = *head;
        }
        assert_eq!(world.head(&key).await?, expected, "after version {number}");
    }
    Ok(())
}

/// R-COMMIT-5: the order of arrival does not count.
pub async fn writes_that_arrive_out_of_order_end_at_the_newest<S: Store>(world: &World<S>) -> Outcome {
    let key = world.key("a")?;
    let mut expected = Head::absent();
    for number in [3, 1, 5, 2, 4] {
        let entry = world.entry(number)?;
        world.apply(&key, &entry).await?;
        expected = moved(expected, entry);
    }
    assert_eq!(world.head(&key).await?, expected);
    Ok(())
}

/// Versions are ordered by timestamp, then by transaction, numerically: also where a digit is added.
pub async fn versions_of_one_instant_are_ordered_by_transaction<S: Store>(world: &World<S>) -> Outcome {
    let instants = [0, 1, 31, 32, 1_790_000_000_000_000].map(Timestamp::from_micros);
    let transactions = [world.transaction(1), world.transaction(2)];
    let version = |instant| transactions.map(|transaction| Version::new(instant, transaction));
    let mut versions: Vec<_> = instants.into_iter().flat_map(version).collect();
    versions.sort();
    let key = world.key("a")?;
    for version in &versions {
        let entry = Entry { version: *version, value: None, ..world.entry(1)? };
        assert_eq!(world.apply(&key, &entry).await?, Applied::Moved, "{version}");
    }
    Ok(())
}

/// [`Version::ZERO`] means "never written": no head can be moved to it, not even an absent one.
pub async fn the_zero_version_is_never_applied<S: Store>(world: &World<S>) -> Outcome {
    let key = world.key("a")?;
    assert_eq!(world.apply(&key, &Entry::absent()).await?, Applied::NotNewer);
    assert_eq!(world.head(&key).await?, Head::absent());
    Ok(())
}

/// A deleted key is not an absent one: a late apply of an older write must find the tombstone.
pub async fn a_deleted_key_keeps_a_tombstone<S: Store>(world: &World<S>) -> Outcome {
    let key = world.key("a")?;
    let deleted = Entry { value: None, ..world.entry(2)? };
    assert_eq!(world.apply(&key, &deleted).await?, Applied::Moved, "what does not exist can be deleted");
    assert_eq!(world.apply(&key, &world.entry(1)?).await?, Applied::NotNewer);
    let tombstone = Head { current: deleted.clone(), ..Head::absent() };
    assert_eq!(world.head(&key).await?, tombstone);
    assert_eq!(world.apply(&key, &world.entry(3)?).await?, Applied::Moved, "a deleted key can be written again");
    assert_eq!(
        world.head(&key).await?,
        Head { current: world.entry(3)?, previous: Previous::Inline(deleted), ..Head::absent() }
    );
    Ok(())
}

/// Bytes of every value, also none; content types as they came.
pub async fn values_and_content_types_are_kept_byte_for_byte<S: Store>(world: &World<S>) -> Outcome {
    let every_byte: Bytes = (0..=u8::MAX).collect();
    let values = [
        Value::new(every_byte, ContentType::default())?,
        Value::new(Bytes::new(), ContentType::new("text/plain; charset=utf-8")?)?,
        Value::new("{\"a\":1}", ContentType::new("Application/JSON")?)?,
        Value::new("x", ContentType::new(&"c".repeat(limits::CONTENT_TYPE_BYTES))?)?,
    ];
    let key = world.key("a")?;
    let mut expected = Head::absent();
    for (number, value) in (1..).zip(values) {
        let entry = Entry { value: Some(value), ..world.entry(number)? };
        world.apply(&key, &entry).await?;
        expected = moved(expected, entry);
        assert_eq!(world.head(&key).await?, expected);
    }
    Ok(())
}

/// A key is any text of 1 to 1,024 bytes, and no other text is the same key.
pub async fn keys_are_any_text<S: Store>(world: &World<S>) -> Outcome {
    let names = [
        "/",
        "//",
        "%2F",
        "%",
        "a b",
        " ",
        "\n",
        "\r\n",
        "\t",
        "\0",
        "\"quoted\"",
        "\\",
        "é",
        "e\u{301}",
        "日本",
        "🦀",
        "A",
        "a",
        "#k",
        ":v",
        "$ref",
        "\u{feff}",
        "\u{10ffff}",
    ];
    let mut keys = names.iter().map(|name| world.key(name)).collect::<Result<BTreeSet<_>, _>>()?;
    keys.insert(world.longest_key("long")?);
    assert_eq!(keys.len(), names.len() + 1);
    for (number, key) in (1..).zip(&keys) {
        assert_eq!(world.apply(key, &world.entry(number)?).await?, Applied::Moved, "{key:?}");
    }
    let heads = world.store.heads(&keys).await?;
    assert_eq!(heads.len(), keys.len());
    for (number, key) in (1..).zip(&keys) {
        assert_eq!(heads.get(key).map(|head| &head.current), Some(&world.entry(number)?), "{key:?}");
        assert_eq!(world.head(key).await?.current, world.entry(number)?, "{key:?}");
    }
    Ok(())
}

/// R-READ-1 rests on the cowritten lists, also on the previous version's; a long list is a marker.
pub async fn cowritten_lists_are_kept<S: Store>(world: &World<S>) -> Outcome {
    let key = world.key("a")?;
    let others = BTreeSet::from([world.key("b")?, world.key("c\n\"é\"")?]);
    let mut expected = Head::absent();
    let lists = [Cowritten::Keys(Arc::new(others)), Cowritten::InRecord, Cowritten::none(), Cowritten::InRecord];
    for (number, cowritten) in (1..).zip(lists) {
        let entry = Entry { cowritten, ..world.entry(number)? };
        world.apply(&key, &entry).await?;
        expected = moved(expected, entry);
        assert_eq!(world.head(&key).await?, expected);
    }
    Ok(())
}

/// R-COMMIT-5 under contention: whatever the interleaving, the head ends at the newest version, and its history is one
/// that some order of the same applies leaves.
pub async fn concurrent_applies_end_at_the_newest<S: Store>(world: &World<S>) -> Outcome {
    let key = &world.key("a")?;
    let mut numbers: Vec<u64> = (1..=50).collect();
    Random(1).shuffle(&mut numbers);
    let applies = numbers.iter().map(|number| async move {
        let entry = world.entry(*number)?;
        Ok::<_, Fault>((*number, world.apply(key, &entry).await?))
    });
    let applied = try_join_all(applies).await?;
    let moves: BTreeSet<_> =
        applied.iter().filter(|(_, applied)| *applied == Applied::Moved).map(|(n, _)| *n).collect();
    assert!(moves.contains(&50), "the newest always moves the head");
    // Versions only ever went up, so the history is the moves in order.
    let mut expected = Head::absent();
    for number in moves {
        expected = moved(expected, world.entry(number)?);
    }
    assert_eq!(world.head(key).await?, expected);
    Ok(())
}

/// R-READ-4: a full batch, of present and absent keys.
pub async fn a_hundred_heads_are_read_at_once<S: Store>(world: &World<S>) -> Outcome {
    read_many(world, limits::BATCH_KEYS).await
}

/// More than a batch is as many batches as it takes.
pub async fn more_than_a_hundred_heads_are_read_too<S: Store>(world: &World<S>) -> Outcome {
    read_many(world, 2 * limits::BATCH_KEYS + 1).await
}

async fn read_many<S: Store>(world: &World<S>, count: usize) -> Outcome {
    let keys = (0..count).map(|n| world.key(&n.to_string())).collect::<Result<BTreeSet<_>, _>>()?;
    let written: BTreeSet<_> = keys.iter().step_by(2).cloned().collect();
    let entry = &world.entry(1)?;
    try_join_all(written.iter().map(|key| world.apply(key, entry))).await?;
    let heads = world.store.heads(&keys).await?;
    assert_eq!(heads.keys().collect::<Vec<_>>(), keys.iter().collect::<Vec<_>>());
    for (key, head) in heads {
        let expected = if written.contains(&key) { entry.clone() } else { Entry::absent() };
        assert_eq!(head.current, expected, "{key:?}");
    }
    Ok(())
}

/// R-COMMIT-9: every limit at once, twice, makes one item.
pub async fn the_largest_head_fits<S: Store>(world: &World<S>) -> Outcome {
    let key = world.longest_key("a")?;
    // The shortest keys make the longest list: an element costs a byte more than its key.
    let short_keys = (0..0x1_0000_u32).filter_map(char::from_u32).map(|letter| letter.to_string());
    let mut room = limits::COWRITTEN_BYTES;
    let fits = |text: &String| {
        room = room.saturating_sub(text.len());
        room > 0
    };
    let longest_list: BTreeSet<Key> = short_keys.take_while(fits).map(Key::new).collect::<Result<_, _>>()?;
    assert!(longest_list.len() > 1_000, "{}", longest_list.len());
    let cowritten = Cowritten::Keys(Arc::new(longest_list));
    let largest = |number: u64| {
        let content_type = ContentType::new(&"c".repeat(limits::CONTENT_TYPE_BYTES))?;
        let value = Value::new(noise(limits::VALUE_BYTES, number), content_type)?;
        let version = world.version(number);
        Ok::<_, Fault>(Entry { version, value: Some(value), cowritten: cowritten.clone(), ..world.entry(number)? })
    };
    let mut expected = Head::absent();
    for number in 1..=OLDER as u64 + 3 {
        let entry = largest(number)?;
        assert_eq!(world.apply(&key, &entry).await?, Applied::Moved);
        expected = moved(expected, entry);
    }
    assert!(world.head(&key).await? == expected, "the largest head is not kept whole");
    // The failed condition returns the whole item: that must fit, too.
    assert_eq!(world.apply(&key, &world.entry(1)?).await?, Applied::NotNewer);
    Ok(())
}

/// DynamoDB answers at most 16 MB at once and leaves the rest to be asked for again.
pub async fn more_bytes_than_one_answer_holds_are_read_too<S: Store>(world: &World<S>) -> Outcome {
    let value = |n: u64| Value::new(noise(limits::VALUE_BYTES, n), ContentType::default());
    let keys = (0..90).map(|n| world.key(&n.to_string())).collect::<Result<BTreeSet<_>, _>>()?;
    for (number, key) in (1..).zip(&keys) {
        world.apply(key, &Entry { value: Some(value(number)?), ..world.entry(1)? }).await?;
    }
    let heads = world.store.heads(&keys).await?;
    assert_eq!(heads.len(), keys.len());
    for (number, (key, head)) in (1..).zip(heads) {
        assert!(head.current.value == Some(value(number)?), "{key:?} is not kept whole");
    }
    Ok(())
}
