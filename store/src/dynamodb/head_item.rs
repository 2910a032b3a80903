//! Heads: the data table's layout and the one update that moves a head.
//!
//! | attribute | what |
//! |---|---|
//! | `k` S | the key |
//! | `v` B or NULL, `ct` S | value and content type; NULL and empty where the key is deleted |
//! | `t` S | version; its text sorts like the version |
//! | `w` L of S, or BOOL | the other keys that the transaction wrote; TRUE: the commit record has them |
//! | `e` N | when that record may be gone, in seconds since the epoch |
//! | `pt` S | the previous version; empty where the key did not exist |
//! | `pv` `pct` `pw` `pe` | the rest of it; not there: the commit record has it |
//! | `h1` … `h4` S | older versions, newest first |
//! | `x` N | TTL, on tombstones only |
//!
//! The attributes are flat because the right-hand sides of one SET all read the old item: one conditional update is a
//! shift register. Whether it keeps the previous value is `aft_protocol::head`'s to say; `limits` make two values and all
//! else fit one item.

use std::sync::Arc;

use aft_protocol::head::{Cowritten, Entry, Head, Keep, Previous};
use aft_protocol::key::Key;
use aft_protocol::version::Version;
use aws_sdk_dynamodb::types::AttributeValue;

use super::attribute::{self, Fields, Item, Malformed, number, string};
use super::request::Update;

/// R-COMMIT-5. An item without a version is another program's: it is left as it is, and reported.
const IF_NEWER: &str = "attribute_not_exists(k) OR t < :t";
/// The same, and what is taken the place of can be read from its record for long enough.
const IF_NEWER_AND_RECORDED: &str = "attribute_not_exists(k) OR (t < :t AND e > :until)";

/// R-SER-1. The version in a head never comes back once it is gone.
const IF_AT: &str = "t = :read";
/// The same for a head that moves: forward, as always (R-COMMIT-5).
const IF_AT_AND_NEWER: &str = "t = :read AND t < :t";
const IF_AT_AND_RECORDED: &str = "t = :read AND t < :t AND e > :until";
const IF_ABSENT: &str = "attribute_not_exists(k)";

const SHIFT: &str = "SET pt = if_not_exists(t, :empty), h1 = if_not_exists(pt, :empty), h2 = if_not_exists(h1, :empty), \
    h3 = if_not_exists(h2, :empty), h4 = if_not_exists(h3, :empty), v = :v, ct = :ct, t = :t, w = :w, e = :e";
const KEEP: &str = ", pv = if_not_exists(v, :null), pct = if_not_exists(ct, :empty), pw = if_not_exists(w, :none), \
    pe = if_not_exists(e, :zero)";
const LEAVE: &str = " REMOVE pv, pct, pw, pe";

/// A key's place in the data table.
pub(super) fn key(key: &Key) -> Item {
    Item::from([("k".to_owned(), string(key.as_str()))])
}

/// When a head moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum If {
    /// If what it moves to is newer (R-COMMIT-5).
    Newer,
    /// If it is at exactly this version; zero: if there is none.
    At(Version),
}

/// The condition that a key is at this version, and its values.
pub(super) fn is_at(version: Version) -> (&'static str, Option<Item>) {
    if version.is_zero() {
        return (IF_ABSENT, None);
    }
    (IF_AT, Some(Item::from([(":read".to_owned(), attribute::version(version))])))
}

