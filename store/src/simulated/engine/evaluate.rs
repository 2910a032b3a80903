//! What expressions come to, over an item and a request's own names and values.

use serde_json::{Value, json};

use super::expression::{Assigned, Condition, Name, Operand, Parsed, Update};
use super::refusal::Invalid;
use super::value::{Item, compare, size_of_all, typed, whole};

/// `ExpressionAttributeNames` and `ExpressionAttributeValues` of a request or an action.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scope<'a> {
    names: Option<&'a Item>,
    values: Option<&'a Item>,
    /// Of the names and the values, as far as they count for the size of a transaction.
    pub(super) size: usize,
}

impl<'a> Scope<'a> {
    pub(super) fn of(asked: &'a Item) -> Result<Self, Invalid> {
        let member = |name: &'static str| match asked.get(name) {
            None => Ok(None),
            Some(Value::Object(members)) if !members.is_empty() => Ok(Some(members)),
            Some(_) => Err(Invalid::Member(name)),
        };
        let (names, values) = (member("ExpressionAttributeNames")?, member("ExpressionAttributeValues")?);
        let size = values.map_or(Ok(0), |values| {
            let names: usize = values.keys().map(String::len).sum();
            Ok(size_of_all(values)?.saturating_sub(names))
        })?;
        Ok(Self { names, values, size })
    }

    /// Everything that is used is there, and everything that is there is used by one of the expressions.
    pub(super) fn check(&self, used: &[(&[String], &[String])]) -> Result<(), Invalid> {
        let sides = [
            ("ExpressionAttributeNames", self.names, used.iter().map(|used| used.0).collect::<Vec<_>>()),
            ("ExpressionAttributeValues", self.values, used.iter().map(|used| used.1).collect()),
        ];
        for (what, given, used) in sides {
            let is_given = |name: &String| given.is_some_and(|given| given.contains_key(name));
            if let Some(missing) = used.iter().flat_map(|used| used.iter()).find(|name| !is_given(name)) {
                return Err(Invalid::Undefined(missing.clone()));
            }
            let is_used = |name: &String| used.iter().any(|used| used.contains(name));
            if let Some(unused) = given.into_iter().flat_map(Item::keys).find(|name| !is_used(name)) {
                return Err(Invalid::Unused { what, key: unused.clone() });
            }
        }
        Ok(())
    }

    fn name<'b>(&self, name: &'b Name) -> Result<&'b str, Invalid>
    where
        'a: 'b,
    {
        if !name.starts_with('#') {
            return Ok(name);
        }
        let meant = self.names.and_then(|names| names.get(name)).and_then(Value::as_str);
        meant.ok_or_else(|| Invalid::Undefined(name.clone()))
    }

    fn value(&self, name: &str) -> Result<&'a Value, Invalid> {
        self.values.and_then(|values| values.get(name)).ok_or_else(|| Invalid::Undefined(name.to_owned()))
    }

    fn operand<'b>(&self, operand: &'b Operand, item: &'b Item) -> Result<Option<&'b Value>, Invalid>
    where
        'a: 'b,
    {
        Ok(match operand {
            Operand::Name(name) => item.get(self.name(name)?),
            Operand::Value(value) => Some(self.value(value)?),
            Operand::IfNotExists(name, otherwise) => match item.get(self.name(name)?) {
                Some(found) => Some(found),
                None => self.operand(otherwise, item)?,
            },
        })
    }

    /// Whether a condition holds for an item, which has no attributes if it is not there.
    pub(super) fn holds(&self, condition: &Condition, item: &Item) -> Result<bool, Invalid> {
        Ok(match condition {
            Condition::Either(left, right) => self.holds(left, item)? || self.holds(right, item)?,
            Condition::Both(left, right) => self.holds(left, item)? && self.holds(right, item)?,
            Condition::Not(inner) => !self.holds(inner, item)?,
            Condition::Exists(name) => item.contains_key(self.name(name)?),
            Condition::Compare(left, how, right) => {
                compare(self.operand(left, item)?, *how, self.operand(right, item)?)?
            }
        })
    }

    /// The attributes that an update changes, if none is twice in it.
    pub(super) fn targets<'b>(&self, update: &'b Update) -> Result<Vec<&'b str>, Invalid>
    where
        'a: 'b,
    {
        let set = update.set.iter().map(|(name, _)| name);
        let names = set.chain(&update.remove).chain(update.add.iter().map(|(name, _)| name));
        let mut targets = names.map(|name| self.name(name)).collect::<Result<Vec<_>, _>>()?;
        targets.sort_unstable();
        match targets.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => Err(Invalid::Overlap(pair[0].to_owned())),
            None => Ok(targets),
        }
    }

    /// An item updated: whatever is on the right-hand sides is the item as it was.
    pub(super) fn updated(&self, update: &Update, was: &Item) -> Result<Item, Invalid> {
        let mut item = was.clone();
        for (name, assigned) in &update.set {
            let find = |operand| self.operand(operand, was)?.ok_or(Invalid::NoAttribute);
            let value = match assigned {
                Assigned::To(operand) => find(operand)?.clone(),
                Assigned::Sum(left, right) => number(of(find(left)?)?.checked_add(of(find(right)?)?))?,
                Assigned::Difference(left, right) => number(of(find(left)?)?.checked_sub(of(find(right)?)?))?,
            };
            item.insert(self.name(name)?.to_owned(), value);
        }
        for name in &update.remove {
            item.remove(self.name(name)?);
        }
        for (name, value) in &update.add {
            let (name, added) = (self.name(name)?, of(self.value(value)?)?);
            let sum = added.checked_add(was.get(name).map_or(Ok(0), of)?);
            item.insert(name.to_owned(), number(sum)?);
        }
        Ok(item)
    }

    /// These attributes of an item.
    pub(super) fn projected(&self, names: &Parsed<Vec<Name>>, item: &Item) -> Result<Item, Invalid> {
        let mut projected = Item::new();
        for name in &names.is {
            let name = self.name(name)?;
            if let Some(value) = item.get(name) {
                projected.insert(name.to_owned(), value.clone());
            }
        }
        Ok(projected)
    }
}

fn of(value: &Value) -> Result<i128, Invalid> {
    match typed(value) {
        Some(("N", Value::String(digits))) => whole(digits),
        _ => Err(Invalid::NoNumber),
    }
}

fn number(sum: Option<i128>) -> Result<Value, Invalid> {
    let digits = sum.ok_or(Invalid::NoNumber)?.to_string();
    whole(&digits)?;
    Ok(json!({"N": digits}))
}
