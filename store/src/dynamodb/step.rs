//! Several items in one step, all or nothing: a commit record with the heads that it moves and the keys that it insists on
//! (TransactWriteItems), and several keys at one moment (TransactGetItems).
//!
//! The record is always the first action. DynamoDB says of every action why it cancelled the step, and with which item;
//! a cancelled step has had no effect. The record's nonce is the client request token: a step that is tried again with the
//! same content takes effect once (for ten minutes, and after that the record itself is in the way).

use std::collections::{BTreeMap, BTreeSet};

use aft_protocol::head::Head;
use aft_protocol::id::Nonce;
use aft_protocol::isolation::Guards;
use aft_protocol::key::Key;
use aft_protocol::record::CommitRecord;
use aft_protocol::version::Version;
use aws_sdk_dynamodb::error::BuildError;
use aws_sdk_dynamodb::operation::transact_get_items::TransactGetItemsError;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::{
    CancellationReason, ConditionCheck, Get, ItemResponse, Put, ReturnValuesOnConditionCheckFailure, TransactGetItem,
    TransactWriteItem, Update as SdkUpdate,
};

use super::attribute::{Item, Malformed};
use super::error::one_line;
use super::head_item::{self, If};
use super::record_item;
use super::request::Update;
use super::{DynamoDb, ReadConsistency, Table};
use crate::{AtOnce, ErrorKind, Obstacles, Pace, StoreError, Terms};

const WRITE: &str = "TransactWriteItems";
const GET: &str = "TransactGetItems";

/// What a validation needs of a head.
const KEY_AND_VERSION: &str = "k, t";

/// How a step ended.
pub(super) enum Step {
    /// It was taken.
    Taken,
    /// It was not: the record is there already.
    Recorded(Item),
    /// It was not.
    Refused(Obstacles),
}

impl DynamoDb {
    /// Puts the record's own `item`, moves heads and checks keys, in one step.
    pub(super) async fn take(&self, record: &CommitRecord, item: Item, terms: &Terms) -> Result<Step, StoreError> {
        let incomplete = |error| self.transactions.incomplete(WRITE, error);
        let mut actions = vec![self.put_record(item).map_err(incomplete)?];
        let mut keys = Vec::with_capacity(terms.guards.len() + terms.moves.len());
        for (key, entry) in record.head_entries() {
            let Some(keep) = terms.moves.get(key) else { continue };
            let only = terms.guards.get(key).map_or(If::Newer, |version| If::At(*version));
            let update = head_item::moving(&entry, *keep, only);
            actions.push(self.move_head(key, update).map_err(incomplete)?);
            keys.push(key);
        }
        for (key, version) in terms.guards.iter().filter(|(key, _)| !terms.moves.contains_key(*key)) {
            actions.push(self.check_head(key, *version).map_err(incomplete)?);
            keys.push(key);
        }
        let request = self.client().transact_write_items().set_transact_items(Some(actions));
        let request = request.client_request_token(token(record.nonce));
        let reasons = match Box::pin(request.send()).await {
            Ok(_) => return Ok(Step::Taken),
            Err(error) => match error.as_service_error() {
                Some(TransactWriteItemsError::TransactionCanceledException(canceled)) => {
                    canceled.cancellation_reasons().to_vec()
                }
                Some(TransactWriteItemsError::IdempotentParameterMismatchException(_)) => {
                    return self.taken_before(record, self.transactions.failure(WRITE, error)).await;
                }
                Some(_) | None => return Err(self.transactions.failure(WRITE, error)),
            },
        };
        let mut reasons = reasons.into_iter();
        let of_record = Reason::of(reasons.next(), &self.transactions, WRITE)?;
        match of_record {
            Reason::Condition(Some(existing)) => return Ok(Step::Recorded(existing)),
            Reason::Condition(None) => return Err(self.transactions.malformed(WRITE, Malformed::NoItem)),
            Reason::None | Reason::Contended => {}
        }
        let mut obstacles = self.obstacles(&keys, reasons, WRITE)?;
        obstacles.is_record_contended = matches!(of_record, Reason::Contended);
        if obstacles == Obstacles::default() {
            return Err(no_reason(&self.transactions, WRITE));
        }
        Ok(Step::Refused(obstacles))
    }

