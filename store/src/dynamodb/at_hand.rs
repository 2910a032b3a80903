//! Heads and records in items that are at hand: what a simulation looks at to know the truth, without a request.

use std::collections::HashMap;

use aft_protocol::head::Head;
use aft_protocol::key::Key;
use aft_protocol::record::CommitRecord;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::attribute::{Item, Malformed};
use super::found::{self, Attribute};
use super::head_item;
use super::record_item::Partial;
use crate::{ErrorKind, StoreError};

/// What was read without a request.
const READING: &str = "reading an item at hand";

/// The head in an item.
pub(crate) fn head(image: &Map<String, Value>) -> Result<(Key, Head), StoreError> {
    item(image).and_then(head_item::decode).map_err(malformed)
}

/// The record in its own item, and in the chunks that it names, which are found by `id` and `part`.
pub(crate) fn record<'a>(
    image: &Map<String, Value>,
    chunk: impl Fn(&str, &str) -> Option<&'a Map<String, Value>>,
) -> Result<CommitRecord, StoreError> {
    let whole = || {
        let mut partial = Partial::decode(item(image)?)?;
        let id = partial.so_far().transaction().to_string();
        for part in partial.chunk_parts() {
            if let Some(image) = chunk(&id, &part) {
                partial.add(item(image)?)?;
            }
        }
        partial.finish()
    };
    whole().map_err(malformed)
}

fn item(image: &Map<String, Value>) -> Result<Item, Malformed> {
    found::map(HashMap::<String, Attribute>::deserialize(image)?)
}

fn malformed(error: Malformed) -> StoreError {
    StoreError::new(ErrorKind::Malformed, READING, error)
}
