//! That a commit with terms is taken whole or not at all, and that a validation looks at one moment.

use std::collections::{BTreeMap, BTreeSet};

use aft_protocol::head::{Before, Entry, Head, Keep, Move};
use aft_protocol::isolation::{Guards, Isolation};
use aft_protocol::key::Key;
use aft_protocol::limits;
use aft_protocol::record::{CommitRecord, Writes};
use aft_protocol::step;
use aft_protocol::value::{ContentType, Value};
use aft_protocol::version::{Timestamp, Version};
use bytes::Bytes;
use futures_util::future::try_join_all;

use super::{EXPIRES_AT_SECONDS, Fault, Outcome, World, noise, text};
use crate::{Applied, AtOnce, Obstacles, Stepped, Store, StoreError, Terms, Validated};

/// What a head holds before the steps of a case.
const OLD: u64 = 1;
/// The transaction whose step a case is about.
const STEP: u64 = 10;
/// A version that the step has not seen.
const NEWER_THAN_READ: u64 = 2;
/// A version that the step does not exceed.
const NEWER_THAN_STEP: u64 = 20;
/// What is under way elsewhere at an engine ends; a step that is in its way more often than this never gets anywhere.
const TRIES: usize = 10_000;

impl<S: Store> World<S> {
    /// A head at that version, without a record.
    async fn head_at(&self, name: &str, number: u64) -> Result<Key, Fault> {
        let key = self.key(name)?;
        assert_eq!(self.apply(&key, &self.entry(number)?).await?, Applied::Moved, "{name}");
        Ok(key)
    }

    /// A tombstone at that version.
    async fn deleted_at(&self, name: &str, number: u64) -> Result<Key, Fault> {
        let key = self.key(name)?;
        let entry = Entry { value: None, ..self.entry(number)? };
        assert_eq!(self.apply(&key, &entry).await?, Applied::Moved, "{name}");
        Ok(key)
    }

    /// What a step writes to each of these keys.
    fn step_record(&self, number: u64, keys: &[&Key]) -> Result<CommitRecord, Fault> {
        let writes = keys.iter().map(|key| Ok(((*key).clone(), Some(text(&format!("step {number}"))?))));
        Ok(self.record(number, writes.collect::<Result<Writes, Fault>>()?, "answer"))
    }

    /// The same with another nonce, as whoever changes what a step does must.
    fn again(&self, record: CommitRecord) -> CommitRecord {
        CommitRecord { nonce: self.nonce(), ..record }
    }

    /// The heads of everything that a record writes and that terms name.
    async fn heads_around(&self, record: &CommitRecord, terms: &Terms) -> Result<BTreeMap<Key, Head>, StoreError> {
        let keys: BTreeSet<_> = record.writes.keys().chain(terms.keys()).cloned().collect();
        self.store.latest_heads(&keys).await
    }

    /// Takes a step that nothing stands in the way of, and looks whether everything that it should do is done.
    async fn taken(&self, record: &CommitRecord, terms: &Terms) -> Outcome {
        let mut expected = self.heads_around(record, terms).await?;
        for (key, entry) in record.head_entries() {
            let Some(keep) = terms.moves.get(key) else { continue };
            let Some(head) = expected.get_mut(key) else { panic!("no entry for {key:?}") };
            let Move::To(moved) = head.moved_to(entry, *keep) else { panic!("{key:?} would not move: {head:?}") };
            *head = *moved;
        }
        let stepped = self.store.commit_if(record, terms).await?;
        assert_eq!(stepped, Stepped::Now);
        // Not `assert_eq!`: a difference of megabytes cannot be read.
        assert!(self.stored(record.transaction()).await?.as_ref() == Some(record), "the record is not kept whole");
        for (key, head) in self.heads_around(record, terms).await? {
            assert!(Some(&head) == expected.get(&key), "{key:?} is not as the step should have left it");
        }
        Ok(())
    }

    /// Takes a step that must be refused because of these keys, and looks whether it left no trace.
    async fn refused(&self, record: &CommitRecord, terms: &Terms, changed: BTreeMap<Key, Version>) -> Outcome {
        let before = self.heads_around(record, terms).await?;
        let stepped = self.store.commit_if(record, terms).await?;
        assert_eq!(stepped, Stepped::Refused(Obstacles { changed, ..Obstacles::default() }));
        assert_eq!(self.stored(record.transaction()).await?, None, "a record without its step");
        assert!(self.heads_around(record, terms).await? == before, "a head moved without the others");
        Ok(())
    }

