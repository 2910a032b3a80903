//! Processes: started each in a process group of its own, their lines logged, their end watched, and none left behind.
//!
//! Three lines of defence against orphans, from gentle to certain: [`crate::Host::stop`] asks every process to end;
//! dropping the [`ProcessTable`] kills every group; and the guard, a shell that outlives the host, kills every group and
//! removes the run directory as soon as the host's end of its pipe closes, whatever closed it: an abort, a SIGKILL.
//! What the guard cannot reach is a process that left its group, and the instant between a start and its note to the guard.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};
use tokio::task::JoinHandle;

use crate::log::{SandboxLog, SandboxNumber, Source};

/// Bytes after which a line is broken in two.
const MAX_LINE_BYTES: u64 = 64 * 1024;
/// How long a dead process's last lines are waited for. They are there already, unless the process handed its output to
/// another that left the group.
const LAST_LINES_LIMIT: Duration = Duration::from_millis(100);

/// Reads `+ GROUP` and `- GROUP` lines until the host is gone, then kills the groups that are left.
const GUARD_SCRIPT: &str = r#"
groups=
while read -r change group; do
  case $change in
    +) groups="$groups $group" ;;
    -) left=
       for each in $groups; do [ "$each" = "$group" ] || left="$left $each"; done
       groups=$left ;;
  esac
done
for group in $groups; do kill -s KILL -- "-$group" 2>/dev/null; done
rm -rf -- "$1"
"#;

/// A program and its arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// The executable: a path, or a name to be looked up in `PATH`.
    pub executable: PathBuf,
    /// Its arguments.
    pub arguments: Vec<OsString>,
}

impl Program {
    /// A program without arguments.
    pub fn new(executable: impl Into<PathBuf>) -> Self {
        Self { executable: executable.into(), arguments: Vec::new() }
    }

    /// With these arguments after those that are there.
    #[must_use]
    pub fn with_arguments(mut self, arguments: impl IntoIterator<Item = impl Into<OsString>>) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// This program as what `wrapper` starts, in the manner of `AWS_LAMBDA_EXEC_WRAPPER`.
    #[must_use]
    pub fn wrapped_in(&self, wrapper: &Self) -> Self {
        wrapper
            .clone()
            .with_arguments([self.executable.as_os_str().to_owned()])
            .with_arguments(self.arguments.iter().cloned())
    }
}

/// A process to start.
#[derive(Debug)]
pub(crate) struct Start<'a> {
    pub(crate) program: &'a Program,
    pub(crate) directory: &'a Path,
    pub(crate) environment: BTreeMap<String, String>,
    pub(crate) sandbox: SandboxNumber,
    /// In whose name its lines are logged.
    pub(crate) source: Source,
}

/// A live process, as tests see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveProcess {
    /// The process id, which is also its group's.
    pub pid: u32,
    /// In which sandbox.
    pub sandbox: SandboxNumber,
    /// What it is: [`Source::Function`] is the process started as the runtime, the shim if there is one.
    pub source: Source,
}

/// Every live process of a host.
#[derive(Debug)]
pub(crate) struct ProcessTable {
    table: Mutex<Table>,
}

#[derive(Debug)]
struct Table {
    live: HashMap<Pid, (SandboxNumber, Source)>,
    guard: Option<Child>,
    closed: bool,
}

impl ProcessTable {
    /// An empty table, with its guard, which will remove `run_directory`.
    pub(crate) fn new(run_directory: &Path) -> io::Result<Self> {
        let guard = std::process::Command::new("/bin/sh")
            .args(["-c", GUARD_SCRIPT, "aft-guard"])
            .arg(run_directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Out of reach of a Ctrl-C in the host's terminal.
            .process_group(0)
            .spawn()?;
        let table = Table { live: HashMap::new(), guard: Some(guard), closed: false };
        Ok(Self { table: Mutex::new(table) })
    }

    /// Starts a process. `on_exit` is called once, after its last lines; `None` if its status could not be learnt.
    pub(crate) fn start(
        self: &Arc<Self>,
        start: Start<'_>,
        log: &Arc<SandboxLog>,
        on_exit: impl FnOnce(Option<ExitStatus>) + Send + 'static,
    ) -> io::Result<Process> {
        let mut command = tokio::process::Command::new(&start.program.executable);
        command
            .args(&start.program.arguments)
            .current_dir(start.directory)
            .env_clear()
            .envs(start.environment)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);

        // Held over the start, so that closing the table cannot miss a process.
        let mut table = self.lock();
        if table.closed {
            return Err(io::Error::other("the host is stopping"));
        }
        let mut child = command.spawn()?;
        let pid = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        let pid = pid.ok_or_else(|| io::Error::other("the process has no id"))?;
        table.live.insert(pid, (start.sandbox, start.source.clone()));
        table.tell_guard('+', pid);
        drop(table);

        let readers = [
            child.stdout.take().map(|pipe| tokio::spawn(log_lines(pipe, start.source.clone(), Arc::clone(log)))),
            child.stderr.take().map(|pipe| tokio::spawn(log_lines(pipe, start.source, Arc::clone(log)))),
        ];
        let table = Arc::clone(self);
        let watcher = tokio::spawn(async move {
            let status = child.wait().await.ok();
            table.ended(pid);
            let last_lines = async {
                for reader in readers.into_iter().flatten() {
                    // A reader that panicked has no more lines.
                    let _ = reader.await;
                }
            };
            let _ = tokio::time::timeout(LAST_LINES_LIMIT, last_lines).await;
            on_exit(status);
        });
        Ok(Process { pid, watcher, table: Arc::clone(self) })
    }

