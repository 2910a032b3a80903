//! Reads: of single items, of batches of keys, and of all items of a table or of one partition.

use std::collections::{BTreeSet, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Bound;
use std::sync::Arc;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::evaluate::Scope;
use super::expression::{Condition, Name, Operand, Parsed};
use super::refusal::{Invalid, Refusal};
use super::table::{Place, Stored, Table, View};
use super::value::{Comparison, Item, text};
use super::{State, known, only};

/// "A single operation can retrieve up to 16 MB of data, which can contain as many as 100 items" (`BatchGetItem`).
const BATCH_BYTES: usize = 16 << 20;
const BATCH_KEYS: usize = 100;

/// "The total size of items scanned exceeds the maximum dataset size limit of 1 MB" (`Scan`, `Query`).
const PAGE_BYTES: usize = 1 << 20;

/// A strongly consistent read unit.
const UNIT_BYTES: usize = 4 << 10;

/// Which attributes are wanted.
struct Wanted<'a> {
    scope: Scope<'a>,
    names: Option<Arc<Parsed<Vec<Name>>>>,
}

impl Wanted<'_> {
    fn json(&self, stored: &Stored) -> Result<String, Invalid> {
        Ok(match &self.names {
            None => stored.json().to_owned(),
            Some(names) => Value::Object(self.scope.projected(names, &stored.item)?).to_string(),
        })
    }
}

