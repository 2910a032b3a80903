//! Commit records that nobody asked for by name: in the transaction table's stream, or by a scan of the table.
//!
//! Both give a record's own item, which says whose it is, when it was written and what is settled before it (R-FM-2). Its
//! chunks, if it has any, are fetched only for a record that must be looked at.

use std::collections::HashMap;

use aft_protocol::record::CommitRecord;
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnConsumedCapacity};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::DynamoDb;
use super::attribute::{Item, Malformed, string};
use super::record_item::Partial;
use crate::StoreError;

/// A commit record as far as its own item tells.
#[derive(Debug, Clone)]
pub struct Found(Partial);

impl Found {
    /// The record, without writes and response that are in its chunks.
    #[must_use]
    pub fn so_far(&self) -> &CommitRecord {
        self.0.so_far()
    }

    /// Whether nothing is missing.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.0.is_whole()
    }
}

/// One of the parts that a scan is divided into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment {
    /// Which, from 0.
    pub index: i32,
    /// Of how many.
    pub of: i32,
}

/// How far a scan has come in its segment.
#[derive(Debug, Clone)]
pub struct Place(Item);

/// What one request of a scan found: DynamoDB reads 1 MB for it.
#[derive(Debug)]
pub struct Page {
    /// The commit records, and what is wrong with those that are not in this version's layout.
    pub found: Vec<Result<Found, StoreError>>,
    /// Where the segment goes on, if it does.
    pub next: Option<Place>,
    /// Items that were looked at: records, chunks and claims.
    pub items: u64,
    /// Read units that DynamoDB charged; `None` if it does not say.
    pub read_units: Option<f64>,
}

impl DynamoDb {
    /// Decodes a commit record from the new image in a record of the transaction table's stream, in DynamoDB's JSON.
    ///
    /// # Errors
    /// [`StoreError`] of kind `Malformed` if it is not one in this version's layout.
    pub fn found_in_stream(&self, image: &str) -> Result<Found, StoreError> {
        let item = item(image).map_err(|error| self.transactions.malformed("reading a stream record", error))?;
        self.decoded(item).map(Found)
    }

    /// Reads on in a segment of the transaction table, eventually consistent, and picks out the commit records. The read
    /// units are those of all items, whole: DynamoDB charges for what it reads, not for what it returns.
    ///
    /// # Errors
    /// [`StoreError`] if the request failed; the same call may be repeated.
    pub async fn scan_records(&self, segment: Segment, from: Option<&Place>) -> Result<Page, StoreError> {
        let table = &self.transactions;
        let request = self.client().scan().table_name(table.name());
        let answer = request
            .segment(segment.index)
            .total_segments(segment.of)
            .set_exclusive_start_key(from.map(|place| place.0.clone()))
            .filter_expression("#part = :commit")
            .expression_attribute_names("#part", "part")
            .expression_attribute_values(":commit", string("commit"))
            .return_consumed_capacity(ReturnConsumedCapacity::Total)
            .send()
            .await
            .map_err(|error| table.failure("Scan", error))?;
        Ok(Page {
            found: answer.items.into_iter().flatten().map(|item| self.decoded(item).map(Found)).collect(),
            next: answer.last_evaluated_key.map(Place),
            items: u64::try_from(answer.scanned_count).unwrap_or_default(),
            read_units: answer.consumed_capacity.and_then(|capacity| capacity.capacity_units),
        })
    }

    /// Fetches the chunks of a record, if it has any.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn whole(&self, found: &Found) -> Result<CommitRecord, StoreError> {
        self.with_chunks(found.0.clone()).await
    }

    /// About how many items the transaction table holds, for a progress bar: DynamoDB counts every six hours. `None` if
    /// it does not say, or the caller may not ask (`dynamodb:DescribeTable`).
    pub async fn items_about(&self) -> Option<u64> {
        let described = self.client().describe_table().table_name(self.transactions.name()).send().await;
        described.ok()?.table?.item_count.and_then(|count| u64::try_from(count).ok())
    }
}