    /// Every live process, by sandbox.
    pub(crate) fn live(&self) -> Vec<LiveProcess> {
        let table = self.lock();
        let processes = table.live.iter().map(|(pid, (sandbox, source))| LiveProcess {
            pid: pid.as_raw_nonzero().get().unsigned_abs(),
            sandbox: *sandbox,
            source: source.clone(),
        });
        let mut processes: Vec<_> = processes.collect();
        processes.sort_by(|one, other| (one.sandbox, &one.source).cmp(&(other.sandbox, &other.source)));
        processes
    }

    /// Kills the live processes that `which` chooses, without their children, all at the same time: none of them sees
    /// another die. Returns how many.
    pub(crate) fn kill(&self, which: impl Fn(SandboxNumber, &Source) -> bool) -> usize {
        let table = self.lock();
        let chosen = table.live.iter().filter(|(_, (sandbox, source))| which(*sandbox, source));
        let chosen: Vec<Pid> = chosen.map(|(pid, _)| *pid).collect();
        for pid in &chosen {
            // Fails only if it has just ended.
            let _ = kill_process(*pid, Signal::STOP);
        }
        chosen.iter().filter(|pid| kill_process(**pid, Signal::KILL).is_ok()).count()
    }

    /// Signals the groups of a sandbox's live processes.
    pub(crate) fn signal_groups(&self, sandbox: SandboxNumber, signal: Signal) {
        let table = self.lock();
        for (pid, _) in table.live.iter().filter(|(_, (number, _))| *number == sandbox) {
            // Fails only if the group has just ended.
            let _ = kill_process_group(*pid, signal);
        }
    }

    /// Kills every group and starts no more processes.
    pub(crate) fn close(&self) {
        let mut table = self.lock();
        table.closed = true;
        for pid in table.live.keys() {
            // Fails only if the group has just ended.
            let _ = kill_process_group(*pid, Signal::KILL);
        }
        if let Some(mut guard) = table.guard.take() {
            // The guard reads the end of the pipe: it kills what is left, removes the run directory, and ends. That takes
            // milliseconds.
            drop(guard.stdin.take());
            let _ = guard.wait();
        }
    }

    /// The process has ended: what is left of its group ends too.
    fn ended(&self, pid: Pid) {
        let mut table = self.lock();
        let _ = kill_process_group(pid, Signal::KILL);
        table.live.remove(&pid);
        table.tell_guard('-', pid);
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for ProcessTable {
    fn drop(&mut self) {
        self.close();
    }
}

impl Table {
    fn tell_guard(&mut self, change: char, group: Pid) {
        if let Some(guard) = self.guard.as_mut().and_then(|guard| guard.stdin.as_mut()) {
            // Without its guard (someone killed it), the host still has the other two defences.
            let _ = writeln!(guard, "{change} {group}");
        }
    }
}

/// A process that was started.
#[derive(Debug)]
pub(crate) struct Process {
    pid: Pid,
    watcher: JoinHandle<()>,
    table: Arc<ProcessTable>,
}

impl Process {
    /// Signals the process's whole group, unless the process has ended.
    pub(crate) fn signal_group(&self, signal: Signal) {
        let table = self.table.lock();
        if table.live.contains_key(&self.pid) {
            // Fails only if the group has just ended.
            let _ = kill_process_group(self.pid, signal);
        }
    }

    /// Waits until the process has ended and its end is known everywhere.
    pub(crate) async fn ended(&mut self) {
        if !self.watcher.is_finished() {
            // A watcher that panicked says that the process is gone, too.
            let _ = (&mut self.watcher).await;
        }
    }
}

async fn log_lines(pipe: impl AsyncRead + Unpin, source: Source, log: Arc<SandboxLog>) {
    let mut reader = BufReader::new(pipe);
    let mut line = Vec::new();
    // A pipe that cannot be read has no more lines.
    while (&mut reader).take(MAX_LINE_BYTES).read_until(b'\n', &mut line).await.is_ok_and(|bytes| bytes > 0) {
        let text = String::from_utf8_lossy(&line);
        log.line(source.clone(), text.trim_end_matches(['\r', '\n']).to_owned());
        line.clear();
    }
}
