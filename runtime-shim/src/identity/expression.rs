//! `AFT_TRANSACTION_KEY`: a JMESPath expression that finds the transaction's key in the event. The one source that builds
//! the whole event.

use std::fmt;

use jmespath::{Expression, Variable};

/// A compiled key expression.
#[derive(Clone)]
pub struct KeyExpression(Expression<'static>);

/// Text that is no JMESPath expression.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("it is not a JMESPath expression (at character {at}): {reason}")]
pub struct InvalidExpression {
    at: usize,
    reason: String,
}

impl KeyExpression {
    /// Compiles an expression.
    ///
    /// # Errors
    /// [`InvalidExpression`], in one line.
    pub fn parse(text: &str) -> Result<Self, InvalidExpression> {
        let compiled = jmespath::compile(text);
        compiled.map(Self).map_err(|error| InvalidExpression { at: error.offset, reason: one_line(&error.reason) })
    }

    /// The key in an event, as canonical JSON, so that the text `"1"` and the number `1` are two keys. `None` where there is
    /// none, or the event is no JSON.
    ///
    /// # Errors
    /// Why the expression failed on this event.
    pub(super) fn key(&self, body: &[u8]) -> Result<Option<String>, String> {
        let Some(event) = std::str::from_utf8(body).ok().and_then(|text| Variable::from_json(text).ok()) else {
            return Ok(None);
        };
        let found = self.0.search(event).map_err(|error| one_line(&error.reason))?;
        Ok((!is_nothing(&found)).then(|| found.to_string()))
    }
}

/// Null, an empty text, or a list or an object of nothing else: `[a, b]` of an event that has neither names nothing.
fn is_nothing(value: &Variable) -> bool {
    match value {
        Variable::Null => true,
        Variable::String(text) => text.is_empty(),
        Variable::Array(elements) => elements.iter().all(|element| is_nothing(element)),
        Variable::Object(members) => members.values().all(|member| is_nothing(member)),
        Variable::Bool(_) | Variable::Number(_) | Variable::Expref(_) => false,
    }
}

fn one_line(reason: &impl fmt::Display) -> String {
    reason.to_string().split_whitespace().collect::<Vec<_>>().join(" ")
}

impl fmt::Debug for KeyExpression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("KeyExpression").field(&self.0.as_str()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::KeyExpression;

    fn key(expression: &str, event: &str) -> Result<Option<String>, String> {
        KeyExpression::parse(expression).unwrap().key(event.as_bytes())
    }

    #[test]
    fn a_key_is_canonical_json() {
        let event = r#"{"order": {"id": "o-1", "n": 1, "flag": false, "lines": [{"b": 2, "a": "x"}]}}"#;
        for (expression, expected) in [
            ("order.id", r#""o-1""#),
            ("order.n", "1"),
            ("order.flag", "false"),
            ("order.lines", r#"[{"a":"x","b":2}]"#),
            ("[order.id, order.missing]", r#"["o-1",null]"#),
            ("join('/', [order.id, 'x'])", r#""o-1/x""#),
        ] {
            assert_eq!(key(expression, event), Ok(Some(expected.to_owned())), "{expression}");
        }
    }

    #[test]
    fn nothing_is_no_key() {
        for expression in ["missing", "a.b", "empty", "[missing, empty]", "{x: missing}", "[]", "nothing"] {
            assert_eq!(key(expression, r#"{"empty": "", "nothing": {}}"#), Ok(None), "{expression}");
        }
        for event in ["", "not JSON", "\u{feff}{}"] {
            assert_eq!(key("a", event), Ok(None), "{event:?}");
        }
    }

    #[test]
    fn what_fails_says_why_in_one_line() {
        let invalid = KeyExpression::parse("order.\nid[").unwrap_err().to_string();
        assert!(invalid.starts_with("it is not a JMESPath expression (at character ") && invalid.lines().count() == 1);
        let failed = key("length(a)", r#"{"a": 1}"#).unwrap_err();
        assert!(failed.contains("length") || failed.contains("type"), "{failed}");
        assert!(KeyExpression::parse("no_such_function(a)").unwrap().key(b"{}").is_err());
    }
}