/// An attribute value in DynamoDB's JSON, as streams and Lambda give it (DynamoDB API reference, `AttributeValue`): an
/// object whose one member is named after its type.
#[derive(Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub(super) enum Attribute {
    S(String),
    N(String),
    B(String),
    Bool(bool),
    Null(bool),
    L(Vec<Attribute>),
    M(HashMap<String, Attribute>),
    Ss(Vec<String>),
    Ns(Vec<String>),
    Bs(Vec<String>),
}

fn item(image: &str) -> Result<Item, Malformed> {
    map(serde_json::from_str(image)?)
}

pub(super) fn map(attributes: HashMap<String, Attribute>) -> Result<Item, Malformed> {
    attributes.into_iter().map(|(name, attribute)| Ok((name, value(attribute)?))).collect()
}

fn value(attribute: Attribute) -> Result<AttributeValue, Malformed> {
    Ok(match attribute {
        Attribute::S(text) => AttributeValue::S(text),
        Attribute::N(digits) => AttributeValue::N(digits),
        Attribute::B(text) => AttributeValue::B(blob(&text)?),
        Attribute::Bool(flag) => AttributeValue::Bool(flag),
        Attribute::Null(flag) => AttributeValue::Null(flag),
        Attribute::L(list) => AttributeValue::L(list.into_iter().map(value).collect::<Result<_, _>>()?),
        Attribute::M(attributes) => AttributeValue::M(map(attributes)?),
        Attribute::Ss(texts) => AttributeValue::Ss(texts),
        Attribute::Ns(numbers) => AttributeValue::Ns(numbers),
        Attribute::Bs(texts) => AttributeValue::Bs(texts.iter().map(|text| blob(text)).collect::<Result<_, _>>()?),
    })
}

fn blob(text: &str) -> Result<Blob, Malformed> {
    Ok(Blob::new(STANDARD.decode(text)?))
}

#[cfg(test)]
mod tests {
    use aws_sdk_dynamodb::primitives::Blob;
    use aws_sdk_dynamodb::types::AttributeValue;

    use super::item;

    #[test]
    fn every_type_of_attribute_is_read() {
        let image = r#"{
            "s": {"S": "text"}, "n": {"N": "-1.5"}, "b": {"B": "aGk="}, "t": {"BOOL": true}, "z": {"NULL": true},
            "l": {"L": [{"S": "a"}, {"NULL": true}]}, "m": {"M": {"v": {"B": ""}}},
            "ss": {"SS": ["a"]}, "ns": {"NS": ["1"]}, "bs": {"BS": ["aGk="]}
        }"#;
        let item = item(image).unwrap();
        let hi = Blob::new("hi");
        for (name, value) in [
            ("s", AttributeValue::S("text".to_owned())),
            ("n", AttributeValue::N("-1.5".to_owned())),
            ("b", AttributeValue::B(hi.clone())),
            ("t", AttributeValue::Bool(true)),
            ("z", AttributeValue::Null(true)),
            ("l", AttributeValue::L(vec![AttributeValue::S("a".to_owned()), AttributeValue::Null(true)])),
            ("m", AttributeValue::M([("v".to_owned(), AttributeValue::B(Blob::new("")))].into())),
            ("ss", AttributeValue::Ss(vec!["a".to_owned()])),
            ("ns", AttributeValue::Ns(vec!["1".to_owned()])),
            ("bs", AttributeValue::Bs(vec![hi])),
        ] {
            assert_eq!(item[name], value, "{name}");
        }
    }

    #[test]
    fn what_is_no_image_says_so() {
        for (image, why) in [
            ("[]", "DynamoDB's JSON"),
            (r#"{"a": "text"}"#, "DynamoDB's JSON"),
            (r#"{"a": {"X": "text"}}"#, "unknown variant"),
            (r#"{"a": {"S": "text", "N": "1"}}"#, "DynamoDB's JSON"),
            (r#"{"a": {"B": "no base64"}}"#, "not in base64"),
        ] {
            let error = item(image).unwrap_err().to_string();
            assert!(error.contains(why), "{image}: {error}");
        }
    }
}
