//! What the kernel is asked: which processors a thread may use, how much memory a process has.

use std::io;
use std::time::Duration;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::report::Quantity;

/// What the extension, and the shim, may have in memory.
pub const MEMORY_TARGET: Quantity = Quantity::Size(12_000_000);
/// How long a process that was started may take to be ready.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// This thread, and the processes that it starts, on one processor for as long as this lives. Threads started before are
/// left alone.
#[derive(Debug)]
pub struct OneCore {
    before: CpuSet,
    core: usize,
}

impl OneCore {
    /// Takes the last processor that there is: the first one has most of the interrupts.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn take() -> io::Result<Self> {
        let before = sched_getaffinity(None)?;
        let core = (0..CpuSet::MAX_CPU).rev().find(|core| before.is_set(*core)).unwrap_or_default();
        let mut one = CpuSet::new();
        one.set(core);
        sched_setaffinity(None, &one)?;
        Ok(Self { before, core })
    }

    /// Its number.
    #[must_use]
    pub const fn number(&self) -> usize {
        self.core
    }
}

impl Drop for OneCore {
    fn drop(&mut self) {
        // What the kernel allowed before, it allows again.
        let _ = sched_setaffinity(None, &self.before);
    }
}

/// A process's resident memory (`VmRSS`), in bytes.
///
/// # Errors
/// If there is no such process.
pub fn resident_bytes(pid: u32) -> io::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let kilobytes =
        status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB")?.parse().ok());
    kilobytes.map(|kilobytes: u64| kilobytes * 1_024).ok_or_else(|| io::Error::other("the process has no memory"))
}

#[cfg(test)]
mod tests {
    use super::resident_bytes;

    #[test]
    fn a_process_that_lives_has_memory() {
        assert!(resident_bytes(std::process::id()).unwrap() > 0);
    }
}