    /// Waits for what is under way elsewhere, and for nothing else.
    async fn settled(&self, record: &CommitRecord, terms: &Terms) -> Result<Stepped, Fault> {
        for _ in 0..TRIES {
            match self.store.commit_if(record, terms).await? {
                Stepped::Refused(obstacles) if obstacles.changed.is_empty() => tokio::task::yield_now().await,
                settled => return Ok(settled),
            }
        }
        panic!("others are under way for ever");
    }
}

fn terms<const G: usize, const M: usize>(guards: [(&Key, Version); G], moves: [&Key; M]) -> Terms {
    Terms {
        guards: guards.map(|(key, version)| (key.clone(), version)).into(),
        moves: moves.map(|key| (key.clone(), Keep::Inline)).into(),
    }
}

/// R-SER-1: every way in which a key can be in a step at once, and all of it happens.
pub async fn a_step_writes_the_record_and_moves_every_head<S: Store>(world: &World<S>) -> Outcome {
    let old = world.version(OLD);
    let (read, absent) = (world.head_at("read", OLD).await?, world.key("absent")?);
    let gone = world.deleted_at("gone", OLD).await?;
    let written = world.head_at("written", OLD).await?;
    let (removed, revived) = (world.head_at("removed", OLD).await?, world.deleted_at("revived", OLD).await?);
    let (born, unread, unborn) = (world.key("born")?, world.head_at("unread", OLD).await?, world.key("unborn")?);
    let mut record = world.step_record(STEP, &[&written, &revived, &born, &unread, &unborn])?;
    record.writes.insert(removed.clone(), None);
    let guards = [
        (&read, old),
        (&absent, Version::ZERO),
        (&gone, old),
        (&written, old),
        (&removed, old),
        (&revived, old),
        (&born, Version::ZERO),
    ];
    world.taken(&record, &terms(guards, [&written, &removed, &revived, &born, &unread, &unborn])).await
}

/// R-SER-5: what is written and not in the terms is in the record, and its head stays for an apply.
pub async fn a_step_leaves_other_heads_alone<S: Store>(world: &World<S>) -> Outcome {
    let (guarded, other) = (world.head_at("guarded", OLD).await?, world.head_at("other", OLD).await?);
    let record = world.step_record(STEP, &[&guarded, &other])?;
    world.taken(&record, &terms([(&guarded, world.version(OLD))], [&guarded])).await?;
    assert_eq!(world.head(&other).await?.current, world.entry(OLD)?);
    for (key, entry) in record.head_entries() {
        let applied = if *key == other { Applied::Moved } else { Applied::NotNewer };
        assert_eq!(world.apply(key, &entry).await?, applied, "{key:?}");
    }
    Ok(())
}

/// A transaction that only read and is recorded all the same.
pub async fn a_step_of_checks_alone_is_taken<S: Store>(world: &World<S>) -> Outcome {
    let (read, absent) = (world.head_at("read", OLD).await?, world.key("absent")?);
    let terms = terms([(&read, world.version(OLD)), (&absent, Version::ZERO)], []);
    world.taken(&world.record(STEP, Writes::new(), "answer"), &terms).await?;
    world.head_at("read", NEWER_THAN_READ).await?;
    let changed = BTreeMap::from([(read, world.version(NEWER_THAN_READ))]);
    world.refused(&world.record(STEP + 1, Writes::new(), "answer"), &terms, changed).await
}

