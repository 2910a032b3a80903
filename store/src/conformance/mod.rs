//! What every store must pass. An engine's test names a store, and [`crate::conformance!`] makes one test per case:
//!
//! ```text
//! mod memory {
//!     aft_store::conformance!(async { aft_store::memory::Memory::new() });
//! }
//! ```
//!
//! | file | what |
//! |---|---|
//! | [`heads`] | how heads move and what they keep |
//! | [`records`] | that there is one record per transaction, whole, whatever its size |
//! | [`steps`] | that a commit with terms is taken whole or not at all, and that a validation looks at one moment |
//! | [`claims`] | that one invocation at a time holds a transaction's claim |
//!
//! Cases may share a store, run at the same time, and leave what they wrote; each has keys and transactions of its own.
//! A store that keeps its data must be empty when the suite starts.

use std::collections::BTreeSet;
use std::error::Error;
use std::sync::atomic::{AtomicU64, Ordering};

use aft_protocol::head::{Cowritten, Entry, Head, Keep, Move};
use aft_protocol::id::{Fingerprint, Nonce, RequestId, SandboxId, Scope, TransactionId};
use aft_protocol::key::{InvalidKey, Key};
use aft_protocol::record::{CommitRecord, Response, Writes};
use aft_protocol::value::{ContentType, Value, ValueTooLarge};
use aft_protocol::version::{Timestamp, Version};
use bytes::Bytes;

use crate::{Store, StoreError};

pub mod claims;
pub mod heads;
pub mod records;
pub mod steps;

/// Why a case could not be played to its end.
type Fault = Box<dyn Error + Send + Sync>;

/// How a case ends; that something is not as it must be is a panic.
pub type Outcome = Result<(), Box<dyn Error + Send + Sync>>;

/// Of every record and tombstone in here, in seconds since the epoch: in the year 2100.
const EXPIRES_AT_SECONDS: u64 = 4_102_444_800;

/// Makes one test of each case. `$store` is a future that gives the store under test; it is evaluated once per case.
#[macro_export]
macro_rules! conformance {
    ($store:expr) => {
        $crate::conformance! { @cases $store;
            heads {
                the_probe_finds_a_usable_store
                a_key_that_was_never_written_has_an_absent_head
                a_head_moves_forward_only
                a_head_keeps_its_history
                a_previous_version_is_left_to_its_record_only_if_that_is_there
                writes_that_arrive_out_of_order_end_at_the_newest
                versions_of_one_instant_are_ordered_by_transaction
                the_zero_version_is_never_applied
                a_deleted_key_keeps_a_tombstone
                values_and_content_types_are_kept_byte_for_byte
                keys_are_any_text
                cowritten_lists_are_kept
                concurrent_applies_end_at_the_newest
                a_hundred_heads_are_read_at_once
                more_than_a_hundred_heads_are_read_too
                the_largest_head_fits
                more_bytes_than_one_answer_holds_are_read_too
            }
            records {
                a_transaction_that_never_committed_has_no_record
                a_record_is_kept_whole
                a_record_of_nothing_is_kept
                the_first_commit_wins_and_the_second_gets_its_record
                a_commit_that_is_tried_again_finds_itself
                of_concurrent_commits_exactly_one_wins
                a_long_response_and_large_values_are_kept
                the_largest_transaction_is_kept
                many_long_keys_are_kept
                a_loser_does_not_disturb_the_winners_overflow
                many_records_are_read_at_once
            }
            steps {
                a_step_writes_the_record_and_moves_every_head
                a_step_leaves_other_heads_alone
                a_step_of_checks_alone_is_taken
                a_guard_that_does_not_hold_refuses_the_whole_step
                what_was_read_as_deleted_and_is_forgotten_has_changed
                an_unread_head_that_is_newer_refuses_the_whole_step
                a_guarded_head_moves_forward_only
                a_step_leaves_a_previous_version_to_its_record_only_if_that_is_there
                an_existing_record_comes_before_every_obstacle
                a_step_that_is_tried_again_finds_itself
                a_refused_step_is_taken_later
                a_step_takes_ninety_nine_keys
                the_largest_step_is_taken
                of_concurrent_steps_over_one_version_exactly_one_wins
                of_concurrent_steps_of_one_transaction_exactly_one_wins
                concurrent_transfers_keep_the_sum
                a_validation_never_holds_over_half_of_a_step
                heads_that_are_read_at_once_are_never_half_of_a_step
                heads_are_read_at_once_as_they_are
                a_validation_names_what_has_changed
                ninety_nine_keys_are_validated
                the_most_that_may_be_read_is_checked_and_validated
            }
            claims {
                a_claim_is_held_by_one_owner_and_kept_by_it
                an_expired_claim_is_free
                a_released_claim_is_free
                anothers_claim_is_not_released
                of_concurrent_claims_exactly_one_is_taken
                claims_and_records_leave_each_other_alone
            }
        }
    };
    (@cases $store:expr; $($group:ident { $($case:ident)* })*) => {
        $($(
            #[tokio::test]
            async fn $case() {
                let store = $store.await;
                let world = $crate::conformance::World::new(store, stringify!($case));
                $crate::conformance::$group::$case(&world).await.unwrap();
            }
        )*)*
    };
}