    /// A step with this token has been taken, and DynamoDB takes this one for another. No nonce is ever used for two, so it is
    /// the same (R-COMMIT-4): its record tells.
    async fn taken_before(&self, record: &CommitRecord, mismatch: StoreError) -> Result<Step, StoreError> {
        let key = vec![record_item::key(record.transaction())];
        match self.get_all(&self.transactions, key, ReadConsistency::Strong).await {
            Ok(found) => found.into_iter().next().map(Step::Recorded).ok_or(mismatch),
            Err(error) => Err(error.reclassified(ErrorKind::Unavailable, ErrorKind::Unknown)),
        }
    }

    /// What of this does not hold at one moment.
    pub(super) async fn differences(&self, guards: &Guards) -> Result<Obstacles, StoreError> {
        let keys: Vec<_> = guards.keys().collect();
        let items = match self.get_at_once(&keys, Some(KEY_AND_VERSION)).await? {
            Ok(items) => items,
            Err(obstacles) => return Ok(obstacles),
        };
        let mut changed = BTreeMap::new();
        for ((key, expected), item) in guards.iter().zip(items) {
            let found = self.version_in(item, GET)?;
            if found != *expected {
                changed.insert(key.clone(), found);
            }
        }
        Ok(Obstacles { changed, ..Obstacles::default() })
    }

    /// The heads of these keys at one moment.
    pub(super) async fn read_at_once(&self, keys: &BTreeSet<Key>) -> Result<AtOnce, StoreError> {
        let listed: Vec<_> = keys.iter().collect();
        let items = match self.get_at_once(&listed, None).await? {
            Ok(items) => items,
            Err(obstacles) => return Ok(AtOnce::Refused(obstacles)),
        };
        let mut heads = BTreeMap::new();
        for (key, item) in keys.iter().zip(items) {
            let head = match item {
                None => Head::absent(),
                Some(item) => match head_item::decode(item).map_err(|error| self.data.malformed(GET, error))? {
                    (found, head) if found == *key => head,
                    (found, _) => return Err(self.data.malformed(GET, Malformed::NotAsked.of(found.as_str()))),
                },
            };
            heads.insert(key.clone(), head);
        }
        Ok(AtOnce::Heads(heads))
    }

    /// The items of these keys at one moment, in this order; or what was in the way.
    async fn get_at_once(
        &self,
        keys: &[&Key],
        projection: Option<&str>,
    ) -> Result<Result<Vec<Option<Item>>, Obstacles>, StoreError> {
        let get = |key: &&Key| {
            let get = Get::builder().table_name(self.data.name()).set_key(Some(head_item::key(key)));
            let get = get.set_projection_expression(projection.map(str::to_owned)).build()?;
            Ok(TransactGetItem::builder().get(get).build())
        };
        let gets: Result<Vec<_>, BuildError> = keys.iter().map(get).collect();
        let gets = gets.map_err(|error| self.data.incomplete(GET, error))?;
        let request = self.client().transact_get_items().set_transact_items(Some(gets));
        let answer = match Box::pin(request.send()).await {
            Ok(answer) => answer,
            Err(error) => match error.as_service_error() {
                Some(TransactGetItemsError::TransactionCanceledException(canceled)) => {
                    let obstacles = self.obstacles(keys, canceled.cancellation_reasons().to_vec().into_iter(), GET)?;
                    let says_why = obstacles != Obstacles::default();
                    return says_why.then_some(Err(obstacles)).ok_or_else(|| no_reason(&self.data, GET));
                }
                Some(_) | None => return Err(self.data.failure(GET, error)),
            },
        };
        // DynamoDB says of a key that is not there that its item is empty, or nothing.
        let item = |answer: ItemResponse| answer.item.filter(|item| !item.is_empty());
        let items: Vec<_> = answer.responses.unwrap_or_default().into_iter().map(item).collect();
        if items.len() != keys.len() {
            return Err(self.data.malformed(GET, Malformed::NoItem));
        }
        Ok(Ok(items))
    }