/// R-SER-1: each way in which a key can be other than it was read, whether it is written or only checked; beside keys that
/// are as they were read, to which nothing happens either. Then all of them at once.
pub async fn a_guard_that_does_not_hold_refuses_the_whole_step<S: Store>(world: &World<S>) -> Outcome {
    let (old, newer) = (world.version(OLD), world.version(NEWER_THAN_READ));
    let (steady, written) = (world.head_at("steady", OLD).await?, world.head_at("written", OLD).await?);
    let unread = world.key("unread")?;
    let moved = world.head_at("moved", NEWER_THAN_READ).await?;
    let gone = world.deleted_at("gone", NEWER_THAN_READ).await?;
    let absent = world.key("absent")?;
    let violations = [
        ("moved since", &moved, old, newer),
        ("read at a version that was never there", &moved, world.version(NEWER_THAN_READ + 1), newer),
        ("read as absent, and there", &moved, Version::ZERO, newer),
        ("deleted since", &gone, old, newer),
        ("read as absent, and deleted", &gone, Version::ZERO, newer),
        ("absent, and read as there", &absent, old, Version::ZERO),
    ];
    for (number, (case, key, read, found)) in (STEP..).zip(violations) {
        let changed = BTreeMap::from([(key.clone(), found)]);
        let mut guards = terms([(&steady, old), (&written, old)], [&written, &unread]);
        guards.guards.insert(key.clone(), read);
        let checked = world.step_record(number, &[&written, &unread])?;
        world.refused(&checked, &guards, changed.clone()).await.map_err(|error| format!("{case}, checked: {error}"))?;
        guards.moves.insert(key.clone(), Keep::Inline);
        let moving = world.step_record(number, &[&written, &unread, key])?;
        world.refused(&moving, &guards, changed).await.map_err(|error| format!("{case}, written: {error}"))?;
    }
    let all = terms(
        [(&steady, old), (&written, old), (&moved, old), (&gone, Version::ZERO), (&absent, old)],
        [&written, &unread, &gone],
    );
    let changed = BTreeMap::from([(moved.clone(), newer), (gone.clone(), newer), (absent.clone(), Version::ZERO)]);
    let record = world.step_record(STEP, &[&written, &unread, &gone])?;
    world.refused(&record, &all, changed).await?;
    // The same transaction, once it has seen what there is.
    let record = world.again(record);
    let seen = [(&steady, old), (&written, old), (&moved, newer), (&gone, newer), (&absent, Version::ZERO)];
    world.taken(&record, &terms(seen, [&written, &unread, &gone])).await
}

/// A key that was forgotten since it was read (a tombstone's time is over) is at version zero.
pub async fn what_was_read_as_deleted_and_is_forgotten_has_changed<S: Store>(world: &World<S>) -> Outcome {
    let forgotten = world.key("forgotten")?;
    let guards = terms([(&forgotten, world.version(OLD))], [&forgotten]);
    let changed = BTreeMap::from([(forgotten.clone(), Version::ZERO)]);
    world.refused(&world.step_record(STEP, &[&forgotten])?, &guards, changed).await
}

/// R-SER-2: a key that was written unread moves over whatever is older, and what is newer is named.
pub async fn an_unread_head_that_is_newer_refuses_the_whole_step<S: Store>(world: &World<S>) -> Outcome {
    let (read, older) = (world.head_at("read", OLD).await?, world.head_at("older", OLD).await?);
    let newer = world.head_at("newer", NEWER_THAN_STEP).await?;
    let gone = world.deleted_at("gone", NEWER_THAN_STEP).await?;
    let unread = terms([(&read, world.version(OLD))], [&read, &older, &newer, &gone]);
    let found = world.version(NEWER_THAN_STEP);
    let changed = BTreeMap::from([(newer.clone(), found), (gone.clone(), found)]);
    world.refused(&world.step_record(STEP, &[&read, &older, &newer, &gone])?, &unread, changed).await?;
    // With a version that is greater than all there is.
    let later = world.step_record(STEP, &[&read, &older, &newer, &gone])?;
    let version = Version::new(world.version(NEWER_THAN_STEP + 1).timestamp(), later.transaction());
    world.taken(&CommitRecord { version, ..later }, &unread).await
}

/// R-COMMIT-5: a guard is no way back.
pub async fn a_guarded_head_moves_forward_only<S: Store>(world: &World<S>) -> Outcome {
    let key = world.head_at("a", NEWER_THAN_STEP).await?;
    let found = world.version(NEWER_THAN_STEP);
    for keep in [Keep::Inline, Keep::InRecord { until_seconds: 0 }] {
        let guarded = Terms { moves: [(key.clone(), keep)].into(), ..terms([(&key, found)], []) };
        world.refused(&world.step_record(STEP, &[&key])?, &guarded, [(key.clone(), found)].into()).await?;
    }
    Ok(())
}

