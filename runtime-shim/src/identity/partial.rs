//! Partial batch responses: a handler that answers without an error may still report records as failed, and Lambda delivers
//! them again. If they come again under the same name, as the same transaction, then this attempt has failed as far as that
//! transaction goes: recorded, its response would be the answer to every later delivery, and nothing would ever run again.

use serde::Deserialize;

/// A batch that the event source names in the same way when it delivers it again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// What a partial batch response calls the first record.
    first: String,
    records: usize,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Response {
    #[serde(default)]
    batch_item_failures: Vec<Failure>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Failure {
    #[serde(default)]
    item_identifier: Option<String>,
}

impl Batch {
    pub(super) fn new(first: impl Into<String>, records: usize) -> Self {
        Self { first: first.into(), records }
    }

    /// Whether this response makes Lambda deliver the whole batch again. A failure without an identifier is one of all
    /// records; a stream's batch is delivered again from its first failed record on, under another name unless that is
    /// the first.
    #[must_use]
    pub fn comes_again(&self, response: &[u8]) -> bool {
        let Ok(Response { batch_item_failures }) = serde_json::from_slice(response) else { return false };
        batch_item_failures.iter().any(|failure| match failure.item_identifier.as_deref() {
            None | Some("") => true,
            Some(identifier) => self.records == 1 || identifier == self.first,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Batch;

    #[test]
    fn a_batch_comes_again_if_its_first_record_failed() {
        let (one, three) = (Batch::new("a", 1), Batch::new("a", 3));
        for (response, of_one, of_three) in [
            (r#"{"batchItemFailures":[{"itemIdentifier":"a"}]}"#, true, true),
            (r#"{"batchItemFailures":[{"itemIdentifier":"c"},{"itemIdentifier":"a"}]}"#, true, true),
            (r#"{"batchItemFailures":[{"itemIdentifier":"b"}]}"#, true, false),
            (r#"{"batchItemFailures":[{"itemIdentifier":""}]}"#, true, true),
            (r#"{"batchItemFailures":[{"itemIdentifier":null}]}"#, true, true),
            (r#"{"batchItemFailures":[{}], "other": 1}"#, true, true),
            (r#"{"batchItemFailures":[]}"#, false, false),
            (r#"{"batchItemFailures":"a"}"#, false, false),
            ("{}", false, false),
            ("null", false, false),
            ("", false, false),
        ] {
            let found = (one.comes_again(response.as_bytes()), three.comes_again(response.as_bytes()));
            assert_eq!(found, (of_one, of_three), "{response}");
        }
    }
}
