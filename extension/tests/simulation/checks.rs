//! What must hold of a history: of every read, of every answer, of every record, and of what is in the store at the end.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use aft_protocol::attempt::Seen;
use aft_protocol::head::Head;
use aft_protocol::id::TransactionId;
use aft_protocol::key::Key;
use aft_protocol::record::CommitRecord;
use aft_protocol::version::Version;
use aft_store::recovery::{Doing, Outcome, recover};
use aft_store::retry::Patience;
use tokio::time::Instant;

use super::World;
use super::history::{Attempted, Ended, History};
use super::support;
use super::support::ground::Ground;

impl<G: Ground> World<G> {
    /// R-READ-2: one's own write, or the version that was read before.
    pub fn check_read(&self, key: &Key, seen: &Seen, own: Option<&str>, reads: &mut BTreeMap<Key, Version>) {
        match seen {
            Seen::Written(value, _) => {
                assert_eq!(value.as_ref().map(support::text).as_deref(), own, "seed {}: read your writes", self.seed);
            }
            Seen::Read(entry) => {
                assert_eq!(own, None, "seed {}: an own write was not read", self.seed);
                let before = reads.insert(key.clone(), entry.version);
                let repeatable = before.is_none_or(|before| before == entry.version);
                assert!(repeatable, "seed {}: a read was not repeatable", self.seed);
            }
        }
    }

    /// Checks everything, and counts what only look-ups prevent and what only the fault manager finds.
    pub async fn check(&self) -> (usize, usize) {
        let records: BTreeMap<Version, CommitRecord> =
            self.ground.every_record().await.into_iter().map(|record| (record.version, record)).collect();
        let keys = records.values().flat_map(|record| record.writes.keys().cloned()).collect();
        let heads = self.ground.true_heads(&keys).await;
        let recovered = self.check_recovered(&records).await;
        let history = self.history.borrow();
        for attempted in &history.attempts {
            self.check_reads(attempted, &records);
        }
        self.check_exactly_once(&history, &records);
        self.check_applied(&heads, &records);
        let breaches: Vec<_> = history.breaches.iter().flat_map(|found| found.lock().unwrap().clone()).collect();
        assert_eq!(breaches, [], "seed {}: written before an earlier one was applied (R-FM-2)", self.seed);
        let misordered = misordered(&history, &records);
        assert!(!self.write_look_up || misordered.is_empty(), "seed {}: {misordered:?} (R-COMMIT-3)", self.seed);
        (misordered.len(), recovered)
    }

    /// R-READ-1 over the true write sets; and nothing is read that did not commit (R-READ-2, R-COMMIT-8).
    fn check_reads(&self, attempted: &Attempted, records: &BTreeMap<Version, CommitRecord>) {
        for (key, version) in attempted.reads.iter().filter(|(_, version)| !version.is_zero()) {
            let record = records.get(version).unwrap_or_else(|| panic!("seed {}: dirty read of {key:?}", self.seed));
            assert!(record.writes.contains_key(key), "seed {}", self.seed);
            for sibling in record.writes.keys() {
                let fractured = attempted.reads.get(sibling).is_some_and(|read| read < version);
                assert!(!fractured, "seed {}: fractured read of {key:?} and {sibling:?}: {attempted:?}", self.seed);
            }
        }
    }

    /// R-COMMIT-2, R-COMMIT-4, R-COMMIT-6: one answer a transaction, and it is true.
    fn check_exactly_once(&self, history: &History, records: &BTreeMap<Version, CommitRecord>) {
        let mut answers: BTreeMap<u128, BTreeSet<&str>> = BTreeMap::new();
        for attempted in &history.attempts {
            if let Ended::Answered(response) = &attempted.ended {
                answers.entry(attempted.transaction).or_default().insert(response);
            }
        }
        for (transaction, given) in answers {
            assert_eq!(given.len(), 1, "seed {}: {transaction} was answered in two ways: {given:?}", self.seed);
            let id = TransactionId::from_bits(transaction);
            let record = records.values().find(|record| record.transaction() == id);
            let record =
                record.unwrap_or_else(|| panic!("seed {}: {transaction} was acknowledged and is lost", self.seed));
            assert_eq!(Some(&*record.response.body), given.first().map(|text| text.as_bytes()), "seed {}", self.seed);
        }
        for record in records.values() {
            let response = String::from_utf8_lossy(&record.response.body);
            assert!(!history.refused.contains(&*response), "seed {}: {response} was called failed", self.seed);
        }
    }

    /// R-FM-2: of one sandbox's records, all but the last are applied.
    fn check_applied(&self, heads: &BTreeMap<Key, Head>, records: &BTreeMap<Version, CommitRecord>) {
        for record in records.values() {
            let earlier =
                records.values().filter(|other| other.sandbox == record.sandbox && other.version < record.version);
            for own in earlier {
                assert!(own.version <= record.applied_through, "seed {}: {:?} is not covered", self.seed, own.version);
                for key in own.writes.keys() {
                    assert!(
                        heads[key].current.version >= own.version,
                        "seed {}: {key:?} of {:?} is not applied",
                        self.seed,
                        own.version
                    );
                }
            }
        }
    }

    /// R-FM-1: once the fault manager has seen every record, in whatever order, every key is at the newest version that was
    /// committed of it, whoever died. Twice, and the second time there is nothing to do.
    async fn check_recovered(&self, records: &BTreeMap<Version, CommitRecord>) -> usize {
        let store = self.ground.truth();
        let shuffled: BTreeMap<_, _> = records.values().map(|record| (record.transaction(), record.clone())).collect();
        let found: Vec<_> = shuffled.into_values().collect();
        let mut recovered = 0;
        for is_done in [false, true] {
            let patience = Patience { until: Instant::now() + Duration::from_secs(60), random: &|| 0 };
            for outcome in recover(&store, &found, Doing::RollForward, support::EPOCH_SECONDS, patience).await {
                let was_behind = matches!(outcome, Outcome::RolledForward) && !is_done;
                assert!(was_behind || matches!(outcome, Outcome::Applied), "seed {}: {outcome:?}", self.seed);
                recovered += usize::from(was_behind);
            }
        }
        let keys = records.values().flat_map(|record| record.writes.keys().cloned()).collect();
        for (key, head) in self.ground.true_heads(&keys).await {
            let newest = records.values().rev().find_map(|record| record.entry(&key)).unwrap();
            let found = (head.current.version, head.current.value);
            assert_eq!(found, (newest.version, newest.value), "seed {}: {key:?} (R-FM-1)", self.seed);
        }
        recovered
    }
}

/// R-COMMIT-3: pairs of transactions that wrote a common key, the later one of which began after the earlier one was
/// acknowledged as visible, and got the smaller version all the same.
fn misordered(history: &History, records: &BTreeMap<Version, CommitRecord>) -> Vec<(Version, Version)> {
    let mut found = Vec::new();
    for earlier in records.values() {
        let Some(visible) = history.visible.get(&earlier.transaction()) else { continue };
        for later in records.range(..earlier.version).map(|(_, record)| record) {
            let response = String::from_utf8_lossy(&later.response.body);
            let began_after = history.began.get(&*response).is_some_and(|began| began > visible);
            if began_after && later.writes.keys().any(|key| earlier.writes.contains_key(key)) {
                found.push((earlier.version, later.version));
            }
        }
    }
    found
}
