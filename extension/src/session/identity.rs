//! Which sandbox this is, and that it becomes another when it is restored from a snapshot.

use aft_protocol::id::SandboxId;
use aft_store::Store;

use super::Session;

impl<S: Store> Session<S> {
    /// This sandbox, as the next record will name it.
    #[must_use]
    pub fn sandbox(&self) -> SandboxId {
        self.inner.applies.sandbox()
    }

    /// 128 random bits.
    #[must_use]
    pub fn random(&self) -> u128 {
        self.inner.sources.random()
    }

    /// This sandbox was restored from a snapshot, as others may be: it becomes one of its own, and talks to the store over
    /// connections of its own; what the snapshot remembers of the store may be days old. Nothing was begun or committed before a snapshot; if anything was, it is aborted.
    pub fn restore(&self) {
        self.change(|state| state.close(|_| true));
        self.cache().clear();
        self.inner.applies.go_on_as(SandboxId::from_bits(self.random()));
        self.inner.store.reconnect();
    }
}
