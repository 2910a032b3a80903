//! Freeze and thaw: SIGSTOP and SIGCONT to the process groups of a sandbox, in place of Lambda's hypervisor.
//!
//! Monotonic clocks go on meanwhile, which is the harsher way: every timer that a process left running is due at the thaw.
//! What a freeze cannot reach is a process that left its group.

use std::collections::BTreeMap;
use std::sync::Arc;

use rustix::process::Signal;
use tokio::sync::watch;

use crate::log::SandboxNumber;
use crate::process::ProcessTable;

/// Why a sandbox is frozen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Why {
    /// It has nothing to do.
    Idle,
    /// A test wants it. Its invocation's time limit does not run meanwhile.
    Forced,
}

#[derive(Debug)]
pub(crate) struct Freezer {
    processes: Arc<ProcessTable>,
    frozen: watch::Sender<BTreeMap<SandboxNumber, Why>>,
}

impl Freezer {
    pub(crate) fn new(processes: Arc<ProcessTable>) -> Self {
        Self { processes, frozen: watch::Sender::default() }
    }

    pub(crate) fn freeze(&self, sandbox: SandboxNumber, why: Why) {
        self.processes.signal_groups(sandbox, Signal::STOP);
        self.frozen.send_modify(|frozen| _ = frozen.insert(sandbox, why));
    }

    /// Does nothing to a sandbox that is not frozen.
    pub(crate) fn thaw(&self, sandbox: SandboxNumber) {
        if self.why(sandbox).is_some() {
            self.processes.signal_groups(sandbox, Signal::CONT);
            self.frozen.send_modify(|frozen| _ = frozen.remove(&sandbox));
        }
    }

    pub(crate) fn why(&self, sandbox: SandboxNumber) -> Option<Why> {
        self.frozen.borrow().get(&sandbox).copied()
    }

    /// Waits until the sandbox is not frozen.
    pub(crate) async fn thawed(&self, sandbox: SandboxNumber) {
        // The sender is ours: it cannot be gone.
        let _ = self.frozen.subscribe().wait_for(|frozen| !frozen.contains_key(&sandbox)).await;
    }
}