    fn obstacles(
        &self,
        keys: &[&Key],
        reasons: impl Iterator<Item = CancellationReason>,
        operation: &'static str,
    ) -> Result<Obstacles, StoreError> {
        let mut obstacles = Obstacles::default();
        let mut reasons = reasons;
        for key in keys {
            match Reason::of(reasons.next(), &self.data, operation)? {
                Reason::None => {}
                Reason::Contended => drop(obstacles.contended.insert((*key).clone())),
                Reason::Condition(item) => {
                    let found = self.version_in(item, operation)?;
                    obstacles.changed.insert((*key).clone(), found);
                }
            }
        }
        Ok(obstacles)
    }

    fn version_in(&self, item: Option<Item>, operation: &'static str) -> Result<Version, StoreError> {
        match item {
            None => Ok(Version::ZERO),
            Some(item) => head_item::version(item).map_err(|error| self.data.malformed(operation, error)),
        }
    }

    fn put_record(&self, item: Item) -> Result<TransactWriteItem, BuildError> {
        let put = Put::builder().table_name(self.transactions.name()).set_item(Some(item));
        let put = put
            .condition_expression(record_item::IF_ABSENT)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        Ok(TransactWriteItem::builder().put(put.build()?).build())
    }

    fn move_head(&self, key: &Key, update: Update) -> Result<TransactWriteItem, BuildError> {
        let request = SdkUpdate::builder().table_name(self.data.name()).set_key(Some(head_item::key(key)));
        let request = request
            .update_expression(update.expression)
            .set_expression_attribute_values(Some(update.values))
            .condition_expression(update.condition)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        Ok(TransactWriteItem::builder().update(request.build()?).build())
    }

    fn check_head(&self, key: &Key, version: Version) -> Result<TransactWriteItem, BuildError> {
        let (condition, values) = head_item::is_at(version);
        let check = ConditionCheck::builder().table_name(self.data.name()).set_key(Some(head_item::key(key)));
        let check = check
            .condition_expression(condition)
            .set_expression_attribute_values(values)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        Ok(TransactWriteItem::builder().condition_check(check.build()?).build())
    }
}

/// At most 36 characters, as DynamoDB asks.
fn token(nonce: Nonce) -> String {
    nonce.to_string()
}

fn no_reason(table: &Table, operation: &'static str) -> StoreError {
    let text = format!("{operation} was cancelled, so nothing happened, and {table} did not say why");
    StoreError::new(ErrorKind::Unavailable, operation, text)
}

/// Why a step was cancelled, as far as one action goes.
enum Reason {
    /// Not for this one.
    None,
    /// Its condition did not hold, because of this item; none: there is no item.
    Condition(Option<Item>),
    /// Another step is under way at its item.
    Contended,
}

impl Reason {
    /// # Errors
    /// A [`StoreError`] that says what it means for the whole step, where that is no obstacle but a failure. In no case has the
    /// step had an effect.
    fn of(reason: Option<CancellationReason>, table: &Table, operation: &'static str) -> Result<Self, StoreError> {
        let Some(reason) = reason else { return Ok(Self::None) };
        let detail = || {
            let (code, message) = (reason.code().unwrap_or_default(), reason.message().unwrap_or_default());
            format!("{operation} was cancelled, so nothing happened, because of {table}: {code} {}", one_line(message))
        };
        match reason.code().unwrap_or("None") {
            "None" => Ok(Self::None),
            "ConditionalCheckFailed" => Ok(Self::Condition(reason.item.filter(|item| !item.is_empty()))),
            "TransactionConflict" => Ok(Self::Contended),
            "ThrottlingError" | "ProvisionedThroughputExceeded" => {
                Err(StoreError::new(ErrorKind::Unavailable, operation, detail()).at_pace(Pace::Later))
            }
            // ItemCollectionSizeLimitExceeded, ValidationError, AccessDenied: it will not be otherwise next time.
            _ => Err(StoreError::new(ErrorKind::Rejected, operation, detail())),
        }
    }
}