/// A version that is left to a record that may be gone too soon refuses the step, with the very version that was expected;
/// inline it moves. A moment that is past asks for nothing.
pub async fn a_step_leaves_a_previous_version_to_its_record_only_if_that_is_there<S: Store>(
    world: &World<S>,
) -> Outcome {
    let [enough, too_long] = [EXPIRES_AT_SECONDS - 1, EXPIRES_AT_SECONDS];
    let in_record = |until_seconds| Keep::InRecord { until_seconds };
    let old = world.version(OLD);
    let mut number = STEP;
    for (keep, is_taken) in [
        (in_record(too_long), false),
        (in_record(enough), true),
        (in_record(0), true),
        (Keep::Inline, true),
        (in_record(u64::MAX >> 1), false),
    ] {
        number += 1;
        let name = |what: &str| format!("{what}/{number}");
        let guarded = world.head_at(&name("guarded"), OLD).await?;
        let unread = world.head_at(&name("unread"), OLD).await?;
        let gone = world.deleted_at(&name("gone"), OLD).await?;
        let (born, unborn) = (world.key(&name("born"))?, world.key(&name("unborn"))?);
        let keys = [&guarded, &unread, &gone, &born, &unborn];
        let mut record = world.step_record(number, &keys)?;
        let mut terms = terms([(&guarded, old), (&gone, old), (&born, Version::ZERO)], keys);
        terms.moves.values_mut().for_each(|moved| *moved = keep);
        if !is_taken {
            // Nothing comes before the first version, so nothing is left to a record.
            let changed = [&guarded, &unread, &gone].map(|key| (key.clone(), old));
            world.refused(&record, &terms, changed.into()).await?;
            terms.moves.values_mut().for_each(|moved| *moved = Keep::Inline);
            record = world.again(record);
        }
        world.taken(&record, &terms).await?;
    }
    // A previous version that expires with its record, asked for no longer than for now.
    let key = world.key("expired")?;
    let expired = Entry { record_expires_at_seconds: 1, ..world.entry(OLD)? };
    assert_eq!(world.apply(&key, &expired).await?, Applied::Moved);
    let keep = |keep| Terms { moves: [(key.clone(), keep)].into(), ..terms([(&key, old)], []) };
    let record = world.step_record(STEP, &[&key])?;
    world.refused(&record, &keep(in_record(1)), [(key.clone(), old)].into()).await?;
    world.taken(&world.again(record), &keep(in_record(0))).await
}

/// R-COMMIT-2: whoever comes second gets the first one's record, whole, whatever else there is to say; and nothing moves.
pub async fn an_existing_record_comes_before_every_obstacle<S: Store>(world: &World<S>) -> Outcome {
    let holds = world.head_at("holds", OLD).await?;
    let changed = world.head_at("changed", NEWER_THAN_STEP).await?;
    let absent = world.key("absent")?;
    let large = noise(2 * limits::RECORD_ITEM_BYTES, STEP);
    for (number, body) in [(STEP, Bytes::from("small")), (STEP + 1, large)] {
        let first = world.record(number, Writes::from([(holds.clone(), Some(text("first")?))]), body);
        assert_eq!(world.store.commit(&first).await?, crate::Committed::Now);
        let old = world.version(OLD);
        for terms in [
            Terms::default(),
            terms([(&holds, old), (&absent, Version::ZERO)], [&holds, &absent]),
            terms([(&holds, old), (&changed, old), (&absent, old)], [&holds, &changed, &absent]),
        ] {
            let second = world.step_record(number, &[&holds, &changed, &absent])?;
            let before = world.heads_around(&second, &terms).await?;
            let Stepped::Before(existing) = world.store.commit_if(&second, &terms).await? else { panic!("{terms:?}") };
            assert!(*existing == first, "another record than the first, or not the whole of it");
            assert!(world.heads_around(&second, &terms).await? == before, "a head moved without a record");
        }
        assert!(world.stored(first.transaction()).await?.as_ref() == Some(&first), "the first record has changed");
    }
    Ok(())
}

/// R-COMMIT-4: a writer whose reply was lost tries again with the same content. He is told that it has happened, or gets the
/// record with his nonce; and it has happened once.
pub async fn a_step_that_is_tried_again_finds_itself<S: Store>(world: &World<S>) -> Outcome {
    let (read, written) = (world.head_at("read", OLD).await?, world.head_at("written", OLD).await?);
    let small = world.step_record(STEP, &[&written])?;
    let mut large = world.step_record(STEP + 1, &[&written])?;
    large.response.body = noise(limits::RECORD_ITEM_BYTES + 1, STEP);
    for (record, before) in [(&small, OLD), (&large, STEP)] {
        let terms = terms([(&read, world.version(OLD)), (&written, world.version(before))], [&written]);
        world.taken(record, &terms).await?;
        let after = world.heads_around(record, &terms).await?;
        for _ in 0..2 {
            match world.store.commit_if(record, &terms).await? {
                Stepped::Now => {}
                Stepped::Before(existing) => assert!(*existing == *record, "another's record"),
                Stepped::Refused(obstacles) => panic!("it is in its own way: {obstacles}"),
            }
        }
        assert!(world.heads_around(record, &terms).await? == after, "a step was taken twice");
    }
    Ok(())
}

