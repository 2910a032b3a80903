//! Failing on request, between writes: what a timeout, a bug or a dying machine does, on demand.

use std::fs::File;
use std::io::ErrorKind;
use std::process::exit;

use rustix::process::{Signal, getpid, kill_process};
use serde::{Deserialize, Serialize};

use crate::Error;

/// One way to fail.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Fault {
    /// After this many of the writes.
    pub after: u32,
    /// How.
    pub how: How,
}

/// How to fail.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum How {
    /// The handler returns an error.
    Error,
    /// The process exits with code 0.
    Exit,
    /// The process is killed (SIGKILL).
    Kill,
}

/// Which run of the handler for one request this is, from 0.
#[derive(Debug, Clone, Copy)]
pub struct Attempt(usize);

impl Attempt {
    /// Counts the runs for a request in files, because the process may not live to see the next one.
    ///
    /// # Errors
    /// If the temporary directory cannot be written.
    pub fn number_for(request: &str) -> Result<Self, Error> {
        let directory = std::env::temp_dir();
        for number in 0.. {
            match File::create_new(directory.join(format!("aft-transfer-{request}.{number}"))) {
                Ok(_) => return Ok(Self(number)),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err("more attempts than can be counted".into())
    }

    /// The same, but nothing is counted where nothing is to fail.
    ///
    /// # Errors
    /// If the temporary directory cannot be written.
    pub fn of(request: &str, faults: &[Fault]) -> Result<Self, Error> {
        if faults.is_empty() { Ok(Self(0)) } else { Self::number_for(request) }
    }

    /// Fails if the event asks this attempt to fail after `writes` writes.
    ///
    /// # Errors
    /// If it is asked to.
    pub fn fail_if_asked(self, faults: &[Fault], writes: u32) -> Result<(), Error> {
        match faults.get(self.0).filter(|fault| fault.after == writes) {
            None => Ok(()),
            Some(Fault { how: How::Error, .. }) => Err(format!("failed on request after {writes} writes").into()),
            Some(Fault { how: How::Exit, .. }) => exit(0),
            Some(Fault { how: How::Kill, .. }) => {
                kill_process(getpid(), Signal::KILL)?;
                unreachable!("SIGKILL cannot be outlived")
            }
        }
    }
}
