//! Heads: the data table's layout and the one update that moves a head.
//!
//! | attribute | what |
//! |---|---|
//! | `k` S | the key |
//! | `v` B or NULL, `ct` S | value and content type; NULL and empty where the key is deleted |
//! | `t` S | version; its text sorts like the version |
//! | `w` L of S, or BOOL | the other keys that the transaction wrote; TRUE: the commit record has them |
//! | `pv` `pct` `pt` `pw` | the previous version; `pt` is empty where the key did not exist |
//! | `h1` … `h4` S | older versions, newest first |
//! | `x` N | TTL, on tombstones only |
//!
//! The attributes are flat because the right-hand sides of one SET all read the old item: one conditional update is a
//! shift register. The previous value is always carried; `limits` make two values and all else fit one item.

use std::sync::Arc;

use aft_protocol::head::{Cowritten, Entry, Head};
use aft_protocol::key::Key;
use aft_protocol::version::Version;
use aws_sdk_dynamodb::types::AttributeValue;

use super::attribute::{self, Fields, Item, Malformed, number, string};
use super::request::Update;

/// R-COMMIT-5. An item without a version is another program's: it is left as it is, and reported.
const IF_NEWER: &str = "attribute_not_exists(k) OR t < :t";

const SHIFT: &str = "SET pv = if_not_exists(v, :null), pct = if_not_exists(ct, :empty), pt = if_not_exists(t, :empty), \
    pw = if_not_exists(w, :none), h1 = if_not_exists(pt, :empty), h2 = if_not_exists(h1, :empty), \
    h3 = if_not_exists(h2, :empty), h4 = if_not_exists(h3, :empty), v = :v, ct = :ct, t = :t, w = :w";

/// A key's place in the data table.
pub(super) fn key(key: &Key) -> Item {
    Item::from([("k".to_owned(), string(key.as_str()))])
}

/// The update that moves a head to `entry`.
pub(super) fn moving(entry: &Entry, tombstone_expires_at_seconds: u64) -> Update {
    let (value, content_type) = attribute::value_and_type(entry.value.as_ref());
    let mut values = Item::from([
        (":null".to_owned(), AttributeValue::Null(true)),
        (":empty".to_owned(), string("")),
        (":none".to_owned(), AttributeValue::L(Vec::new())),
        (":v".to_owned(), value),
        (":ct".to_owned(), content_type),
        (":t".to_owned(), attribute::version(entry.version)),
        (":w".to_owned(), cowritten(&entry.cowritten)),
    ]);
    let expression = if entry.value.is_some() {
        format!("{SHIFT} REMOVE x")
    } else {
        values.insert(":x".to_owned(), number(tombstone_expires_at_seconds));
        format!("{SHIFT}, x = :x")
    };
    Update { expression, condition: IF_NEWER, values }
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
    Ok(Head {
        current: entry(fields, "v", "ct", "t", "w")?,
        previous: entry(fields, "pv", "pct", "pt", "pw")?,
        older: [fields.version("h1")?, fields.version("h2")?, fields.version("h3")?, fields.version("h4")?],
    })
}

fn entry(
    fields: &mut Fields,
    value: &'static str,
    content_type: &'static str,
    version: &'static str,
    cowritten: &'static str,
) -> Result<Entry, Malformed> {
    Ok(Entry {
        version: fields.version(version)?,
        value: fields.value(value, content_type)?,
        cowritten: match fields.take(cowritten)? {
            AttributeValue::L(list) => Cowritten::Keys(Arc::new(attribute::keys(cowritten, list)?)),
            AttributeValue::Bool(true) => Cowritten::InRecord,
            _ => return Err(Malformed::Type { name: cowritten, expected: "a list of strings, or TRUE" }),
        },
    })
}

/// The version of the head in an item.
pub(super) fn version(item: Item) -> Result<Version, Malformed> {
    let mut fields = Fields::new(item);
    let key = fields.text("k")?;
    let version = if fields.has("t") { fields.version("t") } else { Err(Malformed::NotOurs) };
    version.map_err(|error| error.of(&key))
}