/// A store, and a case's own names in it.
#[derive(Debug)]
pub struct World<S> {
    store: S,
    case: &'static str,
    nonces: AtomicU64,
}

impl<S: Store> World<S> {
    /// The world of one case.
    pub const fn new(store: S, case: &'static str) -> Self {
        Self { store, case, nonces: AtomicU64::new(1) }
    }

    /// Another one every time, and none of another case's: DynamoDB takes it for the name of a step.
    fn nonce(&self) -> Nonce {
        let case = u128::from(self.transaction(0).low_bits()) << 64;
        Nonce::from_bits(case | u128::from(self.nonces.fetch_add(1, Ordering::Relaxed)))
    }

    fn key(&self, name: &str) -> Result<Key, InvalidKey> {
        Key::new(format!("{}/{name}", self.case))
    }

    /// The longest key that there is.
    fn longest_key(&self, name: &str) -> Result<Key, InvalidKey> {
        let short = format!("{}/{name}", self.case);
        let filler = "k".repeat(aft_protocol::limits::KEY_BYTES - short.len());
        Key::new(short + &filler)
    }

    fn transaction(&self, number: u64) -> TransactionId {
        let request = RequestId::new(number.to_string());
        TransactionId::for_request(&Scope::new(self.case), &request, Fingerprint::of(b"{}"))
    }

    /// The version that this case's transaction `number` commits at that time.
    fn version(&self, number: u64) -> Version {
        Version::new(Timestamp::from_micros(number), self.transaction(number))
    }

    /// What this case's transaction `number` writes to a key, and nothing else.
    fn entry(&self, number: u64) -> Result<Entry, ValueTooLarge> {
        let value = text(&format!("value {number}"))?;
        let (version, record_expires_at_seconds) = (self.version(number), EXPIRES_AT_SECONDS);
        Ok(Entry { version, value: Some(value), cowritten: Cowritten::none(), record_expires_at_seconds })
    }

    fn record(&self, number: u64, writes: Writes, body: impl Into<Bytes>) -> CommitRecord {
        CommitRecord {
            version: self.version(number),
            nonce: self.nonce(),
            writes,
            response: Response { content_type: Some("application/json".to_owned()), body: body.into() },
            fingerprint: Fingerprint::of(b"{}"),
            origin: format!("conformance {} {number}", self.case),
            sandbox: SandboxId::from_bits(7),
            applied_through: Version::ZERO,
            expires_at_seconds: EXPIRES_AT_SECONDS,
        }
    }

    async fn head(&self, key: &Key) -> Result<Head, StoreError> {
        let mut heads = self.store.heads(&BTreeSet::from([key.clone()])).await?;
        assert_eq!(heads.len(), 1, "one entry per key");
        Ok(heads.remove(key).unwrap_or_else(|| panic!("no entry for {key:?} but {heads:?}")))
    }

    async fn apply(&self, key: &Key, entry: &Entry) -> Result<crate::Applied, StoreError> {
        self.store.apply(key, entry, Keep::Inline).await
    }

    async fn stored(&self, transaction: TransactionId) -> Result<Option<CommitRecord>, StoreError> {
        let mut records = self.store.records(&BTreeSet::from([transaction])).await?;
        assert_eq!(records.len(), 1, "one entry per transaction");
        Ok(records.remove(&transaction).unwrap_or_else(|| panic!("no entry for {transaction} but {records:?}")))
    }
}

/// What a head is after a move that keeps the previous version inline.
fn moved(head: Head, entry: Entry) -> Head {
    match head.moved_to(entry, Keep::Inline) {
        Move::To(moved) => *moved,
        Move::NotNewer | Move::RecordExpires => head,
    }
}

fn text(text: &str) -> Result<Value, ValueTooLarge> {
    Value::new(text.to_owned(), ContentType::default())
}

/// Bytes that do not compress and do not repeat soon, the same for the same seed.
fn noise(len: usize, seed: u64) -> Bytes {
    let mut random = Random(seed);
    (0..len).map(|_| random.next().to_le_bytes()[0]).collect()
}

/// A multiplicative generator (Steele and Vigna, *Computationally easy, spectrally good multipliers*, 2021): a case is
/// the same every time.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(0xd134_2543_de82_ef95).wrapping_add(1);
        self.0 >> 32
    }

    /// From 0 to `bound` - 1.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn shuffle<T>(&mut self, items: &mut [T]) {
        for end in (1..items.len()).rev() {
            let other = usize::try_from(self.below(end as u64 + 1)).unwrap_or(0);
            items.swap(end, other);
        }
    }
}
