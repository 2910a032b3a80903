//! Writes: into the attempt's buffer and nowhere else (R-COMMIT-1), after their precondition.

use std::collections::BTreeSet;

use aft_protocol::attempt::Attempt;
use aft_protocol::key::Key;
use aft_protocol::limits;
use aft_protocol::record::Writes;
use aft_protocol::value::Value;
use aft_store::Store;

use super::{Freshness, Named, Open, Session, SessionError, refused};

/// What must hold of a key, as this transaction sees it, for a write to be buffered.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Precondition {
    /// Nothing.
    #[default]
    None,
    /// `If-Match`: the key exists, with one of these entity tags (without quotes).
    Matches(Vec<String>),
    /// `If-Match: *`: the key exists.
    Exists,
    /// `If-None-Match: *`: the key does not exist.
    Absent,
}

impl Precondition {
    fn check(&self, key: &Key, current: Option<String>) -> Result<(), SessionError> {
        let failed = match (self, &current) {
            (Self::None, _) | (Self::Exists, Some(_)) | (Self::Absent, None) => return Ok(()),
            (Self::Matches(wanted), Some(current)) if wanted.contains(current) => return Ok(()),
            (Self::Matches(_), Some(current)) => format!("{key:?} is at version {current}"),
            (Self::Matches(_) | Self::Exists, None) => format!("{key:?} does not exist"),
            (Self::Absent, Some(current)) => format!("{key:?} exists, at version {current}"),
        };
        Err(SessionError::PreconditionFailed(format!("{failed}: read it again and decide anew; nothing was written")))
    }
}

impl<S: Store> Session<S> {
    /// Buffers writes: all or, if they are refused, none.
    ///
    /// # Errors
    /// [`SessionError`]; nothing has changed then.
    pub fn write(&self, named: Named, writes: Writes) -> Result<(), SessionError> {
        let open = self.find_undecided(named)?;
        self.buffer(&open, writes, |attempt, writes| attempt.write(writes).map_err(refused))
    }

    /// Buffers writes by `write`, under the attempt's lock, if the sandbox has room for them.
    fn buffer(
        &self,
        open: &Open,
        writes: Writes,
        write: impl FnOnce(&mut Attempt, Writes) -> Result<(), SessionError>,
    ) -> Result<(), SessionError> {
        // The table's lock too: writes to two transactions at the same time must count each other.
        let state = self.state();
        let others = state.open.values().filter(|other| !std::ptr::eq(other.as_ref(), open));
        let others: usize = others.map(|other| other.attempt().buffered_bytes()).sum();
        let mut attempt = open.attempt();
        if others + limits::TRANSACTION_BYTES > limits::SANDBOX_BYTES {
            let bytes = others + attempt.bytes_after(&writes).map_err(refused)?;
            if bytes > limits::SANDBOX_BYTES {
                return Err(SessionError::BuffersFull { bytes });
            }
        }
        let keys = writes.keys().cloned().collect();
        write(&mut attempt, writes)?;
        // Under the attempt's lock: a commit that starts from here on knows of it.
        self.look_up_written(open, keys);
        Ok(())
    }

    /// Buffers one write if `precondition` holds of what this transaction sees. What it sees joins the read set, and the commit
    /// insists on it (R-SER-5).
    ///
    /// # Errors
    /// [`SessionError`]; nothing has changed then.
    pub async fn write_if(
        &self,
        named: Named,
        key: Key,
        value: Option<Value>,
        precondition: Precondition,
    ) -> Result<(), SessionError> {
        if precondition == Precondition::None {
            return self.write(named, Writes::from([(key, value)]));
        }
        let open = self.find_undecided(named)?;
        self.see(&open, BTreeSet::from([key.clone()]), Freshness::default()).await?;
        // Under one lock: another request of this attempt may have written in between.
        self.buffer(&open, Writes::from([(key.clone(), value.clone())]), |attempt, _| {
            precondition.check(&key, attempt.etag(&key).map_err(refused)?)?;
            attempt.write_guarded(key, value).map_err(refused)
        })
    }
}
