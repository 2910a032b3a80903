//! The only place that reads the wall clock or draws random numbers. Durations are measured on tokio's clock instead,
//! which tests can pause.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aft_protocol::id::RequestId;

/// Milliseconds since the epoch, `from_now` ahead: Lambda's form of a deadline.
#[allow(clippy::disallowed_methods, reason = "this is the one place that reads the wall clock")]
pub(crate) fn epoch_ms(from_now: Duration) -> u64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from((since_epoch + from_now).as_millis()).unwrap_or(u64::MAX)
}

/// 128 random bits.
pub(crate) fn random_bits() -> u128 {
    let mut bytes = [0; 16];
    // Without randomness, ids would repeat and one invocation could answer another.
    getrandom::fill(&mut bytes).expect("the operating system has randomness");
    u128::from_be_bytes(bytes)
}

/// A random UUID (version 4), as Lambda's request, invocation and extension ids are.
pub(crate) fn uuid() -> String {
    let bits = random_bits() & !(0xf << 76) & !(0x3 << 62) | 0x4 << 76 | 0x2 << 62;
    let hex = format!("{bits:032x}");
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

/// A request id for a caller that chose none.
pub(crate) fn request_id() -> RequestId {
    RequestId::new(uuid())
}

#[cfg(test)]
mod tests {
    use super::uuid;

    #[test]
    fn ids_are_distinct_version_4_uuids() {
        let id = uuid();
        assert_ne!(id, uuid());
        assert_eq!(id.len(), 36);
        assert_eq!(id.as_bytes()[14], b'4');
        assert!(b"89ab".contains(&id.as_bytes()[19]));
    }
}
