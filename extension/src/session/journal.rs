//! The journal (R-FM-4): which of this sandbox's transactions may have a commit record that is not applied.
//!
//! If the extension dies, Lambda starts it again in the same sandbox: memory is gone, `/tmp` stays. So a transaction is noted
//! in a small file before its record is written, and taken out once it is applied or certainly not written. What the file
//! still names when an extension starts, it finishes before its own first commit.
//!
//! The file is made whole beside its place and renamed into it, once, and then written over by one system call for each change,
//! always as many bytes: whoever dies meanwhile leaves what was there or what is there now. It is not synced: only the process
//! dies, the kernel that has taken the bytes lives on; and if the sandbox dies, the file is gone with it. The journal saves time
//! and is never needed: without it (a full disk) the transaction is left to its retry, to whoever reads its keys, and to the
//! fault manager. So nothing here ever fails a commit or an init.
//!
//! More than one entry is there only after a commit whose outcome stayed unknown: its record may still arrive, and the sandbox
//! goes on under another name (R-FM-2).

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use aft_protocol::id::SandboxId;
use aft_protocol::version::Version;
use aft_store::retry::out_of_time;
use aft_store::{Store, StoreError};
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use super::Session;
use super::apply::{Pending, UNATTENDED};
use super::retry::last_moment;

/// Of more unknown outcomes than this, the oldest are left to others.
const ENTRIES: usize = 8;
/// The first line.
const BEGIN: &str = "aft-journal 1";
/// The last line, after spaces. Who does not find it has found a torn file.
const END: &str = "end";
/// What a journal has, those spaces included, and no more than a page, of which a system call writes all or nothing.
const BYTES: usize = 1_024;

/// A transaction that may have a record which is not applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Entry {
    /// Under which name the sandbox was to commit it.
    sandbox: SandboxId,
    version: Version,
}

/// The journal of a sandbox.
#[derive(Debug)]
pub struct Journal {
    file: Option<PathBuf>,
    state: Mutex<State>,
    /// Whether everything that was found at the start has been seen to.
    recovered: watch::Sender<bool>,
}

#[derive(Debug, Default)]
struct State {
    /// Oldest first.
    entries: Vec<Entry>,
    /// What is written over.
    open: Option<File>,
    warned: bool,
}

/// Why what is there is no journal.
#[derive(Debug, thiserror::Error)]
enum Unusable {
    #[error("{0}")]
    Unreadable(#[from] io::Error),
    #[error("it is torn, or not a journal of this version")]
    Foreign,
}

impl Journal {
    /// No journal: nothing is noted, nothing is found.
    #[must_use]
    pub fn none() -> Self {
        Self { file: None, state: Mutex::default(), recovered: watch::Sender::new(true) }
    }

    /// The journal beside the control socket, with what an extension that died here has left in it. To be called by whoever
    /// listens on that socket, and so is alone.
    #[must_use]
    pub fn beside(socket: &Path) -> Self {
        let mut name = socket.as_os_str().to_owned();
        name.push(".journal");
        let file = PathBuf::from(name);
        let entries = read(&file).unwrap_or_else(|error| {
            tracing::warn!(
                "the journal {} is passed over: {error}. If this sandbox's last transaction is not applied, its retry, a \
                 reader of its keys or the fault manager applies it",
                file.display()
            );
            Vec::new()
        });
        let recovered = watch::Sender::new(entries.is_empty());
        Self { file: Some(file), state: Mutex::new(State { entries, ..State::default() }), recovered }
    }

    /// A record is about to be written.
    pub(super) fn note(&self, sandbox: SandboxId, version: Version) {
        let mut state = self.state();
        if state.entries.len() == ENTRIES {
            state.entries.remove(0);
        }
        state.entries.push(Entry { sandbox, version });
        self.keep(&mut state);
    }

    /// It is applied, or was certainly not written.
    pub(super) fn settled(&self, version: Version) {
        let mut state = self.state();
        let before = state.entries.len();
        state.entries.retain(|entry| entry.version != version);
        if state.entries.len() < before {
            self.keep(&mut state);
        }
    }

