//! How long this sandbox was asleep.
//!
//! Frozen, a sandbox notices nothing: not that its connections die, and not that time passes, because its monotonic clock
//! may stand still, by which the connections' own idle limit goes. The wall clock goes on. Where it says that the sandbox
//! was idle for longer than a connection may be, the next invocation begins with new ones.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use aft_protocol::version::Timestamp;
use aft_store::Store;

use super::Session;

/// The connections' own idle limit is as long: who is invoked more often keeps his.
const LONGEST_NAP: Duration = Duration::from_secs(20);

/// When the sandbox was last seen awake, in microseconds since the epoch.
pub(super) struct LastSeen(AtomicU64);

impl LastSeen {
    pub(super) fn new(now: Timestamp) -> Self {
        Self(AtomicU64::new(now.as_micros()))
    }

    fn renew(&self, now: Timestamp) -> Duration {
        let before = self.0.swap(now.as_micros(), Ordering::Relaxed);
        Duration::from_micros(now.as_micros().saturating_sub(before))
    }
}

impl<S: Store> Session<S> {
    /// An attempt begins: after a long sleep, nothing is said over connections of before.
    pub(super) fn wake(&self) {
        let idle = self.inner.last_seen.renew(self.inner.sources.now());
        if idle > LONGEST_NAP {
            tracing::debug!("idle for {idle:?}: new connections");
            self.inner.store.leave_connections();
        }
    }

    /// An invocation ends: from here on the sandbox may sleep.
    pub(super) fn doze(&self) {
        self.inner.last_seen.renew(self.inner.sources.now());
    }
}