/// A step that was refused left nothing behind that is in the way of the next try, which has another version and nonce.
pub async fn a_refused_step_is_taken_later<S: Store>(world: &World<S>) -> Outcome {
    let key = world.head_at("a", NEWER_THAN_READ).await?;
    let mut record = world.step_record(STEP, &[&key])?;
    record.response.body = noise(limits::RECORD_ITEM_BYTES + 1, STEP);
    let found = world.version(NEWER_THAN_READ);
    world.refused(&record, &terms([(&key, world.version(OLD))], [&key]), [(key.clone(), found)].into()).await?;
    let next = world.again(record);
    let version = Version::new(world.version(STEP + 1).timestamp(), next.transaction());
    world.taken(&CommitRecord { version, ..next }, &terms([(&key, found)], [&key])).await
}

/// R-SER-6: as many keys as there may be, half of them written; and one of them in the way, at every place.
pub async fn a_step_takes_ninety_nine_keys<S: Store>(world: &World<S>) -> Outcome {
    let keys = (0..limits::GUARDED_KEYS).map(|n| world.key(&n.to_string())).collect::<Result<Vec<_>, _>>()?;
    let entry = &world.entry(OLD)?;
    // Every third is absent.
    let there = keys.iter().enumerate().filter(|(n, _)| n % 3 != 0).map(|(_, key)| key);
    try_join_all(there.map(|key| world.apply(key, entry))).await?;
    let written: Vec<_> = keys.iter().step_by(2).collect();
    let guards = keys.iter().enumerate();
    let guards = guards.map(|(n, key)| (key.clone(), if n % 3 == 0 { Version::ZERO } else { entry.version }));
    let moves = written.iter().map(|key| ((*key).clone(), Keep::Inline)).collect();
    let terms = Terms { guards: guards.collect(), moves };
    assert_eq!(terms.keys().len(), limits::GUARDED_KEYS);
    for number in [0, 1, limits::GUARDED_KEYS / 2, limits::GUARDED_KEYS - 1] {
        let found = terms.guards[&keys[number]];
        let mut wrong = terms.clone();
        wrong.guards.insert(keys[number].clone(), world.version(NEWER_THAN_READ));
        let record = world.step_record(STEP, &written)?;
        world.refused(&record, &wrong, [(keys[number].clone(), found)].into()).await?;
    }
    world.taken(&world.step_record(STEP + 1, &written)?, &terms).await
}

/// R-SER-6: all limits of a step at once, over previous versions that must stay inline: the largest that there may be, unread,
/// which cannot all stay, and smaller ones.
pub async fn the_largest_step_is_taken<S: Store>(world: &World<S>) -> Outcome {
    let keys = (0..limits::GUARDED_KEYS).map(|n| world.longest_key(&format!("{n}/"))).collect::<Result<Vec<_>, _>>()?;
    let content_type = ContentType::new(&"c".repeat(limits::CONTENT_TYPE_BYTES))?;
    for (n, key) in (0..).zip(&keys) {
        let previous = if n % 10 == 0 { limits::VALUE_BYTES } else { 3 * 1_024 };
        let value = Some(Value::new(noise(previous, n), content_type.clone())?);
        assert_eq!(world.apply(key, &Entry { value, ..world.entry(OLD)? }).await?, Applied::Moved);
    }
    let around = keys.iter().map(|key| key.as_str().len() + content_type.as_str().len()).sum::<usize>();
    let each = (limits::GUARDED_BYTES - around) / keys.len();
    let writes = (0..).zip(&keys).map(|(n, key)| {
        let value = Value::new(noise(each, 1_000 + n), content_type.clone())?;
        Ok((key.clone(), Some(value)))
    });
    let writes = writes.collect::<Result<Writes, Fault>>()?;
    let record = world.record(STEP, writes, noise(limits::RECORD_ITEM_BYTES, STEP));
    let heads = world.store.latest_heads(&keys.iter().cloned().collect()).await?;
    let before: BTreeMap<Key, Before> = heads.iter().map(|(key, head)| (key.clone(), head.before())).collect();
    let read = keys.iter().enumerate().filter(|(n, _)| n % 10 != 0);
    let guards: Guards = read.map(|(_, key)| (key.clone(), world.version(OLD))).collect();
    let moves = step::moves(&record, &guards, 0, Isolation::Serializable, &before, EXPIRES_AT_SECONDS);
    let kept = |kept: bool| {
        let moves = moves.iter().filter(move |(_, keep)| (**keep == Keep::Inline) == kept);
        moves.map(|(key, _)| before[key].bytes()).collect::<Vec<_>>()
    };
    assert!(kept(true).iter().any(|bytes| *bytes > limits::VALUE_BYTES), "room for one of the largest");
    assert!(kept(true).iter().any(|bytes| *bytes < limits::VALUE_BYTES), "room for a small one");
    assert!(kept(false).iter().any(|bytes| *bytes > limits::VALUE_BYTES), "no room for all");
    world.taken(&record, &Terms { guards, moves }).await
}

