//! Commit records: the transaction table's layout, and what overflows into chunks.
//!
//! The record is the item with `part` = `commit`; its conditional write is the commit (R-COMMIT-2):
//!
//! | attribute | what |
//! |---|---|
//! | `id` S | the transaction |
//! | `t` S, `n` S | version; nonce of the try that wrote the record |
//! | `w` M | key → `v` B or NULL, `ct` S: everything the transaction wrote |
//! | `r` B, `rct` S | the response; its content type, if it has one |
//! | `fingerprint`, `origin`, `sandbox` S | what was asked, by whom, who committed |
//! | `applied` S | every transaction of that sandbox up to this version is applied (R-FM-2) |
//! | `chunks` N | how many chunks go on where `w` and `r` end |
//! | `x` N | TTL |
//!
//! A chunk has `part` = `chunk#NONCE#NNNN`, more of `w`, more of `r`, and a TTL. Chunks are written before the record. The
//! nonce is in their name because two tries to commit the same transaction may run at once, and the loser must not
//! overwrite what the winner's record names; the loser's chunks are found by nobody and expire.

use std::collections::BTreeMap;

use aft_protocol::id::TransactionId;
use aft_protocol::key::Key;
use aft_protocol::record::{CommitRecord, Response};
use aft_protocol::value::Value;
use aws_sdk_dynamodb::types::AttributeValue;
use bytes::Bytes;

use super::attribute::{self, Fields, Item, Malformed, binary, number, string};

/// R-COMMIT-2: at most one record per transaction.
pub(super) const IF_ABSENT: &str = "attribute_not_exists(id)";

/// Chunks outlive their record by this: DynamoDB deletes expired items within days and in any order, and a record whose
/// chunks are gone could not be read.
const CHUNK_MARGIN_SECONDS: u64 = 7 * 24 * 60 * 60;

/// What one write takes in an item besides key, value and content type: a map entry that holds a map of `v` and `ct`
/// (DynamoDB developer guide, item sizes).
const WRITE_OVERHEAD_BYTES: usize = 1 + 3 + 1 + "v".len() + 1 + "ct".len();

/// What one item holds of a record's writes and response.
#[derive(Debug, Default)]
pub(super) struct Part<'a> {
    writes: Vec<(&'a Key, Option<&'a Value>)>,
    response: &'a [u8],
}

/// Distributes writes and response over items of at most `limit_bytes` each: the record's own, then its chunks.
pub(super) fn split(record: &CommitRecord, limit_bytes: usize) -> (Part<'_>, Vec<Part<'_>>) {
    let mut full = Vec::new();
    let mut part = Part::default();
    let mut room = limit_bytes;
    for (key, value) in &record.writes {
        let size = size(key, value.as_ref());
        if size > room {
            full.push(std::mem::take(&mut part));
            room = limit_bytes;
        }
        part.writes.push((key, value.as_ref()));
        room = room.saturating_sub(size);
    }
    let mut response: &[u8] = &record.response.body;
    while response.len() > room {
        (part.response, response) = response.split_at(room);
        full.push(std::mem::take(&mut part));
        room = limit_bytes;
    }
    part.response = response;
    full.push(part);
    let chunks = full.split_off(1);
    (full.pop().unwrap_or_default(), chunks)
}

fn size(key: &Key, value: Option<&Value>) -> usize {
    let value = value.map_or(0, |value| value.bytes().len() + value.content_type().as_str().len());
    key.as_str().len() + value + WRITE_OVERHEAD_BYTES
}

/// A record's place in the transaction table.
pub(super) fn key(transaction: TransactionId) -> Item {
    place(transaction, "commit".to_owned())
}

/// Where a part of a transaction is.
pub(super) fn place(transaction: TransactionId, part: String) -> Item {
    Item::from([("id".to_owned(), string(transaction.to_string())), ("part".to_owned(), string(part))])
}

/// The record's own item.
pub(super) fn encode(record: &CommitRecord, own: &Part<'_>, chunks: usize) -> Item {
    let mut item = key(record.transaction());
    put_part(&mut item, own);
    let mut put = |name: &str, value| item.insert(name.to_owned(), value);
    put("t", attribute::version(record.version));
    put("n", string(record.nonce.to_string()));
    put("fingerprint", string(record.fingerprint.to_string()));
    put("origin", string(record.origin.as_str()));
    put("sandbox", string(record.sandbox.to_string()));
    put("applied", attribute::version(record.applied_through));
    put("chunks", number(chunks as u64));
    put("x", number(record.expires_at_seconds));
    if let Some(content_type) = &record.response.content_type {
        put("rct", string(content_type.as_str()));
    }
    item
}

/// The item of chunk `index`, from 0.
pub(super) fn chunk(record: &CommitRecord, index: usize, part: &Part<'_>) -> Item {
    let mut item = place(record.transaction(), chunk_name(record, index));
    put_part(&mut item, part);
    item.insert("x".to_owned(), number(record.expires_at_seconds + CHUNK_MARGIN_SECONDS));
    item
}

