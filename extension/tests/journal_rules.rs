//! R-FM-4 at the session: an extension that died and was started again in the same sandbox finishes its own last transaction
//! first, from a file that may be torn, foreign, or impossible to write.
#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aft_extension::session::{Ack, Behaviour, CommitResult, Journal};
use aft_protocol::wire::ErrorCode;
use aft_store::ErrorKind;
use aft_store::faults::{Call, Fault};
use aft_store::memory::Memory;
use support::{BEHAVIOUR, Sandbox, is_apply, is_commit, k, stored};
use tokio::time::Instant;

const KEYS: [&str; 3] = ["a", "b", "c"];

/// What stays of a sandbox whose processes die: its `/tmp`.
struct Place(PathBuf);

impl Place {
    fn new() -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("aft-journal-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let directory = std::env::temp_dir().join(name);
        fs::create_dir(&directory).unwrap();
        Self(directory)
    }

    fn journal(&self) -> PathBuf {
        self.0.join("control.sock.journal")
    }

    /// How many transactions the journal names.
    fn named(&self) -> usize {
        fs::read_to_string(self.journal()).map_or(0, |text| text.lines().count() - 2)
    }

    /// An extension starts here. Those that were here before are dead: whatever they do hangs.
    fn start(&self, store: &Memory, seed: u64, plan: impl Fn(&Call) -> Fault + Send + Sync + 'static) -> Sandbox {
        self.start_as(store, seed, BEHAVIOUR, plan)
    }

    fn start_as(
        &self,
        store: &Memory,
        seed: u64,
        behaviour: Behaviour,
        plan: impl Fn(&Call) -> Fault + Send + Sync + 'static,
    ) -> Sandbox {
        let journal = Journal::beside(&self.0.join("control.sock"));
        let sandbox = Sandbox::journaling(Instant::now(), store, seed, behaviour, 0, journal, plan);
        sandbox.session.recover();
        sandbox
    }

