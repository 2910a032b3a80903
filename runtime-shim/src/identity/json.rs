//! JSON as text that two deliveries of the same event have in common.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_json::value::RawValue;

/// A field as this type; `None` if it is not there or of another type.
pub(super) fn read<T: DeserializeOwned>(field: Option<&RawValue>) -> Option<T> {
    serde_json::from_str(field?.get()).ok()
}

/// Deeper than any event; what is nested deeper is not rewritten.
const DEPTH: u8 = 128;

/// A value's text without spaces and with sorted members: neither is part of what it says. Numbers stay as they are written: to
/// read them would lose digits, and two payloads would be one. What cannot be rewritten (it is nested too deeply) stays as it is.
pub(super) fn canonical(field: Option<&RawValue>) -> String {
    let Some(field) = field else { return String::new() };
    let mut text = String::with_capacity(field.get().len());
    match write(field, DEPTH, &mut text) {
        Some(()) => text,
        None => field.get().to_owned(),
    }
}

fn write(value: &RawValue, depth: u8, text: &mut String) -> Option<()> {
    let source = value.get();
    match source.as_bytes().first()? {
        b'{' => {
            let depth = depth.checked_sub(1)?;
            let members: BTreeMap<String, &RawValue> = serde_json::from_str(source).ok()?;
            text.push('{');
            for (n, (name, member)) in members.into_iter().enumerate() {
                text.push_str(if n == 0 { "" } else { "," });
                text.push_str(&Value::from(name).to_string());
                text.push(':');
                write(member, depth, text)?;
            }
            text.push('}');
        }
        b'[' => {
            let depth = depth.checked_sub(1)?;
            let elements: Vec<&RawValue> = serde_json::from_str(source).ok()?;
            text.push('[');
            for (n, element) in elements.into_iter().enumerate() {
                text.push_str(if n == 0 { "" } else { "," });
                write(element, depth, text)?;
            }
            text.push(']');
        }
        b'"' => text.push_str(&Value::from(serde_json::from_str::<String>(source).ok()?).to_string()),
        _ => text.push_str(source),
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use serde_json::value::RawValue;

    use super::canonical;

    #[test]
    fn spaces_and_the_order_of_members_do_not_count() {
        let of = |text: &str| canonical(Some(&RawValue::from_string(text.to_owned()).unwrap()));
        assert_eq!(of(r#"{ "b": [1, 2], "a": {"d": null, "c": "\u0041"} }"#), r#"{"a":{"c":"A","d":null},"b":[1,2]}"#);
        assert_ne!(of("[1,2]"), of("[2,1]"));
        assert_eq!(of(r#" { "a" : { } , "b" : [ ] } "#), r#"{"a":{},"b":[]}"#);
        let deep = "[".repeat(500) + &"]".repeat(500);
        assert_eq!(of(&deep), deep);
        assert_eq!(canonical(None), "");
    }

    /// Once, numbers were read as 64-bit floating point: a payload with another amount of 18 digits had the fingerprint of the
    /// first, and so was given its answer. Found by a property test of `proof/fuzz`.
    #[test]
    fn every_digit_of_a_number_counts() {
        let of = |text: &str| canonical(Some(&RawValue::from_string(text.to_owned()).unwrap()));
        assert_ne!(of("[182350820820495594990]"), of("[182350820820495594991]"));
        assert_ne!(of("1.10820820495594990"), of("1.10820820495594991"));
        assert_eq!(of("[ 1e400, -0.50 ]"), "[1e400,-0.50]");
    }
}