fn chunk_name(record: &CommitRecord, index: usize) -> String {
    format!("chunk#{}#{index:04}", record.nonce)
}

fn put_part(item: &mut Item, part: &Part<'_>) {
    let write = |(key, value): &(&Key, Option<&Value>)| {
        let (value, content_type) = attribute::value_and_type(*value);
        let write = Item::from([("v".to_owned(), value), ("ct".to_owned(), content_type)]);
        (key.as_str().to_owned(), AttributeValue::M(write))
    };
    item.insert("w".to_owned(), AttributeValue::M(part.writes.iter().map(write).collect()));
    item.insert("r".to_owned(), binary(part.response));
}

/// A record whose own item is decoded and whose chunks are awaited.
#[derive(Debug, Clone)]
pub(super) struct Partial {
    record: CommitRecord,
    awaited: BTreeMap<String, usize>,
    response: Vec<Bytes>,
}

impl Partial {
    /// Decodes a record's own item.
    pub(super) fn decode(item: Item) -> Result<Self, Malformed> {
        let mut fields = Fields::new(item);
        let id = fields.text("id")?;
        Self::decode_fields(&mut fields, &id).map_err(|error| error.of(&id))
    }

    fn decode_fields(fields: &mut Fields, id: &str) -> Result<Self, Malformed> {
        let content_type = if fields.has("rct") { Some(fields.text("rct")?) } else { None };
        let body = fields.bytes("r")?;
        let record = CommitRecord {
            version: fields.written_version("t")?,
            nonce: fields.id("n")?,
            writes: BTreeMap::new(),
            response: Response { content_type, body: Bytes::new() },
            fingerprint: fields.id("fingerprint")?,
            origin: fields.text("origin")?,
            sandbox: fields.id("sandbox")?,
            applied_through: fields.version("applied")?,
            expires_at_seconds: fields.number("x")?,
        };
        if record.transaction() != id.parse()? {
            return Err(Malformed::OtherTransaction);
        }
        let chunks: u16 = fields.number("chunks")?;
        let awaited = (0..chunks.into()).map(|index| (chunk_name(&record, index), index)).collect();
        let mut response = vec![Bytes::new(); usize::from(chunks) + 1];
        response[0] = body;
        let mut partial = Self { record, awaited, response };
        partial.add_writes(fields)?;
        Ok(partial)
    }

    /// The record as far as its own item tells: all of it but writes and response that are in awaited chunks.
    pub(super) fn so_far(&self) -> &CommitRecord {
        &self.record
    }

    /// Whether no chunk is awaited.
    pub(super) fn is_whole(&self) -> bool {
        self.awaited.is_empty()
    }

    /// Where the awaited chunks are.
    pub(super) fn chunk_keys(&self) -> Vec<Item> {
        self.awaited.keys().map(|name| place(self.record.transaction(), name.clone())).collect()
    }

    /// What the awaited chunks are called.
    #[cfg(feature = "testing")]
    pub(super) fn chunk_parts(&self) -> Vec<String> {
        self.awaited.keys().cloned().collect()
    }

    /// Adds a chunk.
    pub(super) fn add(&mut self, item: Item) -> Result<(), Malformed> {
        let mut fields = Fields::new(item);
        let name = fields.text("part")?;
        self.add_chunk(&mut fields, &name).map_err(|error| error.of(&format!("{} {name}", self.record.transaction())))
    }

    fn add_chunk(&mut self, fields: &mut Fields, name: &str) -> Result<(), Malformed> {
        let index = self.awaited.remove(name).ok_or(Malformed::NotNamed)?;
        self.response[index + 1] = fields.bytes("r")?;
        self.add_writes(fields)
    }

    fn add_writes(&mut self, fields: &mut Fields) -> Result<(), Malformed> {
        for (key, write) in fields.map("w")? {
            let AttributeValue::M(write) = write else {
                return Err(Malformed::Type { name: "w", expected: "a map of maps" });
            };
            let (key, value) = (Key::new(key)?, Fields::new(write).value("v", "ct")?);
            if self.record.writes.insert(key.clone(), value).is_some() {
                return Err(Malformed::WrittenTwice(key));
            }
        }
        Ok(())
    }

    /// The record, if every chunk has come.
    pub(super) fn finish(mut self) -> Result<CommitRecord, Malformed> {
        if !self.awaited.is_empty() {
            let missing = Malformed::MissingChunks { missing: self.awaited.len(), named: self.response.len() - 1 };
            return Err(missing.of(&self.record.transaction().to_string()));
        }
        self.record.response.body = match self.response.as_slice() {
            [whole] => whole.clone(),
            pieces => pieces.concat().into(),
        };
        Ok(self.record)
    }
}

#[cfg(test)]
mod tests;
