//! What a recovery came to.

use std::fmt;

/// Counts of commit records, and what was read for them.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Summary {
    /// Items of the transaction table: records, chunks and claims.
    pub items: u64,
    /// Read units of the scan, as far as DynamoDB said.
    pub read_units: f64,
    /// Every head was there, or further.
    pub applied: u64,
    /// Not applied, and left so: a dry run.
    pub behind: u64,
    /// Were not applied, and are now.
    pub rolled_forward: u64,
    /// Expired so long ago that nobody can say any more what they are behind.
    pub past_recovery: u64,
    /// Could not be looked at, or not be applied.
    pub failed: u64,
}

impl Summary {
    /// Whether every record that was looked at is applied now.
    #[must_use]
    pub const fn everything_is_applied(&self) -> bool {
        self.behind == 0 && self.failed == 0
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { items, read_units, applied, behind, rolled_forward, past_recovery, failed } = self;
        write!(f, "{applied} applied, {rolled_forward} rolled forward")?;
        for (count, what) in
            [(behind, "to roll forward"), (past_recovery, "expired and left alone"), (failed, "not applied")]
        {
            if *count > 0 {
                write!(f, ", {count} {what}")?;
            }
        }
        if *items > 0 {
            write!(f, "; {items} items scanned, {read_units} read units")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Summary;

    #[test]
    fn it_says_what_there_was() {
        let quiet = Summary { applied: 3, ..Summary::default() };
        assert_eq!(quiet.to_string(), "3 applied, 0 rolled forward");
        assert!(quiet.everything_is_applied());
        let busy =
            Summary { items: 9, read_units: 4.5, behind: 1, rolled_forward: 2, past_recovery: 1, failed: 1, ..quiet };
        assert_eq!(
            busy.to_string(),
            "3 applied, 2 rolled forward, 1 to roll forward, 1 expired and left alone, 1 not applied; 9 items scanned, 4.5 read units"
        );
        assert!(!busy.everything_is_applied());
        assert!(!Summary { behind: 1, ..quiet }.everything_is_applied());
    }
}
