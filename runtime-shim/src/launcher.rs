//! The moment between the shim and the real runtime: this program, started again as `--launch PARENT -- COMMAND…`, asks
//! the kernel to be killed when its parent dies, and becomes the command.
//!
//! A child must not outlive the shim: it would go on serving nobody. `PR_SET_PDEATHSIG` must be set in the child, which
//! without `unsafe` takes a program of its own; it survives `exec`. The child stays in the shim's process group, so that
//! Lambda's SIGTERM reaches it.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal};

const FLAG: &str = "--launch";

/// The arguments that make this program a launcher for a child of `parent`, in front of the child's command.
#[must_use]
pub fn arguments(parent: u32) -> [OsString; 3] {
    [FLAG.into(), parent.to_string().into(), "--".into()]
}

/// A launch that was asked for on the command line.
#[derive(Debug)]
pub struct Launch<'a> {
    parent: Option<Pid>,
    command: &'a [OsString],
}

impl<'a> Launch<'a> {
    /// Reads the command line; `None` if it asks for no launch.
    #[must_use]
    pub fn read(arguments: &'a [OsString]) -> Option<Self> {
        match arguments {
            [flag, parent, dashes, command @ ..] if flag == FLAG && dashes == "--" => {
                Some(Self { parent: pid(parent), command })
            }
            _ => None,
        }
    }

    /// Becomes the command. Returns only if that is not possible.
    #[must_use]
    pub fn run(&self) -> io::Error {
        if let Err(error) = set_parent_process_death_signal(Some(Signal::KILL)) {
            return error.into();
        }
        // What runs out of memory is the handler's doing, and killing it is what the shim can make up for: of the sandbox's
        // processes, the kernel is to choose this one (proc_pid_oom_score_adj(5); raising it needs no privilege).
        let _ = std::fs::write("/proc/self/oom_score_adj", "500");
        // It may have died before the lines above.
        if self.parent.is_none() || getppid() != self.parent {
            return io::Error::other("the shim is gone");
        }
        become_command(self.command)
    }
}

fn pid(text: &OsStr) -> Option<Pid> {
    Pid::from_raw(text.to_str()?.parse().ok()?)
}

/// Replaces this process by the command. Returns only if that is not possible.
#[must_use]
pub fn become_command(command: &[OsString]) -> io::Error {
    match command {
        [program, arguments @ ..] => {
            let error = Command::new(program).args(arguments).exec();
            io::Error::new(error.kind(), format!("{}: {error}", program.to_string_lossy()))
        }
        [] => io::Error::new(io::ErrorKind::InvalidInput, "there is no command to run"),
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::{Launch, arguments};

    #[test]
    fn only_a_whole_launch_is_a_launch() {
        let mut line: Vec<OsString> = arguments(7).into();
        line.push("python3".into());
        assert!(Launch::read(&line).is_some_and(|launch| launch.command == ["python3"]));
        assert!(Launch::read(&line[1..]).is_none());
        assert!(Launch::read(&["python3".into(), "--launch".into()]).is_none());
    }
}
