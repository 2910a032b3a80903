//! `aft history`: histories of transactions, judged, and written in the formats of other checkers.
//!
//! Everything is read before anything is written: one bad file, and nothing is.

mod arguments;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use aft_history::checker::{Expect, check};
use aft_history::convert::convert;
use aft_history::format::{Attempt, Malformed, read};

pub use arguments::{CheckArguments, ConvertArguments, HistoryCommand};

use crate::console;

/// Why a history could not be judged or converted.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// It is none.
    #[error("{}: {reason}", .file.display())]
    Malformed {
        /// Where.
        file: PathBuf,
        /// Which line, and which rule it breaks.
        reason: Malformed,
    },
    /// Standard output holds one.
    #[error("several histories are several files: say with --output which directory they go into")]
    Several,
    /// One would be written over the other.
    #[error("{} and {} would both become {}", .files[0].display(), .files[1].display(), .output.display())]
    SameName {
        /// These two.
        files: Box<[PathBuf; 2]>,
        /// That one.
        output: PathBuf,
    },
    /// The system refused.
    #[error("{}: cannot be written: {source}", .file.display())]
    Write {
        /// What.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Runs `aft history`: whether everything is as it should be. What is not was printed.
///
/// # Errors
/// [`HistoryError`]: nothing was judged, or not everything written.
pub fn run(command: HistoryCommand) -> Result<bool, HistoryError> {
    match command {
        HistoryCommand::Check(arguments) => judge(&arguments),
        HistoryCommand::Convert(arguments) => write(&arguments).map(|()| true),
    }
}

fn load(files: &[PathBuf]) -> Result<Vec<Vec<Attempt>>, HistoryError> {
    let load = |file: &PathBuf| read(file).map_err(|reason| HistoryError::Malformed { file: file.clone(), reason });
    files.iter().map(load).collect()
}

fn judge(arguments: &CheckArguments) -> Result<bool, HistoryError> {
    let histories = load(&arguments.files)?;
    let expect = Expect::from(arguments);
    let mut all_kept = true;
    for (file, history) in arguments.files.iter().zip(&histories) {
        let file = file.display();
        match check(history, expect) {
            Ok(judged) => console::print(&format!(
                "{file}: kept: {} attempts, {} of them committed, {} reads, {} writes",
                judged.attempts, judged.committed, judged.reads, judged.writes
            )),
            Err(breach) => {
                all_kept = false;
                console::print(&format!("{file}: broken: {breach}"));
            }
        }
    }
    Ok(all_kept)
}

fn write(arguments: &ConvertArguments) -> Result<(), HistoryError> {
    let histories = load(&arguments.files)?;
    let convert = |history: &Vec<Attempt>| {
        convert(history, arguments.to.into(), arguments.sessions.into(), arguments.question.into())
    };
    let Some(directory) = &arguments.output else {
        let [history] = &histories[..] else { return Err(HistoryError::Several) };
        console::print(convert(history).trim_end());
        return Ok(());
    };
    let mut outputs: BTreeMap<PathBuf, (&PathBuf, String)> = BTreeMap::new();
    for (file, history) in arguments.files.iter().zip(&histories) {
        let name = Path::new(file.file_name().unwrap_or_default()).with_extension(arguments.to.extension());
        let output = directory.join(name);
        if let Some((other, _)) = outputs.get(&output) {
            return Err(HistoryError::SameName { files: Box::new([(*other).clone(), file.clone()]), output });
        }
        outputs.insert(output, (file, convert(history)));
    }
    let refused = |file: &Path| {
        let file = file.to_owned();
        |source| HistoryError::Write { file, source }
    };
    std::fs::create_dir_all(directory).map_err(refused(directory))?;
    for (output, (_, text)) in outputs {
        std::fs::write(&output, text).map_err(refused(&output))?;
    }
    Ok(())
}
