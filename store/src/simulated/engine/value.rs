//! Attribute values in DynamoDB's JSON: whether they are any, their size, and their order (developer guide, "Supported data
//! types and naming rules", "DynamoDB item sizes and formats", "Comparison operator and function reference").
//!
//! Not simulated: sets, and numbers that are not whole or not written in the one shortest way.

use std::cmp::Ordering;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use super::refusal::Invalid;

/// Deepest that DynamoDB lets documents be.
const DEPTH: usize = 32;

/// Attributes by their names.
pub(in crate::simulated) type Item = Map<String, Value>;

/// How values are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    Unequal,
    Less,
    AtMost,
    Greater,
    AtLeast,
}

/// The size of attributes and their names, if all are what they say.
pub(super) fn size_of_all(item: &Item) -> Result<usize, Invalid> {
    attributes(item, DEPTH)
}

fn attributes(item: &Item, depth: usize) -> Result<usize, Invalid> {
    item.iter().map(|(name, value)| Ok(name.len() + size(value, depth)?)).sum()
}

fn size(value: &Value, depth: usize) -> Result<usize, Invalid> {
    let wrong = || Invalid::Value(value.to_string());
    let (kind, inner) = typed(value).ok_or_else(wrong)?;
    let deeper = depth.checked_sub(1).ok_or_else(wrong)?;
    match (kind, inner) {
        ("S", Value::String(text)) => Ok(text.len()),
        ("N", Value::String(digits)) => {
            let significant = digits.trim_start_matches('-').trim_end_matches('0').len();
            whole(digits).map(|_| significant.div_ceil(2) + 1 + usize::from(digits.starts_with('-')))
        }
        ("B", Value::String(text)) => base64_size(text).ok_or_else(wrong),
        ("BOOL", Value::Bool(_)) | ("NULL", Value::Bool(true)) => Ok(1),
        ("L", Value::Array(list)) => {
            let inner: Result<usize, _> = list.iter().map(|value| Ok(1 + size(value, deeper)?)).sum();
            Ok(3 + inner?)
        }
        ("M", Value::Object(map)) => Ok(3 + map.len() + attributes(map, deeper)?),
        ("SS" | "NS" | "BS", _) => Err(Invalid::not_simulated("a set", value)),
        _ => Err(wrong()),
    }
}

/// A value's type and what it is.
pub(super) fn typed(value: &Value) -> Option<(&str, &Value)> {
    let members = value.as_object()?;
    let (kind, inner) = members.iter().next()?;
    (members.len() == 1).then_some((kind.as_str(), inner))
}

/// A string.
pub(super) fn text(value: &Value) -> Option<&str> {
    value.as_object().filter(|members| members.len() == 1)?.get("S")?.as_str()
}

/// A number: 38 digits at most, without leading zeros.
pub(super) fn whole(digits: &str) -> Result<i128, Invalid> {
    let other = || Invalid::not_simulated("a number that is not whole, or not in its shortest form", digits);
    let number: i128 = digits.parse().map_err(|_| other())?;
    let is_plain = match digits.as_bytes() {
        [b'-', b'0', ..] | [b'+', ..] => false,
        [b'0', rest @ ..] => rest.is_empty(),
        _ => true,
    };
    if is_plain && digits.trim_start_matches('-').len() <= 38 { Ok(number) } else { Err(other()) }
}

fn base64_size(text: &str) -> Option<usize> {
    let padding = text.bytes().rev().take_while(|byte| *byte == b'=').count();
    (text.len().is_multiple_of(4) && padding <= 2).then(|| text.len() / 4 * 3 - padding)
}

/// Compares two values, of which either may be missing: a missing one is unequal to everything, and nothing else.
pub(super) fn compare(left: Option<&Value>, how: Comparison, right: Option<&Value>) -> Result<bool, Invalid> {
    let (Some(left), Some(right)) = (left, right) else { return Ok(how == Comparison::Unequal) };
    if matches!(how, Comparison::Equal | Comparison::Unequal) {
        // Each value has only one form here.
        return Ok((left == right) == (how == Comparison::Equal));
    }
    let order = match (typed(left), typed(right)) {
        (Some(("S", Value::String(left))), Some(("S", Value::String(right)))) => left.cmp(right),
        (Some(("N", Value::String(left))), Some(("N", Value::String(right)))) => whole(left)?.cmp(&whole(right)?),
        (Some(("B", Value::String(left))), Some(("B", Value::String(right)))) => bytes(left)?.cmp(&bytes(right)?),
        (Some((left, _)), Some((right, _))) if left != right => return Ok(false),
        _ => return Err(Invalid::not_simulated("an order of such values", left)),
    };
    Ok(match how {
        Comparison::Less => order == Ordering::Less,
        Comparison::AtMost => order != Ordering::Greater,
        Comparison::Greater => order == Ordering::Greater,
        Comparison::AtLeast => order != Ordering::Less,
        Comparison::Equal | Comparison::Unequal => false,
    })
}

fn bytes(text: &str) -> Result<Vec<u8>, Invalid> {
    STANDARD.decode(text).map_err(|_| Invalid::Value(text.to_owned()))
}