/// R-SER-1 under contention: a version has one successor.
pub async fn of_concurrent_steps_over_one_version_exactly_one_wins<S: Store>(world: &World<S>) -> Outcome {
    let (a, b) = (&world.head_at("a", OLD).await?, &world.key("b")?);
    let mut before = [world.version(OLD), Version::ZERO];
    for round in 1..=5 {
        let guards = [(a, before[0]), (b, before[1])];
        let numbers: Vec<_> = (1..=10).map(|n| 100 * round + n).collect();
        let steps = numbers.iter().map(|number| async move {
            let record = world.step_record(*number, &[a, b])?;
            Ok::<_, Fault>((*number, world.settled(&record, &terms(guards, [a, b])).await?))
        });
        let stepped = try_join_all(steps).await?;
        let winners: Vec<_> = stepped.iter().filter(|(_, stepped)| *stepped == Stepped::Now).collect();
        let [(winner, _)] = winners.as_slice() else { panic!("{} winners in round {round}", winners.len()) };
        let won = world.version(*winner);
        for (number, lost) in stepped.iter().filter(|(number, _)| number != winner) {
            let Stepped::Refused(obstacles) = lost else { panic!("{number}: {lost:?}") };
            assert!(obstacles.changed.values().all(|found| *found == won), "{number}: {obstacles}");
            assert_eq!(world.stored(world.transaction(*number)).await?, None, "{number} lost");
        }
        for key in [a, b] {
            assert_eq!(world.head(key).await?.current.version, won);
        }
        before = [won, won];
    }
    Ok(())
}

/// R-COMMIT-2 under contention: attempts at one transaction, each with terms of its own that hold.
pub async fn of_concurrent_steps_of_one_transaction_exactly_one_wins<S: Store>(world: &World<S>) -> Outcome {
    let numbers: Vec<_> = (1..=10_u64).collect();
    let steps = numbers.iter().map(|number| async move {
        let key = world.key(&number.to_string())?;
        let record = world.step_record(STEP, &[&key])?;
        Ok::<_, Fault>((world.settled(&record, &terms([(&key, Version::ZERO)], [&key])).await?, key, record))
    });
    let stepped = try_join_all(steps).await?;
    let winners: Vec<_> = stepped.iter().filter(|(stepped, ..)| *stepped == Stepped::Now).collect();
    let [(_, _, winner)] = winners.as_slice() else { panic!("{} winners", winners.len()) };
    for (stepped, key, record) in &stepped {
        let head = world.head(key).await?;
        if record.nonce == winner.nonce {
            assert_eq!(head.current.version, winner.version);
        } else {
            assert_eq!(*stepped, Stepped::Before(Box::new(winner.clone())));
            assert_eq!(head, Head::absent(), "a loser's head moved");
        }
    }
    assert_eq!(world.stored(winner.transaction()).await?.as_ref(), Some(winner));
    Ok(())
}

const ACCOUNTS: [&str; 2] = ["a", "b"];
const BALANCE: i64 = 1_000;

impl<S: Store> World<S> {
    fn balance(&self, number: u64, balance: i64) -> Result<Entry, Fault> {
        Ok(Entry { value: Some(text(&balance.to_string())?), ..self.entry(number)? })
    }

    /// Looks at both accounts again and again while there are transfers between them: whenever it is told something, it is the
    /// whole sum.
    async fn audited(&self, look: impl AsyncFn() -> Result<Option<BTreeMap<Key, Head>>, Fault>) -> Outcome {
        self.open_accounts().await?;
        let transfers = try_join_all((STEP..STEP + TRANSFERS).map(|number| self.transfer(number)));
        let audits = async {
            let mut told = 0;
            for _ in 0..TRIES {
                if let Some(heads) = look().await? {
                    let sum = heads.values().map(amount_of).sum::<Result<i64, _>>()?;
                    assert_eq!(sum, 2 * BALANCE, "a sum that never was: {heads:?}");
                    told += 1;
                }
                if told > 20 {
                    return Ok::<_, Fault>(());
                }
                tokio::task::yield_now().await;
            }
            panic!("never told anything");
        };
        let (transferred, audited) = futures_util::future::join(transfers, audits).await;
        transferred?;
        audited
    }

