//! A table: its key, its items, and what they were a moment ago.
//!
//! A transaction's change takes effect at once and becomes visible later: until then its item is in flight, and plain reads
//! see what was before. Nobody else changes an item in flight, so the changes of one item are in the order of their times.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::refusal::Invalid;
use super::value::{Item, size_of_all, text};

/// How far behind an eventually consistent read may be: "usually a second or less" (DynamoDB developer guide).
const STALENESS_LIMIT: Duration = Duration::from_secs(1);

/// "The maximum item size in DynamoDB is 400 KB".
pub(super) const ITEM_BYTES: usize = 400 << 10;

/// Of partition keys and of sort keys.
const KEY_BYTES: [usize; 2] = [2_048, 1_024];

/// An item, as it was written.
#[derive(Debug)]
pub(in crate::simulated) struct Stored {
    pub(in crate::simulated) item: Item,
    /// As DynamoDB counts it.
    pub(in crate::simulated) size: usize,
    json: OnceLock<String>,
}

impl Stored {
    /// An item of any size.
    pub(super) fn new(item: Item) -> Result<Self, Invalid> {
        Ok(Self { size: size_of_all(&item)?, item, json: OnceLock::new() })
    }

    pub(super) fn json(&self) -> &str {
        // Writing JSON of JSON cannot fail.
        self.json.get_or_init(|| serde_json::to_string(&self.item).unwrap_or_default())
    }
}

/// Where an item is in its table.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::simulated) struct Place {
    pub(in crate::simulated) partition: String,
    /// Empty where the table has none: no sort key is empty.
    pub(in crate::simulated) sort: String,
}

/// Which moment a read sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::simulated) enum View {
    /// So long ago, without what is in flight.
    Ago(Duration),
    /// What has taken effect, in flight or not.
    Truth,
}

impl View {
    /// What a strongly consistent read sees instead.
    pub(super) fn strong(self) -> Self {
        match self {
            Self::Ago(_) => Self::Ago(Duration::ZERO),
            Self::Truth => Self::Truth,
        }
    }
}

/// An item, perhaps of the past.
#[derive(Debug, Default)]
pub(in crate::simulated) struct Slot {
    pub(in crate::simulated) item: Option<Arc<Stored>>,
    past: Vec<Change>,
}

/// What an item is to plain reads until a time.
#[derive(Debug)]
struct Change {
    until: Instant,
    before: Option<Arc<Stored>>,
}

impl Slot {
    /// The item's next change, which is to come, is seen from then on.
    pub(in crate::simulated) fn remember(&mut self, now: Instant, until: Instant) {
        self.past.retain(|change| now.saturating_duration_since(change.until) <= STALENESS_LIMIT);
        self.past.push(Change { until, before: self.item.clone() });
    }

    pub(in crate::simulated) fn is_in_flight(&self, now: Instant) -> bool {
        self.past.iter().any(|change| change.until > now)
    }

    pub(super) fn seen(&self, view: View, now: Instant) -> Option<&Arc<Stored>> {
        let View::Ago(age) = view else { return self.item.as_ref() };
        let age = age.min(STALENESS_LIMIT);
        let later = self.past.iter().find(|change| change.until + age > now);
        later.map_or(self.item.as_ref(), |change| change.before.as_ref())
    }
}

/// A table, whose keys are strings.
#[derive(Debug)]
pub(in crate::simulated) struct Table {
    /// The names of partition key and, perhaps, sort key.
    pub(super) key: Vec<String>,
    /// The attribute that TTL looks at.
    pub(super) ttl: Option<String>,
    pub(in crate::simulated) slots: BTreeMap<Place, Slot>,
}

impl Table {
    pub(super) fn new(key: Vec<String>) -> Self {
        Self { key, ttl: None, slots: BTreeMap::new() }
    }

    /// The place that a key names, which has nothing else.
    pub(super) fn place_of_key(&self, key: &Item) -> Result<Place, Invalid> {
        if key.len() != self.key.len() {
            return Err(Invalid::Key);
        }
        self.place(key, |_| Invalid::Key)
    }

    /// The place of an item.
    pub(super) fn place_of_item(&self, item: &Item) -> Result<Place, Invalid> {
        self.place(item, |name| Invalid::MissingKey(name.to_owned()))
    }

    fn place(&self, item: &Item, missing: impl Fn(&str) -> Invalid) -> Result<Place, Invalid> {
        let part = |index: usize| {
            let Some(name) = self.key.get(index) else { return Ok(String::new()) };
            let part = text(item.get(name).ok_or_else(|| missing(name))?).ok_or(Invalid::Key)?;
            if part.is_empty() {
                return Err(Invalid::EmptyKey(name.clone()));
            }
            if part.len() > KEY_BYTES[index] {
                return Err(Invalid::LongKey { name: name.clone(), limit: KEY_BYTES[index] });
            }
            Ok(part.to_owned())
        };
        Ok(Place { partition: part(0)?, sort: part(1)? })
    }

    /// The key of a place.
    pub(in crate::simulated) fn key_at(&self, place: &Place) -> Item {
        let parts = self.key.iter().zip([&place.partition, &place.sort]);
        parts.map(|(name, part)| (name.clone(), json!({"S": part}))).collect()
    }

    pub(in crate::simulated) fn item(&self, place: &Place) -> Option<&Arc<Stored>> {
        self.slots.get(place)?.item.as_ref()
    }

    pub(in crate::simulated) fn is_in_flight(&self, place: &Place, now: Instant) -> bool {
        self.slots.get(place).is_some_and(|slot| slot.is_in_flight(now))
    }

    pub(super) fn seen(&self, place: &Place, view: View, now: Instant) -> Option<&Arc<Stored>> {
        self.slots.get(place)?.seen(view, now)
    }

    pub(in crate::simulated) fn slot(&mut self, place: &Place) -> &mut Slot {
        self.slots.entry(place.clone()).or_default()
    }

    /// Deletes what TTL deletes, as far as it is due. How many items those were.
    pub(super) fn expire(&mut self, now_seconds: u64, now: Instant, is_due: &dyn Fn(&Item) -> bool) -> usize {
        let Some(ttl) = &self.ttl else { return 0 };
        let has_passed = |item: &Item| {
            let digits = item.get(ttl).and_then(|value| value.get("N")).and_then(Value::as_str);
            digits.and_then(|digits| digits.parse::<u64>().ok()).is_some_and(|time| time < now_seconds)
        };
        let mut deleted = 0;
        for slot in self.slots.values_mut().filter(|slot| !slot.is_in_flight(now)) {
            if slot.item.as_ref().is_some_and(|stored| has_passed(&stored.item) && is_due(&stored.item)) {
                slot.remember(now, now);
                slot.item = None;
                deleted += 1;
            }
        }
        let is_gone = |slot: &Slot| {
            slot.item.is_none()
                && slot.past.iter().all(|change| now.saturating_duration_since(change.until) > STALENESS_LIMIT)
        };
        self.slots.retain(|_, slot| !is_gone(slot));
        deleted
    }
}
