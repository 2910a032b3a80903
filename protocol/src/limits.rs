//! Every size limit, in bytes unless the name says otherwise. `docs/limits.md` lists them; a test keeps the two equal.
//!
//! A DynamoDB item holds 400 KB (409,600 bytes) with its attribute names. A head holds two values and two cowritten
//! lists; a commit record that does not fit one item overflows into chunks.

/// Longest key, in bytes of UTF-8. DynamoDB allows 2,048 for a partition key.
pub const KEY_BYTES: usize = 1_024;
/// Largest value. A head carries the previous value too: 2 × 192 KiB and 16 KiB for all else make one item.
pub const VALUE_BYTES: usize = 192 * 1_024;
/// Longest content type.
pub const CONTENT_TYPE_BYTES: usize = 256;
/// Largest sum of keys and values that one transaction may buffer, and so write.
pub const TRANSACTION_BYTES: usize = 4 * 1_024 * 1_024;
/// Most keys that one transaction may write.
pub const TRANSACTION_KEYS: usize = 10_000;
/// Most keys that a commit checks or moves in one step: all that a serializable transaction reads or writes, and all that is
/// written under a precondition. DynamoDB takes 100 actions in one TransactWriteItems; the record is one.
pub const GUARDED_KEYS: usize = 99;
/// Largest sum of the items that a commit checks or moves in one step, each as it was read or as it is written, whichever is
/// larger. TransactWriteItems takes 4 MB: these, a commit record of up to 400 KB, what the heads hold besides (cowritten lists,
/// identifiers), and what room is left for previous versions.
pub const GUARDED_BYTES: usize = 3 * 1_024 * 1_024;
/// What one DynamoDB item may hold.
pub const ITEM_BYTES: usize = 400 * 1_024;
/// What one TransactWriteItems may write in all.
pub const STEP_BYTES: usize = 4 * 1_024 * 1_024;
/// Most bytes that all open transactions of a sandbox may buffer together.
pub const SANDBOX_BYTES: usize = 2 * TRANSACTION_BYTES;
/// Most bytes of values that an attempt keeps of what it has read; the least recently read are forgotten first, and
/// fetched again if they are asked for again.
pub const READ_SET_BYTES: usize = 8 * 1_024 * 1_024;
/// The same for all open transactions of a sandbox together.
pub const SANDBOX_READ_SET_BYTES: usize = 2 * READ_SET_BYTES;
/// Seconds: the oldest that a head out of the sandbox's cache may be, whatever `max-age` a request allows. R-READ-6
/// counts on it.
pub const STALENESS_SECONDS: u64 = 900;
/// Most explicit transactions open at the same time in a sandbox.
pub const OPEN_TRANSACTIONS: usize = 64;
/// Longest key of an explicit transaction.
pub const TRANSACTION_KEY_BYTES: usize = 1_024;
/// Longest scope of an explicit transaction.
pub const SCOPE_BYTES: usize = 256;
/// Largest response that an explicit transaction records.
pub const TRANSACTION_RESPONSE_BYTES: usize = 192 * 1_024;
/// Most keys in one batch request; DynamoDB's BatchGetItem takes as many.
pub const BATCH_KEYS: usize = 100;
/// Largest body of a batch request: a full transaction in base64 with its keys.
pub const BATCH_BODY_BYTES: usize = 8 * 1_024 * 1_024;
/// Largest response of a function: Lambda's 6 MiB and 100 bytes.
pub const RESPONSE_BYTES: usize = 6 * 1_024 * 1_024 + 100;
/// Longest origin (function and request, for people) that a record keeps; a longer one is cut.
pub const ORIGIN_BYTES: usize = 512;
/// Longest cowritten list that a head carries, as bytes of its keys, and that only where it costs no write unit; a longer one
/// is read from the commit record.
pub const COWRITTEN_BYTES: usize = 2 * 1_024;
/// A cowritten list of so many bytes (of its keys, and one for each) is in every head, also where it costs a write unit.
pub const COWRITTEN_FREE_BYTES: usize = 256;
/// How long a commit record must still be there for a head to leave its previous version to it, in seconds: the longest
/// invocation (900) that may read it, the staleness of what that has read, and the longest that an apply keeps trying.
pub const RECORD_NEEDED_SECONDS: u64 = 2 * 900 + STALENESS_SECONDS;
/// How much longer than its commit record a deleted key's head is kept, in seconds.
pub const TOMBSTONE_SECONDS: u64 = 24 * 60 * 60;
/// What a commit record's own item may hold of values and response; the rest goes to chunks of at most this size.
pub const RECORD_ITEM_BYTES: usize = 340 * 1_024;
