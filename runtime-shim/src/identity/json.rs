//! JSON as text that two deliveries of the same event have in common.

use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_json::value::RawValue;

/// A field as this type; `None` if it is not there or of another type.
pub(super) fn read<T: DeserializeOwned>(field: Option<&RawValue>) -> Option<T> {
    serde_json::from_str(field?.get()).ok()
}

/// A value's text without spaces and with sorted members: neither is part of what it says. What cannot be rewritten (it is
/// nested too deeply) stays as it is.
pub(super) fn canonical(field: Option<&RawValue>) -> String {
    let Some(field) = field else { return String::new() };
    match serde_json::from_str::<Value>(field.get()) {
        Ok(value) => value.to_string(),
        Err(_) => field.get().to_owned(),
    }
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
        let deep = "[".repeat(500) + &"]".repeat(500);
        assert_eq!(of(&deep), deep);
        assert_eq!(canonical(None), "");
    }
}
