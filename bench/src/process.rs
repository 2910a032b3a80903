//! What the kernel is asked: which processors a thread may use, how much memory a process has.

use std::io;
use std::time::Duration;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::report::Quantity;

/// What the extension, and the shim, may have in memory.
pub const MEMORY_TARGET: Quantity = Quantity::Size(12_000_000);
/// How long a process that was started may take to be ready: under valgrind, on a busy machine, too.
pub const PATIENCE: Duration = Duration::from_secs(60);

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
    kilobytes(&format!("/proc/{pid}/status"), "VmRSS:")
}

/// The most that a process has had in memory (`VmHWM`), in bytes.
///
/// # Errors
/// If there is no such process.
pub fn most_resident_bytes(pid: u32) -> io::Result<u64> {
    kilobytes(&format!("/proc/{pid}/status"), "VmHWM:")
}

/// A process's memory, in bytes, in which what it shares with others is counted by its share (`Pss`).
///
/// # Errors
/// If there is no such process, or the kernel does not tell.
pub fn proportional_bytes(pid: u32) -> io::Result<u64> {
    kilobytes(&format!("/proc/{pid}/smaps_rollup"), "Pss:")
}

fn kilobytes(file: &str, name: &str) -> io::Result<u64> {
    let text = std::fs::read_to_string(file)?;
    let kilobytes = text.lines().find_map(|line| line.strip_prefix(name)?.trim().strip_suffix(" kB")?.parse().ok());
    kilobytes.map(|kilobytes: u64| kilobytes * 1_024).ok_or_else(|| io::Error::other(format!("{file} has no {name}")))
}

/// The processor time that the living threads of a process have had, user's and kernel's.
///
/// # Errors
/// If there is no such process, or the kernel does not tell.
pub fn processor_time(pid: u32) -> io::Result<Duration> {
    let mut nanos = 0;
    for thread in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        let text = std::fs::read_to_string(thread?.path().join("schedstat"))?;
        let first = text.split(' ').next().and_then(|nanos| nanos.parse().ok());
        nanos += first.unwrap_or(0_u64);
    }
    Ok(Duration::from_nanos(nanos))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{most_resident_bytes, processor_time, proportional_bytes, resident_bytes};

    #[test]
    fn a_process_that_lives_has_memory_and_has_had_a_processor() {
        let me = std::process::id();
        let resident = resident_bytes(me).unwrap();
        assert!(resident > 0 && most_resident_bytes(me).unwrap() >= resident && proportional_bytes(me).unwrap() > 0);
        assert!(processor_time(me).unwrap() > Duration::ZERO);
    }
}