    async fn balances(&self) -> Result<([Key; 2], BTreeMap<Key, Head>), Fault> {
        let keys = [self.key(ACCOUNTS[0])?, self.key(ACCOUNTS[1])?];
        let heads = self.store.latest_heads(&keys.iter().cloned().collect()).await?;
        Ok((keys, heads))
    }

    async fn open_accounts(&self) -> Outcome {
        for account in ACCOUNTS {
            self.apply(&self.key(account)?, &self.balance(OLD, BALANCE)?).await?;
        }
        Ok(())
    }

    /// Moves an amount, as often as it takes.
    async fn transfer(&self, number: u64) -> Outcome {
        for _ in 0..TRIES {
            let ([a, b], heads) = self.balances().await?;
            let amount = i64::try_from(number % 7)? + 1;
            let writes = [(&a, -amount), (&b, amount)]
                .map(|(key, by)| Ok((key.clone(), Some(text(&(amount_of(&heads[key])? + by).to_string())?))));
            let writes = writes.into_iter().collect::<Result<Writes, Fault>>()?;
            let guards = heads.iter().map(|(key, head)| (key.clone(), head.current.version)).collect();
            let newest = heads.values().map(|head| head.current.version.timestamp().as_micros()).max();
            let record = self.record(number, writes, "moved");
            let version = Version::new(Timestamp::from_micros(newest.unwrap_or_default() + 1), record.transaction());
            let record = CommitRecord { version, ..record };
            if self.store.commit_if(&record, &Terms { guards, ..terms([], [&a, &b]) }).await? == Stepped::Now {
                return Ok(());
            }
            tokio::task::yield_now().await;
        }
        panic!("transfer {number} is never through");
    }
}

fn amount_of(head: &Head) -> Result<i64, Fault> {
    let value = head.current.value.as_ref().ok_or("no balance")?;
    Ok(std::str::from_utf8(value.bytes())?.parse()?)
}

const TRANSFERS: u64 = 20;

/// R-SER-1: no update is lost between two heads.
pub async fn concurrent_transfers_keep_the_sum<S: Store>(world: &World<S>) -> Outcome {
    world.open_accounts().await?;
    try_join_all((STEP..STEP + TRANSFERS).map(|number| world.transfer(number))).await?;
    let (keys, heads) = world.balances().await?;
    let moved: i64 =
        (STEP..STEP + TRANSFERS).map(|number| i64::try_from(number % 7).map(|n| n + 1)).sum::<Result<_, _>>()?;
    assert_eq!(amount_of(&heads[&keys[0]])?, BALANCE - moved);
    assert_eq!(amount_of(&heads[&keys[1]])?, BALANCE + moved);
    Ok(())
}

/// R-SER-3: a validation that holds is of a sum that was, however many transfers are under way.
pub async fn a_validation_never_holds_over_half_of_a_step<S: Store>(world: &World<S>) -> Outcome {
    let look = async || {
        let (_, heads) = world.balances().await?;
        let guards = heads.iter().map(|(key, head)| (key.clone(), head.current.version)).collect();
        let validated = world.store.validate(&guards).await?;
        Ok(Some(heads).filter(|_| validated == Validated::Holds))
    };
    world.audited(look).await
}

/// R-SER-3: what is read at once is a sum that was, however many transfers are under way.
pub async fn heads_that_are_read_at_once_are_never_half_of_a_step<S: Store>(world: &World<S>) -> Outcome {
    let keys = ACCOUNTS.iter().map(|name| world.key(name)).collect::<Result<_, _>>()?;
    let look = async || match world.store.heads_at_once(&keys).await? {
        AtOnce::Heads(heads) => Ok(Some(heads)),
        AtOnce::Refused(_) => Ok(None),
    };
    world.audited(look).await
}

/// R-SER-3: value, history and all, and absent where there is nothing.
pub async fn heads_are_read_at_once_as_they_are<S: Store>(world: &World<S>) -> Outcome {
    let steady = world.head_at("steady", OLD).await?;
    let moved = world.head_at("moved", NEWER_THAN_READ).await?;
    let gone = world.deleted_at("gone", NEWER_THAN_READ).await?;
    let keys = BTreeSet::from([steady, moved, gone, world.key("absent")?]);
    let heads = world.store.latest_heads(&keys).await?;
    assert_eq!(world.store.heads_at_once(&keys).await?, AtOnce::Heads(heads));
    Ok(())
}