impl State {
    fn wanted<'a>(&mut self, asked: &'a Item) -> Result<Wanted<'a>, Invalid> {
        let (scope, names) = (Scope::of(asked)?, self.projection(asked)?);
        scope.check(&names.iter().map(|names| (names.names.as_slice(), &[][..])).collect::<Vec<_>>())?;
        Ok(Wanted { scope, names })
    }

    fn projection(&mut self, asked: &Item) -> Result<Option<Arc<Parsed<Vec<Name>>>>, Invalid> {
        match asked.get("ProjectionExpression") {
            None => Ok(None),
            Some(_) => self.expressions.projection(known::text(asked, "ProjectionExpression")?).map(Some),
        }
    }

    fn table(&self, name: &str) -> Result<&Table, Refusal> {
        self.tables.get(name).ok_or(Refusal::NoTable)
    }

    /// `GetItem`.
    pub(super) fn get(&mut self, asked: &Value, view: View) -> Result<String, Refusal> {
        let asked = only(asked, known::GET)?;
        let wanted = self.wanted(asked)?;
        let table = self.table(known::text(asked, "TableName")?)?;
        let view = if known::flag(asked, "ConsistentRead")? { view.strong() } else { view };
        let place = table.place_of_key(known::map(asked, "Key")?)?;
        Ok(match table.seen(&place, view, Instant::now()) {
            None => "{}".to_owned(),
            Some(stored) => format!(r#"{{"Item":{}}}"#, wanted.json(stored)?),
        })
    }

    /// `BatchGetItem`; of each table the keys whose bits are set come back unprocessed, and those that exceed the limit.
    pub(super) fn get_batch(&mut self, asked: &Value, view: View, unprocessed: u64) -> Result<String, Refusal> {
        let batch = known::map(only(asked, &["RequestItems"])?, "RequestItems")?;
        let (mut responses, mut rest) = (Vec::with_capacity(batch.len()), Item::new());
        let (mut bytes, mut keys) = (0, 0);
        let now = Instant::now();
        for (name, asked) in batch {
            let members = only(asked, known::BATCH)?;
            let wanted = self.wanted(members)?;
            let table = self.table(name)?;
            let view = if known::flag(members, "ConsistentRead")? { view.strong() } else { view };
            let asked_keys = known::list(members, "Keys", BATCH_KEYS)?;
            keys += asked_keys.len();
            let (mut found, mut left, mut places) = (Vec::new(), Vec::new(), HashSet::new());
            let mut is_full = false;
            for (index, key) in asked_keys.iter().enumerate() {
                let place = table.place_of_key(key.as_object().ok_or(Invalid::Key)?)?;
                let stored = table.seen(&place, view, now);
                if !places.insert(place) {
                    return Err(Invalid::DuplicateKeys.into());
                }
                let size = stored.map_or(0, |stored| stored.size);
                is_full |= bytes + size > BATCH_BYTES;
                if is_full || unprocessed >> (index % 64) & 1 == 1 {
                    left.push(key.clone());
                } else if let Some(stored) = stored {
                    bytes += size;
                    found.push(wanted.json(stored)?);
                }
            }
            if left.len() < asked_keys.len() {
                responses.push(format!("{}:[{}]", Value::from(name.as_str()), found.join(",")));
            }
            if !left.is_empty() {
                let mut again = members.clone();
                again.insert("Keys".to_owned(), left.into());
                rest.insert(name.clone(), again.into());
            }
        }
        if !(1..=BATCH_KEYS).contains(&keys) {
            return Err(Invalid::Count { name: "RequestItems", limit: BATCH_KEYS }.into());
        }
        Ok(format!(r#"{{"Responses":{{{}}},"UnprocessedKeys":{}}}"#, responses.join(","), Value::Object(rest)))
    }

    /// The items that a `TransactGetItems` names: where each is, and, once it is known that none is in flight, what is wanted
    /// of it in JSON, with its size.
    pub(in crate::simulated) fn places_at_once<'a>(
        &self,
        asked: &'a [Value],
    ) -> Result<Vec<(&'a str, Place, &'a Item)>, Refusal> {
        let mut seen = BTreeSet::new();
        let mut places = Vec::with_capacity(asked.len());
        for get in asked {
            let get = only(get, &["Get"])?.get("Get").ok_or(Invalid::Member("Get"))?;
            let get = only(get, known::TRANSACTIONAL_GET)?;
            let name = known::text(get, "TableName")?;
            let place = self.table(name)?.place_of_key(known::map(get, "Key")?)?;
            if !seen.insert((name, place.clone())) {
                return Err(Invalid::OneItemTwice.into());
            }
            places.push((name, place, get));
        }
        Ok(places)
    }

    /// One of them: its size as far as it is wanted, and its part of the answer.
    pub(in crate::simulated) fn get_one(
        &mut self,
        (name, place, get): &(&str, Place, &Item),
    ) -> Result<(usize, String), Refusal> {
        let wanted = self.wanted(get)?;
        Ok(match self.table(name)?.item(place) {
            None => (0, "{}".to_owned()),
            Some(stored) => {
                let size = match &wanted.names {
                    None => stored.size,
                    Some(names) => Stored::new(wanted.scope.projected(names, &stored.item)?)?.size,
                };
                (size, format!(r#"{{"Item":{}}}"#, wanted.json(stored)?))
            }
        })
    }

    /// `Scan`.
    pub(super) fn scan(&mut self, asked: &Value, view: View) -> Result<String, Refusal> {
        let asked = only(asked, &[known::SCAN, &["Segment", "TotalSegments"]].concat())?;
        let number = |name: &'static str, otherwise: u64| {
            asked.get(name).map_or(Ok(otherwise), |number| number.as_u64().ok_or(Invalid::Member(name)))
        };
        let (segment, of) = (number("Segment", 0)?, number("TotalSegments", 1)?);
        if segment >= of {
            return Err(Invalid::Member("Segment").into());
        }
        let is_of_segment = move |place: &Place| {
            let mut hasher = DefaultHasher::new();
            place.partition.hash(&mut hasher);
            hasher.finish() % of == segment
        };
        self.page(asked, view, (&[], &[]), is_of_segment)
    }

    /// `Query` of one partition.
    pub(super) fn query(&mut self, asked: &Value, view: View) -> Result<String, Refusal> {
        let asked = only(asked, &[known::SCAN, &["KeyConditionExpression"]].concat())?;
        let text_of = known::text(asked, "KeyConditionExpression")?;
        let condition = self.expressions.condition(text_of)?;
        let table = self.table(known::text(asked, "TableName")?)?;
        let Condition::Compare(Operand::Name(name), Comparison::Equal, Operand::Value(value)) = &condition.is else {
            return Err(Invalid::not_simulated("a key condition", text_of).into());
        };
        let values = known::map(asked, "ExpressionAttributeValues")?;
        let partition = values.get(value).and_then(text).ok_or(Invalid::Key)?.to_owned();
        if table.key.first() != Some(name) {
            return Err(Invalid::not_simulated("a key condition", text_of).into());
        }
        self.page(asked, view, (&condition.names, &condition.values), move |place| place.partition == partition)
    }

    fn page(
        &mut self,
        asked: &Item,
        view: View,
        used: (&[String], &[String]),
        is_among: impl Fn(&Place) -> bool,
    ) -> Result<String, Refusal> {
        let filter = match asked.get("FilterExpression") {
            None => None,
            Some(_) => Some(self.expressions.condition(known::text(asked, "FilterExpression")?)?),
        };
        let (scope, names) = (Scope::of(asked)?, self.projection(asked)?);
        let mut all_used = vec![used];
        all_used.extend(filter.iter().map(|filter| (filter.names.as_slice(), filter.values.as_slice())));
        all_used.extend(names.iter().map(|names| (names.names.as_slice(), &[][..])));
        scope.check(&all_used)?;
        let wanted = Wanted { scope, names };
        let name = known::text(asked, "TableName")?;
        let table = self.table(name)?;
        let is_strong = known::flag(asked, "ConsistentRead")?;
        let view = if is_strong { view.strong() } else { view };
        let from = match asked.get("ExclusiveStartKey") {
            None => Bound::Unbounded,
            Some(_) => Bound::Excluded(table.place_of_key(known::map(asked, "ExclusiveStartKey")?)?),
        };
        let now = Instant::now();
        let (mut found, mut scanned, mut bytes, mut last) = (Vec::new(), 0, 0, None);
        for (place, slot) in table.slots.range((from, Bound::Unbounded)).filter(|(place, _)| is_among(place)) {
            let Some(stored) = slot.seen(view, now) else { continue };
            scanned += 1;
            bytes += stored.size;
            if filter.as_ref().map_or(Ok(true), |filter| scope.holds(&filter.is, &stored.item))? {
                found.push(wanted.json(stored)?);
            }
            if bytes >= PAGE_BYTES {
                last = Some(table.key_at(place));
                break;
            }
        }
        let mut answer = format!(r#"{{"Count":{},"ScannedCount":{scanned},"Items":[{}]"#, found.len(), found.join(","));
        if let Some(last) = last {
            answer += &format!(r#","LastEvaluatedKey":{}"#, Value::Object(last));
        }
        match asked.get("ReturnConsumedCapacity").map(Value::as_str) {
            None | Some(Some("NONE")) => {}
            Some(Some("TOTAL")) => {
                let units = bytes.div_ceil(UNIT_BYTES).max(1) as f64 * if is_strong { 1.0 } else { 0.5 };
                answer += &format!(r#","ConsumedCapacity":{}"#, json!({"TableName": name, "CapacityUnits": units}));
            }
            Some(_) => return Err(Invalid::Member("ReturnConsumedCapacity").into()),
        }
        Ok(answer + "}")
    }
}