    /// An extension commits transaction 1, and dies when it has moved so many heads: none of its others ever moves.
    async fn die_after(&self, store: &Memory, heads: usize) {
        let dying = self.start_as(store, 1, Behaviour { ack: Ack::Durable, ..BEHAVIOUR }, move |call| match call {
            Call::Apply(key) if KEYS[heads..].contains(&key.as_str()) => Fault::HangBefore,
            _ => Fault::None,
        });
        dying.write(1, &KEYS.map(|key| (key, "1"))).await;
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn is_look_up(call: &Call) -> bool {
    matches!(call, Call::Records(_))
}

/// Whatever is logged while this lives.
fn listen() -> (tracing::subscriber::DefaultGuard, Arc<Mutex<Vec<u8>>>) {
    #[derive(Clone)]
    struct Lines(Arc<Mutex<Vec<u8>>>);
    impl std::io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let lines = Arc::new(Mutex::new(Vec::new()));
    let written = Lines(Arc::clone(&lines));
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || written.clone()).finish();
    (tracing::subscriber::set_default(subscriber), lines)
}

fn count(lines: &Mutex<Vec<u8>>, words: &str) -> usize {
    String::from_utf8_lossy(&lines.lock().unwrap()).lines().filter(|line| line.contains(words)).count()
}

/// R-FM-4, whichever head was the last to move.
#[tokio::test(start_paused = true)]
async fn what_a_dead_extension_left_is_applied_before_the_next_commit() {
    for moved in 0..KEYS.len() {
        let (store, place) = (Memory::new(), Place::new());
        place.die_after(&store, moved).await;
        assert_eq!(KEYS.map(|key| stored(&store, key).is_some()), [0, 1, 2].map(|key| key < moved));

        let next = place.start(&store, 2, |_| Fault::None);
        next.write(2, &[("z", "2")]).await;
        let calls = next.calls();
        let committed = calls.iter().position(is_commit).unwrap();
        assert!(is_look_up(&calls[0]), "{calls:?}");
        let moves = calls[..committed].iter().filter(|call| is_apply(call)).count();
        assert_eq!(moves, KEYS.len() - moved, "what had moved is not moved again: {calls:?}");
        assert_eq!(KEYS.map(|key| stored(&store, key)), KEYS.map(|_| Some("1".to_owned())));
        assert_eq!(place.named(), 0, "nothing is left to do");
    }
}

/// R-FM-4: nobody has to send a request, or to read, or to commit; and the sandbox does not freeze before it is done.
#[tokio::test(start_paused = true)]
async fn it_is_applied_without_anybody_asking_and_the_sandbox_stays_awake() {
    let (store, place) = (Memory::new(), Place::new());
    place.die_after(&store, 1).await;
    let slow = |_: &Call| Fault::Slow(Duration::from_secs(1), Duration::ZERO);
    let next = place.start(&store, 2, slow);
    next.session.applied().await;
    assert_eq!(stored(&store, "c").as_deref(), Some("1"));
    assert_eq!(next.count(is_commit), 0);
}

/// R-FM-4: the file names it before the record is there, and does not when nothing can be unapplied any more.
#[tokio::test(start_paused = true)]
async fn a_transaction_is_noted_before_its_record_is_written() {
    let (store, place) = (Memory::new(), Place::new());
    let (file, seen) = (place.journal(), Arc::new(Mutex::new(Vec::new())));
    let notes = Arc::clone(&seen);
    let sandbox = place.start(&store, 1, move |call| {
        if is_commit(call) {
            notes.lock().unwrap().push(fs::read_to_string(&file).unwrap());
        }
        Fault::None
    });
    for transaction in 1..=3 {
        sandbox.write(transaction, &[("a", "1"), ("b", "1")]).await;
        assert_eq!(place.named(), 0, "applied: cleared");
    }
    let (notes, records) = (seen.lock().unwrap(), store.all_records());
    for (note, record) in notes.iter().zip(&records) {
        let entry = format!("{} {}", record.sandbox, record.version);
        assert_eq!(note.split('\n').map(str::trim).collect::<Vec<_>>(), ["aft-journal 1", &entry, "end", ""]);
        assert_eq!(note.len(), 1_024, "whatever is in it");
    }
    assert_eq!((notes.len(), records.len()), (3, 3));
}

/// A handler may clear `/tmp`, and the next extension still finds what is not applied.
#[tokio::test(start_paused = true)]
async fn a_journal_that_was_cleared_away_is_made_again() {
    let (store, place) = (Memory::new(), Place::new());
    let dying = place.start(&store, 1, |call| match call {
        Call::Apply(key) if key.as_str() == "c" => Fault::HangBefore,
        _ => Fault::None,
    });
    dying.write(1, &[("a", "1")]).await;
    let file = |place: &Place| fs::metadata(place.journal()).unwrap().ino();
    let first = file(&place);
    dying.write(2, &[("b", "1")]).await;
    assert_eq!(file(&place), first, "one file, written over");
    fs::remove_file(place.journal()).unwrap();
    dying.begin(3).await;
    dying.put(3, "c", "1");
    assert!(matches!(dying.commit(3, "ok").await, CommitResult::Unknown(ErrorCode::NotVisible, _)));
    assert_eq!(place.named(), 1);
    place.start(&store, 2, |_| Fault::None).session.applied().await;
    assert_eq!(stored(&store, "c").as_deref(), Some("1"));
}

/// The write never arrived, or was refused, or found another's record: nothing is left to do.
#[tokio::test(start_paused = true)]
async fn a_transaction_that_never_committed_leaves_nothing_to_do() {
    let (store, place) = (Memory::new(), Place::new());
    let dying = place.start(&store, 1, |call| if is_commit(call) { Fault::HangBefore } else { Fault::None });
    dying.begin(1).await;
    dying.put(1, "a", "1");
    let result = dying.commit(1, "ok").await;
    assert!(matches!(result, CommitResult::Unknown(ErrorCode::OutcomeUnknown, _)), "{result:?}");
    assert_eq!(place.named(), 1, "it may still arrive");
    let next = place.start(&store, 2, |_| Fault::None);
    next.session.applied().await;
    assert_eq!((next.count(is_look_up), next.count(is_apply), stored(&store, "a")), (1, 0, None));
    assert_eq!(place.named(), 0);

    let refused = place.start(&store, 3, |call| match call {
        Call::Commit(_) => Fault::Before(ErrorKind::Rejected),
        _ => Fault::None,
    });
    refused.begin(3).await;
    refused.put(3, "a", "3");
    let result = refused.commit(3, "ok").await;
    assert!(matches!(result, CommitResult::Failed(ErrorCode::StoreRejected, _)), "{result:?}");
    assert_eq!(place.named(), 0, "certainly not written");

    Sandbox::new(&store, 4).write(5, &[("a", "theirs")]).await;
    let late = place.start(&store, 5, |_| Fault::None);
    late.begin(5).await;
    late.put(5, "a", "ours");
    assert!(matches!(late.commit(5, "ok").await, CommitResult::Duplicate(_)));
    assert_eq!(place.named(), 0, "another's record");
}

/// R-FM-2 with R-FM-4: after an unknown outcome the sandbox goes on under another name, and if it dies then, there are two
/// transactions that nobody may have applied.
#[tokio::test(start_paused = true)]
async fn an_unknown_outcome_is_remembered_beside_the_next_commit() {
    let (store, place) = (Memory::new(), Place::new());
    let dying = place.start(&store, 1, |call| match call {
        Call::Commit(transaction) if transaction.low_bits() == 1 => Fault::HangAfter,
        Call::Apply(_) => Fault::HangBefore,
        _ => Fault::None,
    });
    for (transaction, key) in [(1, "a"), (2, "b")] {
        dying.begin(transaction).await;
        dying.put(transaction, key, "1");
        let result = dying.commit(transaction, "ok").await;
        assert!(matches!(result, CommitResult::Unknown(..)), "{result:?}");
    }
    let names: Vec<_> = store.all_records().iter().map(|record| record.sandbox).collect();
    assert_ne!(names[0], names[1]);
    let next = place.start(&store, 2, |_| Fault::None);
    next.write(3, &[("c", "1")]).await;
    assert_eq!(KEYS.map(|key| stored(&store, key)), KEYS.map(|_| Some("1".to_owned())));
    assert!(next.breaches.lock().unwrap().is_empty());
}

/// Reads do not wait for it; the first commit does, but not past its deadline.
#[tokio::test(start_paused = true)]
async fn only_commits_wait_for_the_recovery() {
    let (store, place) = (Memory::new(), Place::new());
    place.die_after(&store, 0).await;
    let next = place.start(&store, 2, |call| match call {
        Call::Records(_) => Fault::Slow(Duration::from_secs(3), Duration::ZERO),
        _ => Fault::None,
    });
    let started = Instant::now();
    next.begin(2).await;
    assert_eq!(next.get(2, "unrelated").await, None);
    assert_eq!(started.elapsed(), Duration::ZERO);
    next.put(2, "z", "2");
    assert_eq!(next.commit(2, "ok").await, CommitResult::Committed);
    assert!(started.elapsed() >= Duration::from_secs(3), "{:?}", started.elapsed());

    let (store, place) = (Memory::new(), Place::new());
    place.die_after(&store, 0).await;
    let stuck = place.start(&store, 3, |call| if is_look_up(call) { Fault::HangBefore } else { Fault::None });
    stuck.begin(3).await;
    stuck.put(3, "z", "3");
    let result = stuck.commit(3, "ok").await;
    assert!(matches!(result, CommitResult::Failed(ErrorCode::StoreUnavailable, _)), "{result:?}");
    assert_eq!(place.named(), 1, "the next extension tries again");
}

/// What cannot be finished (a record of a later layout, say) must not stop the sandbox for ever: it commits under a name of
/// its own, and the next extension tries again.
#[tokio::test(start_paused = true)]
async fn a_recovery_that_fails_for_good_stops_nobody_and_is_not_forgotten() {
    let (store, place) = (Memory::new(), Place::new());
    place.die_after(&store, 0).await;
    let failing = place.start(&store, 2, |call| match call {
        Call::Records(_) => Fault::Before(ErrorKind::Malformed),
        _ => Fault::None,
    });
    failing.write(2, &[("z", "2")]).await;
    assert_eq!(stored(&store, "a"), None);
    place.start(&store, 3, |_| Fault::None).session.applied().await;
    assert_eq!(stored(&store, "a").as_deref(), Some("1"));
}

/// A file that is no whole journal costs one log line, never a start or a transaction.
#[tokio::test(start_paused = true)]
async fn a_torn_or_foreign_journal_is_passed_over() {
    let (store, place) = (Memory::new(), Place::new());
    place.die_after(&store, 0).await;
    let whole = fs::read(place.journal()).unwrap();
    // Of the spaces, some.
    let places: Vec<_> = (0..whole.len()).filter(|at| whole[*at] != b' ' || at % 100 == 0).collect();
    let torn = places.iter().map(|end| whole[..*end].to_vec());
    let flipped = places.iter().map(|at| {
        let mut bytes = whole.clone();
        bytes[*at] = b'~';
        bytes
    });
    let foreign = [&b"{}"[..], b"\xff\xfe", b"aft-journal 2\nend\n", b"aft-journal 1\nend\nend\n", &[b'x'; 100_000]];
    let mut cases: Vec<_> = torn.chain(flipped).chain(foreign.map(<[u8]>::to_vec)).collect();
    // No byte is torn, too.
    assert_eq!(cases.len(), 2 * places.len() + 5);
    cases.sort();
    for (seed, bytes) in (10..).zip(cases) {
        fs::write(place.journal(), &bytes).unwrap();
        let (_guard, lines) = listen();
        let next = place.start(&store, seed, |_| Fault::None);
        next.write(u128::from(seed), &[("z", "2")]).await;
        let said = count(&lines, "is passed over");
        assert_eq!((next.count(is_look_up), said), (0, 1), "{:?}", String::from_utf8_lossy(&bytes));
    }
    assert_eq!(stored(&store, "a"), None, "left to others");
    let pipe = |path: &Path| assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
    let make: [&dyn Fn(&Path); 2] = [&|path| fs::create_dir(path).unwrap(), &pipe];
    for (seed, make) in (1_000..).zip(make) {
        let _ = fs::remove_file(place.journal());
        make(&place.journal());
        let (_guard, lines) = listen();
        place.start(&store, seed, |_| Fault::None).write(u128::from(seed), &[("z", "2")]).await;
        assert_eq!(count(&lines, "is passed over"), 1);
        let _ = fs::remove_dir(place.journal());
    }
    fs::write(place.journal(), &whole).unwrap();
    place.start(&store, 5, |_| Fault::None).session.applied().await;
    assert_eq!(stored(&store, "a").as_deref(), Some("1"));
}

/// No room, no permission, no directory: one warning, and transactions go on.
#[tokio::test(start_paused = true)]
async fn a_journal_that_cannot_be_written_is_said_once_and_stops_nobody() {
    let (store, place) = (Memory::new(), Place::new());
    let spoil: [&dyn Fn(&Path); 3] = [
        &|directory| fs::create_dir(directory.join("control.sock.new")).unwrap(),
        &|directory| fs::remove_dir_all(directory).unwrap(),
        &|directory| fs::write(directory, "not a directory").unwrap(),
    ];
    for (seed, spoil) in (1..).zip(spoil) {
        spoil(&place.0);
        let (_guard, lines) = listen();
        let sandbox = place.start(&store, seed, |_| Fault::None);
        for transaction in 0..3 {
            sandbox.write(u128::from(10 * seed + transaction), &[("a", "1")]).await;
        }
        assert_eq!(count(&lines, "cannot be kept"), 1);
        assert_eq!(store.all_records().len(), usize::try_from(3 * seed).unwrap());
    }
    fs::remove_file(&place.0).unwrap();
}

/// Nothing is noted before a snapshot is taken, so a restored sandbox finds nothing of another's; what it notes is its own.
#[tokio::test(start_paused = true)]
async fn a_restored_sandbox_has_a_journal_of_its_own() {
    let (store, place) = (Memory::new(), Place::new());
    let restored = place.start(&store, 1, |call| if is_apply(call) { Fault::HangBefore } else { Fault::None });
    assert!(!place.journal().exists(), "the snapshot has none");
    let before = restored.session.sandbox();
    restored.session.restore();
    let name = restored.session.sandbox();
    restored.begin(1).await;
    restored.put(1, "a", "1");
    assert!(matches!(restored.commit(1, "ok").await, CommitResult::Unknown(ErrorCode::NotVisible, _)));
    let journal = fs::read_to_string(place.journal()).unwrap();
    assert!(journal.contains(&name.to_string()) && !journal.contains(&before.to_string()), "{journal}");
    place.start(&store, 2, |_| Fault::None).session.applied().await;
    assert_eq!(store.head_of(&k("a")).current.version, store.all_records()[0].version);
}

/// Many unknown outcomes do not make a large file: the oldest are left to others.
#[tokio::test(start_paused = true)]
async fn the_journal_is_bounded() {
    let (store, place) = (Memory::new(), Place::new());
    let lossy = place.start(&store, 1, |call| if is_commit(call) { Fault::HangAfter } else { Fault::None });
    for transaction in 1..=12 {
        lossy.begin(transaction).await;
        lossy.put(transaction, "a", "1");
        assert!(matches!(lossy.commit(transaction, "ok").await, CommitResult::Unknown(..)));
    }
    assert_eq!(fs::read_to_string(place.journal()).unwrap().lines().count(), 1 + 8 + 1);
    let mode = fs::metadata(place.journal()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let next = place.start(&store, 2, |_| Fault::None);
    next.session.applied().await;
    assert_eq!(next.count(is_look_up), 8);
    assert_eq!(store.head_of(&k("a")).current.version, store.all_records()[11].version);
}