    fn keep(&self, state: &mut State) {
        let Some(file) = &self.file else { return };
        let kept = write(file, &mut state.open, &encode(&state.entries));
        if let Err(error) = kept
            && !std::mem::replace(&mut state.warned, true)
        {
            tracing::warn!(
                "the journal {} cannot be kept, and transactions go on without it: {error}. If this extension dies, its \
                 last transaction's retry, a reader of its keys or the fault manager applies it",
                file.display()
            );
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn read(file: &Path) -> Result<Vec<Entry>, Unusable> {
    match fs::metadata(file) {
        // To open a pipe would be to wait for its other end.
        Ok(found) if !found.is_file() => return Err(Unusable::Foreign),
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error.into()),
    }
    let mut text = String::new();
    File::open(file)?.take(BYTES as u64).read_to_string(&mut text)?;
    decode(&text).ok_or(Unusable::Foreign)
}

fn decode(text: &str) -> Option<Vec<Entry>> {
    let lines = text.strip_prefix(BEGIN)?.strip_prefix('\n')?.strip_suffix('\n')?.strip_suffix(END)?;
    let lines = lines.trim_end_matches(' ');
    if !lines.is_empty() && !lines.ends_with('\n') {
        // What looks like the end is in a line of something else.
        return None;
    }
    let entry = |line: &str| {
        let (sandbox, version) = line.split_once(' ')?;
        Some(Entry { sandbox: sandbox.parse().ok()?, version: version.parse().ok()? })
    };
    // Not `lines`, which takes more for a line's end than was written.
    let entries: Vec<_> = lines.split_terminator('\n').map(entry).collect::<Option<_>>()?;
    (entries.len() <= ENTRIES).then_some(entries)
}

fn encode(entries: &[Entry]) -> String {
    let line = |Entry { sandbox, version }: &Entry| format!("{sandbox} {version}\n");
    let text = format!("{BEGIN}\n{}", entries.iter().map(line).collect::<String>());
    let rest = BYTES.saturating_sub(text.len() + 1);
    format!("{text}{END:>rest$}\n")
}

/// Writes over the file, or makes it if it is not there any more: a handler may clear `/tmp`.
fn write(file: &Path, open: &mut Option<File>, text: &str) -> io::Result<()> {
    if let Some(known) = open
        && known.metadata()?.nlink() > 0
    {
        return known.write_all_at(text.as_bytes(), 0);
    }
    let beside = file.with_extension("new");
    let new = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
    new.write_all_at(text.as_bytes(), 0)?;
    fs::rename(&beside, file)?;
    *open = Some(new);
    Ok(())
}

impl<S: Store> Session<S> {
    /// R-FM-4: finishes what an extension that died in this sandbox has left, beside whatever else happens. The first commit
    /// waits for it, reads do not, and the sandbox does not freeze meanwhile.
    pub fn recover(&self) {
        let left = self.inner.journal.state().entries.clone();
        if left.is_empty() {
            return;
        }
        let session = self.clone();
        let pending = Pending::new(&self.inner.applies);
        tokio::spawn(async move {
            for entry in left {
                match session.finish(entry).await {
                    Ok(()) => session.inner.journal.settled(entry.version),
                    // It stays in the journal; and since this extension commits under a name of its own, it may go on.
                    Err(error) => tracing::error!(
                        transaction = %entry.version.transaction(),
                        "what the extension that died here left could not be finished: {error}; this is tried again when \
                         an extension starts here, and by whoever reads these keys"
                    ),
                }
            }
            session.inner.journal.recovered.send_replace(true);
            drop(pending);
        });
    }

    /// A record that is not there was never written, or is another's by now; either way nothing is left to do. (One that is
    /// still on its way, sent by the dead process, is not waited for.)
    async fn finish(&self, entry: Entry) -> Result<(), StoreError> {
        let until = Instant::now() + UNATTENDED;
        let Some(record) = self.record_of(entry.version.transaction(), until).await? else { return Ok(()) };
        tracing::info!(
            transaction = %record.transaction(),
            sandbox = %entry.sandbox,
            "committed before the extension died here, and perhaps not applied: rolling forward"
        );
        self.finish_apply(&record, until).await
    }

    /// Waits until everything that was found at the start has been seen to, but not past the deadline.
    pub(super) async fn recovered(&self, deadline: Instant) -> Result<(), StoreError> {
        let mut recovered = self.inner.journal.recovered.subscribe();
        match timeout_at(last_moment(deadline), recovered.wait_for(|recovered| *recovered)).await {
            // The sender is the journal's, which lives as long as `self`.
            Ok(_) => Ok(()),
            Err(_) => Err(out_of_time()),
        }
    }
}
