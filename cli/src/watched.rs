//! A state that many tasks change and wait on: one lock, one notification, no lost wake-ups.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

#[derive(Debug, Default)]
pub(crate) struct Watched<S> {
    state: Mutex<S>,
    changed: Notify,
}

impl<S> Watched<S> {
    pub(crate) fn new(state: S) -> Self {
        Self { state: Mutex::new(state), changed: Notify::new() }
    }

    /// Looks at the state.
    pub(crate) fn read<T>(&self, look: impl FnOnce(&S) -> T) -> T {
        look(&self.lock())
    }

    /// Changes the state and wakes who waits.
    pub(crate) fn update<T>(&self, change: impl FnOnce(&mut S) -> T) -> T {
        let result = change(&mut self.lock());
        self.changed.notify_waiters();
        result
    }

    /// Waits until `take` finds something. What `take` changes must make nobody else's wait end: it wakes nobody.
    pub(crate) async fn until<T>(&self, mut take: impl FnMut(&mut S) -> Option<T>) -> T {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            // Counted from here on: a change between the look and the wait is not missed.
            changed.as_mut().enable();
            if let Some(found) = take(&mut self.lock()) {
                return found;
            }
            changed.await;
        }
    }

    /// A panic elsewhere leaves the state as consistent as any single change: there are no multi-step ones.
    fn lock(&self) -> MutexGuard<'_, S> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
