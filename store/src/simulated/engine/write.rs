//! Writes: one action on one item, alone or of a transaction.

use std::sync::Arc;

use serde_json::Value;
use tokio::time::Instant;

use super::evaluate::Scope;
use super::expression::{Condition, Parsed, Update};
use super::refusal::{Invalid, Refusal};
use super::table::{ITEM_BYTES, Place, Stored};
use super::value::{Item, size_of_all};
use super::{State, known, only};
use crate::simulated::TRANSACTION_TABLE;

/// The part of a transaction's item that is its commit record.
const RECORD: &str = "commit";

/// What a request or a part of one wants done to an item.
pub(in crate::simulated) struct Action<'a> {
    pub(in crate::simulated) table: &'a str,
    pub(in crate::simulated) place: Place,
    /// What counts for the size of a transaction.
    pub(in crate::simulated) size: usize,
    kind: Kind<'a>,
    condition: Option<Arc<Parsed<Condition>>>,
    scope: Scope<'a>,
    shows_item: bool,
}

enum Kind<'a> {
    Put(Arc<Stored>),
    Update(&'a Item, Arc<Parsed<Update>>),
    Delete,
    Check,
}

/// What comes of it, if it is not refused.
pub(in crate::simulated) enum Next {
    /// The item is left as it is.
    Same,
    /// The item is this, or is not there.
    Is(Option<Arc<Stored>>),
}

impl State {
    /// An action by its name in a `TransactWriteItems`.
    pub(in crate::simulated) fn action<'a>(&mut self, name: &str, asked: &'a Value) -> Result<Action<'a>, Refusal> {
        let own: &[&str] = match name {
            "Put" => &["Item"],
            "Update" => &["Key", "UpdateExpression"],
            "Delete" | "ConditionCheck" => &["Key"],
            other => return Err(Invalid::not_simulated("an action", other).into()),
        };
        let asked = only(asked, &[own, known::WRITE].concat())?;
        let table_name = known::text(asked, "TableName")?;
        let table = self.tables.get(table_name).ok_or(Refusal::NoTable)?;
        let scope = Scope::of(asked)?;
        let condition = match asked.get("ConditionExpression") {
            None => None,
            Some(_) => Some(self.expressions.condition(known::text(asked, "ConditionExpression")?)?),
        };
        let shows_item = match asked.get("ReturnValuesOnConditionCheckFailure").map(Value::as_str) {
            None | Some(Some("NONE")) => false,
            Some(Some("ALL_OLD")) => true,
            Some(_) => return Err(Invalid::Member("ReturnValuesOnConditionCheckFailure").into()),
        };
        let in_condition = condition.clone();
        let in_condition = in_condition.iter().map(|condition| (&*condition.names, &*condition.values));
        let mut used: Vec<(&[String], &[String])> = in_condition.collect();
        if name == "Put" {
            let item = known::map(asked, "Item")?;
            let place = table.place_of_item(item)?;
            let stored = Stored::new(item.clone())?;
            if stored.size > ITEM_BYTES {
                return Err(Invalid::LargeItem.into());
            }
            scope.check(&used)?;
            let (size, kind) = (stored.size, Kind::Put(Arc::new(stored)));
            return Ok(Action { table: table_name, place, size, kind, condition, scope, shows_item });
        }
        let key = known::map(asked, "Key")?;
        let place = table.place_of_key(key)?;
        let size = size_of_all(key)? + scope.size;
        let kind = match name {
            "Update" => {
                let update = self.expressions.update(known::text(asked, "UpdateExpression")?)?;
                used.push((&update.names, &update.values));
                scope.check(&used)?;
                let targets = scope.targets(&update.is)?;
                if let Some(part) = targets.iter().find(|target| key.contains_key(**target)) {
                    return Err(Invalid::KeyUpdate((*part).to_owned()).into());
                }
                Kind::Update(key, update)
            }
            other => {
                scope.check(&used)?;
                if other == "Delete" { Kind::Delete } else { Kind::Check }
            }
        };
        Ok(Action { table: table_name, place, size, kind, condition, scope, shows_item })
    }

    /// What an action makes of the item as it is.
    pub(in crate::simulated) fn outcome(&self, action: &Action<'_>) -> Result<Next, Refusal> {
        let before = self.tables.get(action.table).and_then(|table| table.item(&action.place));
        let nothing = Item::new();
        let item = before.map_or(&nothing, |stored| &stored.item);
        if let Some(condition) = &action.condition
            && !action.scope.holds(&condition.is, item)?
        {
            return Err(Refusal::Condition(before.filter(|_| action.shows_item).cloned()));
        }
        Ok(match &action.kind {
            Kind::Put(stored) => Next::Is(Some(Arc::clone(stored))),
            Kind::Update(key, update) => {
                let updated = action.scope.updated(&update.is, if before.is_some() { item } else { key })?;
                let stored = Stored::new(updated)?;
                if stored.size > ITEM_BYTES {
                    return Err(Invalid::LargeUpdate.into());
                }
                Next::Is(Some(Arc::new(stored)))
            }
            Kind::Delete => Next::Is(None),
            Kind::Check => Next::Same,
        })
    }

    /// Lets an outcome take effect, which is visible from a time on.
    pub(in crate::simulated) fn settle(
        &mut self,
        (table, place): (&str, &Place),
        next: Next,
        now: Instant,
        until: Instant,
    ) {
        let Some(items) = self.tables.get_mut(table) else { return };
        if matches!(next, Next::Same) && until <= now {
            return;
        }
        let slot = items.slot(place);
        slot.remember(now, until);
        let Next::Is(item) = next else { return };
        if let (None, Some(new)) = (&slot.item, &item)
            && table == TRANSACTION_TABLE
            && place.sort == RECORD
        {
            self.written.push(Arc::clone(new));
        }
        slot.item = item;
    }

    /// `PutItem`, `UpdateItem`, `DeleteItem`.
    pub(super) fn write(&mut self, name: &str, asked: &Value) -> Result<String, Refusal> {
        let action = self.action(name, asked)?;
        let now = Instant::now();
        if self.tables.get(action.table).is_some_and(|table| table.is_in_flight(&action.place, now)) {
            return Err(Refusal::InFlight);
        }
        let next = self.outcome(&action)?;
        self.settle((action.table, &action.place), next, now, now);
        Ok("{}".to_owned())
    }
}