/// R-SER-3: it says what is not as it was read, and how it is.
pub async fn a_validation_names_what_has_changed<S: Store>(world: &World<S>) -> Outcome {
    let (old, newer) = (world.version(OLD), world.version(NEWER_THAN_READ));
    let (steady, moved) = (world.head_at("steady", OLD).await?, world.head_at("moved", NEWER_THAN_READ).await?);
    let gone = world.deleted_at("gone", NEWER_THAN_READ).await?;
    let absent = world.key("absent")?;
    let holds = terms([(&steady, old), (&moved, newer), (&gone, newer), (&absent, Version::ZERO)], []).guards;
    assert_eq!(world.store.validate(&holds).await?, Validated::Holds);
    let wrong = [
        (&steady, Version::ZERO, old),
        (&steady, newer, old),
        (&moved, old, newer),
        (&gone, Version::ZERO, newer),
        (&absent, old, Version::ZERO),
    ];
    for (key, read, found) in wrong {
        let mut guards = holds.clone();
        guards.insert(key.clone(), read);
        let changed = BTreeMap::from([(key.clone(), found)]);
        let expected = Validated::Refused(Obstacles { changed, ..Obstacles::default() });
        assert_eq!(world.store.validate(&guards).await?, expected, "{key:?}");
    }
    let all = terms([(&steady, newer), (&moved, Version::ZERO), (&gone, old), (&absent, old)], []).guards;
    let changed = terms([(&steady, old), (&moved, newer), (&gone, newer), (&absent, Version::ZERO)], []).guards;
    let expected = Validated::Refused(Obstacles { changed, ..Obstacles::default() });
    assert_eq!(world.store.validate(&all).await?, expected);
    Ok(())
}

/// As many as an attempt may read, present and absent.
pub async fn ninety_nine_keys_are_validated<S: Store>(world: &World<S>) -> Outcome {
    let keys = (0..limits::GUARDED_KEYS).map(|n| world.key(&n.to_string())).collect::<Result<Vec<_>, _>>()?;
    let entry = &world.entry(OLD)?;
    try_join_all(keys.iter().step_by(2).map(|key| world.apply(key, entry))).await?;
    let guards = keys.iter().enumerate();
    let guards = guards.map(|(n, key)| (key.clone(), if n % 2 == 0 { entry.version } else { Version::ZERO }));
    let mut guards: Guards = guards.collect();
    assert_eq!(world.store.validate(&guards).await?, Validated::Holds);
    let last = &keys[limits::GUARDED_KEYS - 1];
    let found = guards.insert(last.clone(), world.version(NEWER_THAN_READ)).unwrap_or(Version::ZERO);
    let changed = BTreeMap::from([(last.clone(), found)]);
    let expected = Validated::Refused(Obstacles { changed, ..Obstacles::default() });
    assert_eq!(world.store.validate(&guards).await?, expected);
    Ok(())
}

/// R-SER-6: as many bytes as may be read, in as many keys.
pub async fn the_most_that_may_be_read_is_checked_and_validated<S: Store>(world: &World<S>) -> Outcome {
    let keys = (0..limits::GUARDED_KEYS).map(|n| world.key(&n.to_string())).collect::<Result<Vec<_>, _>>()?;
    let value = Value::new(noise(limits::GUARDED_BYTES / keys.len(), 1), ContentType::default())?;
    let entry = Entry { value: Some(value), ..world.entry(OLD)? };
    for keys in keys.chunks(10) {
        try_join_all(keys.iter().map(|key| world.apply(key, &entry))).await?;
    }
    let mut guards: Guards = keys.iter().map(|key| (key.clone(), entry.version)).collect();
    assert_eq!(world.store.validate(&guards).await?, Validated::Holds);
    let record = world.record(STEP, Writes::new(), "answer");
    let terms = Terms { guards: guards.clone(), ..Terms::default() };
    assert_eq!(world.store.commit_if(&record, &terms).await?, Stepped::Now);
    assert_eq!(world.stored(record.transaction()).await?, Some(record));

    let last = &keys[limits::GUARDED_KEYS - 1];
    guards.insert(last.clone(), world.version(NEWER_THAN_READ));
    let obstacles = Obstacles { changed: BTreeMap::from([(last.clone(), entry.version)]), ..Obstacles::default() };
    assert_eq!(world.store.validate(&guards).await?, Validated::Refused(obstacles.clone()));
    let record = world.record(STEP + 1, Writes::new(), "answer");
    let terms = Terms { guards, ..Terms::default() };
    assert_eq!(world.store.commit_if(&record, &terms).await?, Stepped::Refused(obstacles));
    Ok(())
}
