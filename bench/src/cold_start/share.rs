//! A share of one processor, as Lambda gives a function one: a control group with a quota of processor time in each period.
//!
//! Lambda gives 1,769 MB a processor, and less memory less of it. Its period is not documented; 20 ms is what measurements from
//! outside came to (arXiv 2506.01283).

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::time::{Instant, sleep};

const PERIOD: Duration = Duration::from_millis(20);
/// Where the controller of processor time is: by itself in version 1, with all others in version 2.
const VERSION_1: &str = "/sys/fs/cgroup/cpu";
const VERSION_2: &str = "/sys/fs/cgroup";
/// How long processes that were killed may take to be gone, with a small share of a processor.
const GONE: Duration = Duration::from_secs(5);

static GROUPS: AtomicU32 = AtomicU32::new(0);

/// One part of so many of a processor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    /// How many parts a processor has.
    pub of: u32,
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.of {
            1 => f.write_str("one processor"),
            of => write!(f, "1/{of} processor"),
        }
    }
}

/// A control group for one sandbox.
#[derive(Debug)]
pub struct Group(PathBuf);

impl Group {
    /// Makes one.
    ///
    /// # Errors
    /// If the kernel or the user's permissions do not allow it.
    pub fn new(share: Share) -> io::Result<Self> {
        let name = format!("aft-bench-{}-{}", std::process::id(), GROUPS.fetch_add(1, Ordering::Relaxed));
        let (period, quota) = (PERIOD.as_micros(), PERIOD.as_micros() / u128::from(share.of));
        let write = |path: PathBuf, text: String| std::fs::write(path, text);
        if Path::new(VERSION_2).join("cgroup.controllers").exists() {
            let group = Self::made(Path::new(VERSION_2).join(name))?;
            write(Path::new(VERSION_2).join("cgroup.subtree_control"), "+cpu".to_owned())?;
            write(group.0.join("cpu.max"), format!("{quota} {period}"))?;
            return Ok(group);
        }
        let group = Self::made(Path::new(VERSION_1).join(name))?;
        write(group.0.join("cpu.cfs_period_us"), period.to_string())?;
        write(group.0.join("cpu.cfs_quota_us"), quota.to_string())?;
        Ok(group)
    }

    fn made(path: PathBuf) -> io::Result<Self> {
        std::fs::create_dir(&path)?;
        Ok(Self(path))
    }

    /// The file by which a process joins.
    #[must_use]
    pub fn procs(&self) -> PathBuf {
        self.0.join("cgroup.procs")
    }

    /// Waits until the last of its processes is gone, and it with them.
    pub async fn end(self) {
        let began = Instant::now();
        while self.is_there() && began.elapsed() < GONE {
            sleep(Duration::from_millis(1)).await;
        }
    }

    /// Whether it is still there after a try to remove it.
    fn is_there(&self) -> bool {
        std::fs::remove_dir(&self.0).is_err() && self.0.exists()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // What is left over after a failure is empty before long, and does nothing.
        self.is_there();
    }
}
