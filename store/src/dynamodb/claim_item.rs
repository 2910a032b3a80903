//! Claims: an item of the transaction table with `part` = `claim`, beside the record that it is about.
//!
//! | attribute | what |
//! |---|---|
//! | `id` S | the transaction |
//! | `o` S | who holds the claim; empty: nobody any more |
//! | `x` N | from when on it counts no more, which is also its TTL |
//!
//! A claim is given back by emptying it: the function's role needs no permission to delete for that, and TTL does the rest.

use aft_protocol::claim::Claim;

use super::attribute::{Item, number, string};
use super::record_item;

/// Nobody holds it, or the taker does.
pub(super) const IF_FREE: &str = "attribute_not_exists(id) OR x < :now OR o = :nobody OR o = :owner";

/// The giver holds it. A claim that is not there (TTL) may be emptied too: so the refusal always has its item.
pub(super) const IF_HELD: &str = "attribute_not_exists(id) OR o = :owner";

/// A claim's item.
pub(super) fn taken(claim: &Claim) -> Item {
    item(claim, claim.owner.as_str())
}

/// The item of a claim that is given back.
pub(super) fn emptied(claim: &Claim) -> Item {
    item(claim, "")
}

fn item(claim: &Claim, owner: &str) -> Item {
    let mut item = record_item::place(claim.transaction, "claim".to_owned());
    item.insert("o".to_owned(), string(owner));
    item.insert("x".to_owned(), number(claim.expires_at_seconds));
    item
}

/// The values of [`IF_FREE`].
pub(super) fn free(claim: &Claim, now_seconds: u64) -> Item {
    let mut values = held(claim);
    values.insert(":now".to_owned(), number(now_seconds));
    values.insert(":nobody".to_owned(), string(""));
    values
}

/// The values of [`IF_HELD`].
pub(super) fn held(claim: &Claim) -> Item {
    Item::from([(":owner".to_owned(), string(claim.owner.as_str()))])
}
