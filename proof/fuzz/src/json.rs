//! JSON in other words: the same document with its members in another order and spaces between; and whether a text is one
//! document to every reader.

use std::collections::BTreeSet;
use std::fmt::{self, Write};

use serde_json::Value;

/// The document with every object's members in reverse, and spaces wherever they may be.
#[must_use]
pub fn in_other_words(value: &Value) -> String {
    let mut text = String::new();
    write(value, &mut text).unwrap();
    text
}

fn write(value: &Value, text: &mut String) -> fmt::Result {
    match value {
        Value::Object(members) => {
            text.push_str("{\n");
            for (n, (name, member)) in members.iter().rev().enumerate() {
                write!(text, "{}\t{} :", if n == 0 { "" } else { " ," }, Value::from(name.as_str()))?;
                write(member, text)?;
            }
            text.push_str(" }\r\n");
        }
        Value::Array(elements) => {
            text.push_str("[ ");
            for (n, element) in elements.iter().enumerate() {
                text.push_str(if n == 0 { "" } else { "\n, " });
                write(element, text)?;
            }
            text.push_str(" ] ");
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => write!(text, " {value} ")?,
    }
    Ok(())
}

/// The members of an object, or none.
#[must_use]
pub fn names(value: &Value) -> BTreeSet<&str> {
    value.as_object().into_iter().flatten().map(|(name, _)| name.as_str()).collect()
}