/// The update that moves a head to `entry`.
pub(super) fn moving(entry: &Entry, keep: Keep, only: If) -> Update {
    let (value, content_type) = attribute::value_and_type(entry.value.as_ref());
    let mut values = Item::from([
        (":empty".to_owned(), string("")),
        (":v".to_owned(), value),
        (":ct".to_owned(), content_type),
        (":t".to_owned(), attribute::version(entry.version)),
        (":w".to_owned(), cowritten(&entry.cowritten)),
        (":e".to_owned(), number(entry.record_expires_at_seconds)),
    ]);
    let (mut set, mut remove) = (SHIFT.to_owned(), String::new());
    if let If::At(version) = only
        && !version.is_zero()
    {
        values.insert(":read".to_owned(), attribute::version(version));
    }
    // Nothing comes before the first version: it takes no room, and has no record.
    let keep = if only == If::At(Version::ZERO) { Keep::Inline } else { keep };
    let condition = match keep {
        Keep::Inline => {
            set += KEEP;
            let none =
                [(":null", AttributeValue::Null(true)), (":none", AttributeValue::L(Vec::new())), (":zero", number(0))];
            values.extend(none.map(|(name, value)| (name.to_owned(), value)));
            match only {
                If::Newer => IF_NEWER,
                If::At(Version::ZERO) => IF_ABSENT,
                If::At(_) => IF_AT_AND_NEWER,
            }
        }
        Keep::InRecord { until_seconds } => {
            remove += LEAVE;
            values.insert(":until".to_owned(), number(until_seconds));
            if only == If::Newer { IF_NEWER_AND_RECORDED } else { IF_AT_AND_RECORDED }
        }
    };
    if entry.value.is_some() {
        remove += if remove.is_empty() { " REMOVE x" } else { ", x" };
    } else {
        set += ", x = :x";
        values.insert(":x".to_owned(), number(entry.tombstone_expires_at_seconds()));
    }
    Update { expression: set + &remove, condition, values }
}

fn cowritten(cowritten: &Cowritten) -> AttributeValue {
    match cowritten {
        Cowritten::Keys(keys) => AttributeValue::L(keys.iter().map(|key| string(key.as_str())).collect()),
        Cowritten::InRecord => AttributeValue::Bool(true),
    }
}

/// The key and the head that an item holds.
pub(super) fn decode(item: Item) -> Result<(Key, Head), Malformed> {
    let mut fields = Fields::new(item);
    let text = fields.text("k")?;
    let key = Key::new(text.as_str())?;
    let head = decode_head(&mut fields).map_err(|error| error.of(&text))?;
    Ok((key, head))
}

fn decode_head(fields: &mut Fields) -> Result<Head, Malformed> {
    if !fields.has("t") {
        return Err(Malformed::NotOurs);
    }
    let current = entry(fields, &CURRENT)?;
    if current.version.is_zero() {
        return Err(Malformed::Zero);
    }
    Ok(Head {
        current,
        previous: previous(fields)?,
        older: [fields.version("h1")?, fields.version("h2")?, fields.version("h3")?, fields.version("h4")?],
    })
}

/// The names of an entry's attributes.
struct Names {
    value: &'static str,
    content_type: &'static str,
    version: &'static str,
    cowritten: &'static str,
    expires: &'static str,
}

const CURRENT: Names = Names { value: "v", content_type: "ct", version: "t", cowritten: "w", expires: "e" };
const PREVIOUS: Names = Names { value: "pv", content_type: "pct", version: "pt", cowritten: "pw", expires: "pe" };

fn previous(fields: &mut Fields) -> Result<Previous, Malformed> {
    if fields.has(PREVIOUS.value) {
        return Ok(Previous::Inline(entry(fields, &PREVIOUS)?));
    }
    let version = fields.version(PREVIOUS.version)?;
    Ok(if version.is_zero() { Previous::Inline(Entry::absent()) } else { Previous::InRecord(version) })
}

fn entry(fields: &mut Fields, names: &Names) -> Result<Entry, Malformed> {
    Ok(Entry {
        version: fields.version(names.version)?,
        value: fields.value(names.value, names.content_type)?,
        cowritten: match fields.take(names.cowritten)? {
            AttributeValue::L(list) => Cowritten::Keys(Arc::new(attribute::keys(names.cowritten, list)?)),
            AttributeValue::Bool(true) => Cowritten::InRecord,
            _ => return Err(Malformed::Type { name: names.cowritten, expected: "a list of strings, or TRUE" }),
        },
        record_expires_at_seconds: fields.number(names.expires)?,
    })
}

/// The version of the head in an item.
pub(super) fn version(item: Item) -> Result<Version, Malformed> {
    let mut fields = Fields::new(item);
    let key = fields.text("k")?;
    let version = if fields.has("t") { fields.version("t") } else { Err(Malformed::NotOurs) };
    version.map_err(|error| error.of(&key))
}
