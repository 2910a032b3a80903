//! The four requests that the store makes: get, put, put if absent, update. Every write is of one item.
//!
//! Each is boxed: the SDK's futures have ten kilobytes and more, and whoever waits for one, spawns it or hands it on would have
//! them, too, and copy them.

use std::sync::Arc;

use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::{KeysAndAttributes, ReturnValuesOnConditionCheckFailure};
use futures_util::stream::{self, StreamExt, TryStreamExt};

use super::attribute::{Item, Malformed};
use super::tables::Table;
use super::{DynamoDb, ReadConsistency};
use crate::StoreError;
use aft_protocol::limits::BATCH_KEYS;

/// Requests for one batch that run at the same time: each answer may have 16 MB.
const BATCHES_AT_A_TIME: usize = 2;

/// How a conditional write ended.
#[derive(Debug)]
pub(super) enum Written {
    /// It took effect.
    Now,
    /// The condition did not hold, because of this item.
    Refused(Item),
}

/// An update of one item, under a condition.
#[derive(Debug)]
pub(super) struct Update {
    pub(super) expression: String,
    pub(super) condition: &'static str,
    pub(super) values: Item,
}

impl DynamoDb {
    /// The items that exist among these, in any order. Each is consistent; the set of them is not.
    pub(super) async fn get_all(
        &self,
        table: &Arc<Table>,
        keys: Vec<Item>,
        reads: ReadConsistency,
    ) -> Result<Vec<Item>, StoreError> {
        if keys.len() <= 1 {
            let Some(key) = keys.into_iter().next() else { return Ok(Vec::new()) };
            return Ok(self.get(table, key, reads).await?.into_iter().collect());
        }
        let batches: Vec<_> = keys.chunks(BATCH_KEYS).map(<[Item]>::to_vec).collect();
        stream::iter(batches)
            .map(|keys| self.get_batch(table, keys, reads))
            .buffer_unordered(BATCHES_AT_A_TIME)
            .try_concat()
            .await
    }

    async fn get(&self, table: &Table, key: Item, reads: ReadConsistency) -> Result<Option<Item>, StoreError> {
        let request = self.client().get_item().table_name(table.name()).set_key(Some(key));
        let answer = Box::pin(request.consistent_read(reads.is_strong()).send()).await;
        Ok(answer.map_err(|error| table.failure("GetItem", error))?.item)
    }

    /// DynamoDB answers with what it can, up to 16 MB, and returns the other keys unprocessed.
    async fn get_batch(
        &self,
        table: &Table,
        mut keys: Vec<Item>,
        reads: ReadConsistency,
    ) -> Result<Vec<Item>, StoreError> {
        let mut items = Vec::with_capacity(keys.len());
        while !keys.is_empty() {
            let asked = keys.len();
            let request = KeysAndAttributes::builder().set_keys(Some(keys)).consistent_read(reads.is_strong()).build();
            let request = request.map_err(|error| table.incomplete("BatchGetItem", error))?;
            let request = self.client().batch_get_item().request_items(table.name(), request);
            let answer = Box::pin(request.send()).await;
            let answer = answer.map_err(|error| table.failure("BatchGetItem", error))?;
            items.extend(answer.responses.into_iter().flatten().flat_map(|(_, items)| items));
            keys = answer.unprocessed_keys.into_iter().flatten().flat_map(|(_, rest)| rest.keys).collect();
            if keys.len() >= asked {
                return Err(table.unprocessed("BatchGetItem"));
            }
        }
        Ok(items)
    }

    /// Writes an item, whatever was there.
    pub(super) async fn put(&self, table: &Table, item: Item) -> Result<(), StoreError> {
        let request = self.client().put_item().table_name(table.name()).set_item(Some(item));
        Box::pin(request.send()).await.map_err(|error| table.failure("PutItem", error))?;
        Ok(())
    }

    /// Writes an item if the condition over these values holds.
    pub(super) async fn put_if(
        &self,
        table: &Table,
        item: Item,
        condition: &'static str,
        values: Option<Item>,
    ) -> Result<Written, StoreError> {
        let request = self.client().put_item().table_name(table.name()).set_item(Some(item));
        let request = request
            .condition_expression(condition)
            .set_expression_attribute_values(values)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        match Box::pin(request.send()).await {
            Ok(_) => Ok(Written::Now),
            Err(error) => match error.as_service_error() {
                Some(PutItemError::ConditionalCheckFailedException(failed)) => refused(table, failed.item.clone()),
                Some(_) | None => Err(table.failure("PutItem", error)),
            },
        }
    }

    /// Updates an item if the condition holds.
    pub(super) async fn update(&self, table: &Table, key: Item, update: Update) -> Result<Written, StoreError> {
        let request = self.client().update_item().table_name(table.name()).set_key(Some(key));
        let request = request
            .update_expression(update.expression)
            .set_expression_attribute_values(Some(update.values))
            .condition_expression(update.condition)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        match Box::pin(request.send()).await {
            Ok(_) => Ok(Written::Now),
            Err(error) => match error.as_service_error() {
                Some(UpdateItemError::ConditionalCheckFailedException(failed)) => refused(table, failed.item.clone()),
                Some(_) | None => Err(table.failure("UpdateItem", error)),
            },
        }
    }
}

fn refused(table: &Table, item: Option<Item>) -> Result<Written, StoreError> {
    item.map(Written::Refused).ok_or_else(|| table.malformed("reading a refusal", Malformed::NoItem))
}
