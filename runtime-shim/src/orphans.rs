//! Processes that a runtime left behind: this process is their parent once their own has died ("child subreaper"), so that
//! they can be found, reaped while the runtime lives, and ended with it.
//!
//! When a runtime process ends on Lambda, everything in the sandbox ends. Here the sandbox goes on, and what a dead
//! runtime left behind would go on writing in the name of an attempt that is over.

use std::fs;
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitOptions, getpid, kill_process, set_child_subreaper, waitpid};
use tokio::signal::unix::{Signal as SignalStream, SignalKind, signal};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout_at};

/// How long killed processes are waited for. One that does not end within it is stuck in the kernel.
const END_LIMIT: Duration = Duration::from_secs(1);
const END_PAUSE: Duration = Duration::from_millis(2);

/// Makes this process the parent of what its children leave behind.
///
/// # Errors
/// If the kernel refuses.
pub fn adopt() -> std::io::Result<SignalStream> {
    set_child_subreaper(Some(getpid()))?;
    signal(SignalKind::child())
}

/// Reaps what was left behind and has ended, for as long as it is polled; not the runtime's own process, which is its
/// starter's to wait for.
pub async fn reap(mut child_ended: SignalStream, runtime: watch::Receiver<Option<Pid>>) {
    while child_ended.recv().await.is_some() {
        let runtime = *runtime.borrow();
        for orphan in children().into_iter().filter(|child| Some(*child) != runtime) {
            // It may still run, and it may be gone.
            let _ = waitpid(Some(orphan), WaitOptions::NOHANG);
        }
    }
}

/// Ends every child of this process: what a runtime process left behind when it died, and itself if it has not.
pub async fn end_all() {
    let limit = Instant::now() + END_LIMIT;
    let gone = async {
        loop {
            let orphans = children();
            if orphans.is_empty() {
                return;
            }
            for orphan in orphans {
                tracing::debug!("ending process {orphan:?}, which the runtime left behind");
                // Both fail only if it is gone already. Its own children come to this process and are ended next.
                let _ = kill_process(orphan, Signal::KILL);
                let _ = waitpid(Some(orphan), WaitOptions::NOHANG);
            }
            sleep(END_PAUSE).await;
        }
    };
    if timeout_at(limit, gone).await.is_err() {
        tracing::warn!("a process that the runtime left behind does not end: {:?}", children());
    }
}

/// This process's children, by `/proc/*/stat`, which every kernel has.
fn children() -> Vec<Pid> {
    let me = getpid().as_raw_nonzero().get();
    let Ok(processes) = fs::read_dir("/proc") else { return Vec::new() };
    let numbers = processes.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok());
    let is_child = |pid: &i32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        parent(&stat) == Some(me)
    };
    numbers.filter(is_child).filter_map(Pid::from_raw).collect()
}

/// The parent's id in a line of `/proc/*/stat` (proc_pid_stat(5)): the second field after the name, which is in parentheses and
/// may hold anything.
fn parent(stat: &str) -> Option<i32> {
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_ascii_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::parent;

    #[test]
    fn a_name_may_hold_anything() {
        assert_eq!(parent("17 (cat) S 4 17 17 0"), Some(4));
        assert_eq!(parent("17 (a) S 9 (b) R 4 17"), Some(4));
        assert_eq!(parent(""), None);
    }
}
