//! Why DynamoDB does not do what it is asked, with its names and words (DynamoDB developer guide, "Error handling"; API
//! reference of each operation). What it might do but is not simulated is refused too, loudly: nothing is guessed.

use std::sync::Arc;

use serde_json::{Value, json};

use super::table::Stored;

/// A request, or one action of a transaction, that has no effect.
#[derive(Debug, Clone, thiserror::Error)]
pub(in crate::simulated) enum Refusal {
    #[error("Requested resource not found")]
    NoTable,
    #[error("Table already exists: {0}")]
    TableExists(String),
    #[error("The conditional request failed")]
    Condition(Option<Arc<Stored>>),
    #[error("Transaction is ongoing for the item")]
    InFlight,
    #[error("The token was used with other actions")]
    OtherActions,
    #[error("Transaction from previous request is still in progress")]
    InProgress,
    #[error(transparent)]
    Invalid(#[from] Invalid),
}

/// A request that DynamoDB would not even try.
#[derive(Debug, Clone, thiserror::Error)]
pub(in crate::simulated) enum Invalid {
    #[error("{what} is not simulated: {text}")]
    NotSimulated { what: &'static str, text: String },
    #[error("{0} is missing or not of its type")]
    Member(&'static str),
    #[error("The provided key element does not match the schema")]
    Key,
    #[error("One or more parameter values were invalid: Missing the key {0} in the item")]
    MissingKey(String),
    #[error(
        "One or more parameter values are not valid. The AttributeValue for a key attribute cannot contain an empty string \
         value. Key: {0}"
    )]
    EmptyKey(String),
    #[error(
        "One or more parameter values were invalid: Size of {name} has exceeded the maximum size limit of {limit} bytes"
    )]
    LongKey { name: String, limit: usize },
    #[error("Cannot update attribute {0}. This attribute is part of the key")]
    KeyUpdate(String),
    #[error("Supplied AttributeValue is not one of its type: {0}")]
    Value(String),
    #[error("Invalid expression: Syntax error; token: {token:?}, near: {text:?}")]
    Syntax { token: String, text: String },
    #[error("Invalid UpdateExpression: Two document paths overlap with each other: {0}")]
    Overlap(String),
    #[error("Invalid expression: An expression attribute name or value used in it is not defined: {0}")]
    Undefined(String),
    #[error("Value provided in {what} unused in expressions: keys: {{{key}}}")]
    Unused { what: &'static str, key: String },
    #[error("The provided expression refers to an attribute that does not exist in the item")]
    NoAttribute,
    #[error("An operand in the update expression has an incorrect data type")]
    NoNumber,
    #[error("Item size has exceeded the maximum allowed size")]
    LargeItem,
    #[error("Item size to update has exceeded the maximum allowed size")]
    LargeUpdate,
    #[error("Provided list of item keys contains duplicates")]
    DuplicateKeys,
    #[error("Transaction request cannot include multiple operations on one item")]
    OneItemTwice,
    #[error("Member must have length less than or equal to {limit}, and at least 1: {name}")]
    Count { name: &'static str, limit: usize },
    #[error(
        "Collection size of items exceeded, which can also be caused by the aggregate size of the items in the transaction \
         exceeding the 4MB limit"
    )]
    LargeTransaction,
    #[error("Payload in response is too large.{0}")]
    LargeAnswer(usize),
    #[error("TimeToLive is already enabled")]
    TtlEnabled,
}

impl Invalid {
    pub(super) fn not_simulated(what: &'static str, text: impl ToString) -> Self {
        Self::NotSimulated { what, text: text.to_string() }
    }
}

impl Refusal {
    fn kind(&self) -> &'static str {
        match self {
            Self::NoTable => "com.amazonaws.dynamodb.v20120810#ResourceNotFoundException",
            Self::TableExists(_) => "com.amazonaws.dynamodb.v20120810#ResourceInUseException",
            Self::Condition(_) => "com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException",
            Self::InFlight => "com.amazonaws.dynamodb.v20120810#TransactionConflictException",
            Self::OtherActions => "com.amazonaws.dynamodb.v20120810#IdempotentParameterMismatchException",
            Self::InProgress => "com.amazonaws.dynamodb.v20120810#TransactionInProgressException",
            Self::Invalid(_) => "com.amazon.coral.validate#ValidationException",
        }
    }

    /// The body of the answer, whose status is 400.
    pub(super) fn body(&self) -> Value {
        let mut body = json!({
            "__type": self.kind(),
            "message": self.to_string(),
        });
        if let Self::Condition(Some(found)) = self {
            body["Item"] = Value::Object(found.item.clone());
        }
        body
    }

    /// What it means for a transaction of which one action is refused: the reason why it is cancelled, or, for what is wrong
    /// with the request, that it is refused as a whole.
    pub(in crate::simulated) fn reason(&self) -> Option<Value> {
        let code = match self {
            Self::Condition(_) => "ConditionalCheckFailed",
            Self::Invalid(Invalid::LargeUpdate | Invalid::NoAttribute | Invalid::NoNumber) => "ValidationError",
            Self::InFlight => "TransactionConflict",
            Self::Invalid(_) | Self::NoTable | Self::TableExists(_) | Self::OtherActions | Self::InProgress => {
                return None;
            }
        };
        let mut reason = json!({"Code": code, "Message": self.to_string()});
        if let Self::Condition(Some(found)) = self {
            reason["Item"] = Value::Object(found.item.clone());
        }
        Some(reason)
    }
}
