//! Porcupine, a checker of linearizability in Go: `tests/checkers/porcupine` tells it that the store is one object.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::Deserialize;

use super::Verdict;
use crate::clients::client::{build_go, output};
use crate::tools::{Missing, optional_tool};

#[derive(Deserialize)]
struct Answer {
    verdict: String,
    reason: String,
    transactions: Vec<String>,
}

/// The program, built.
///
/// # Errors
/// [`Missing`]
pub fn program() -> Result<PathBuf, Missing> {
    let modules = optional_tool("porcupine")?;
    let program = output("porcupine").join("checker");
    build_go(&Path::new(env!("CARGO_MANIFEST_DIR")).join("checkers/porcupine"), &modules, &program);
    Ok(program)
}

/// Checks these files.
///
/// # Panics
/// If the program fails.
#[must_use]
pub fn check(program: &Path, files: &[PathBuf]) -> Vec<Verdict> {
    let mut checker = Command::new(program);
    let mut checker =
        checker.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it can be started");
    let paths: String = files.iter().map(|file| format!("{}\n", file.display())).collect();
    let mut input = checker.stdin.take().expect("it was piped");
    let writer = std::thread::spawn(move || input.write_all(paths.as_bytes()));
    let output = checker.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    writer.join().expect("no panic").expect("it reads all of it");
    let text = String::from_utf8(output.stdout).expect("JSON is UTF-8");
    text.lines().map(|line| verdict(serde_json::from_str(line).expect("a line of JSON for each file"))).collect()
}

fn verdict(answer: Answer) -> Verdict {
    match answer.verdict.as_str() {
        "accepted" => Verdict::Accepted,
        "rejected" => Verdict::rejected(answer.reason, answer.transactions),
        "undecided" => Verdict::Undecided { reason: answer.reason },
        other => panic!("{other} is no verdict"),
    }
}
