//! `AFT_TRANSACTION_KEY`: expressions, and what they find in events.
//!
//! The bytes are an expression, a zero byte, and an event.

use aft_runtime_shim::identity::KeyExpression;
use hyper::HeaderMap;

use crate::event::{named, rules};

/// The target.
pub fn check(data: &[u8]) {
    let mut parts = data.splitn(2, |byte| *byte == 0);
    let (expression, event) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let Ok(expression) = std::str::from_utf8(expression) else { return };
    match KeyExpression::parse(expression) {
        Ok(expression) => drop(named(&rules("transfer", Some(expression)), event, &HeaderMap::new())),
        Err(error) => assert_eq!(error.to_string().lines().count(), 1, "{error}"),
    }
}
