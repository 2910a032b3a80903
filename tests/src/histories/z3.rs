//! The solver Z3, asked whether the transactions can be given positions so that each reads what the last writer before it
//! wrote: serializability by its definition, with nothing taken from the versions' order.
//!
//! Whether a transaction of unknown outcome took place is for the solver to choose. Positions may be equal where nothing
//! orders two transactions: then either order will do.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::{Level, Verdict};
use crate::tools::{Missing, optional_tool};
use aft_history::format::{Attempt, Operation, operations};

/// For one history. Undecided histories are failures.
const PATIENCE_MS: u32 = 10_000;

/// Printed before the answers for a history.
const NEXT: &str = "next";

/// The solver.
///
/// # Errors
/// [`Missing`]
pub fn program() -> Result<PathBuf, Missing> {
    Ok(optional_tool("z3")?.join("z3"))
}

/// Checks these histories.
///
/// # Panics
/// If the solver cannot be run or answers something else than was asked.
#[must_use]
pub fn check(program: &Path, histories: &[Vec<Attempt>], level: Level) -> Vec<Verdict> {
    let questions: Vec<Vec<Operation<'_>>> = histories.iter().map(|history| operations(history)).collect();
    let mut solver = Command::new(program);
    let mut solver = solver.arg("-in").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("Z3 can be started");
    let mut input = solver.stdin.take().expect("it was piped");
    // Asked one after the other: all questions of a large run are too much to hold.
    let output = std::thread::scope(|scope| {
        let questions = &questions;
        let writer = scope.spawn(move || {
            let mut each = questions.iter().map(|operations| question(operations, level));
            each.try_for_each(|question| input.write_all(question.as_bytes()))
        });
        let output = solver.wait_with_output().expect("Z3 ends");
        writer.join().expect("no panic").expect("Z3 reads all of it");
        output
    });
    let answers = String::from_utf8(output.stdout).expect("Z3 answers in ASCII");
    let answers: Vec<&str> = answers.split(NEXT).collect();
    assert!(answers[0].is_empty() && answers.len() == questions.len() + 1, "Z3: {}", answers[0]);
    questions.iter().zip(&answers[1..]).map(|(operations, answer)| verdict(operations, answer.trim())).collect()
}

fn verdict(operations: &[Operation<'_>], answer: &str) -> Verdict {
    let lines: Vec<&str> = answer.lines().collect();
    match lines[..] {
        ["sat", no_core] if no_core.contains("unsat core is not available") => Verdict::Accepted,
        ["unsat", core] if core.starts_with('(') && !core.contains("error") => {
            let numbers = core.split(|c: char| !c.is_ascii_digit()).filter_map(|number| number.parse::<usize>().ok());
            Verdict::rejected("no order of these explains what they read", numbers.map(|i| operations[i].name.clone()))
        }
        ["unknown", _] => Verdict::Undecided { reason: format!("not within {PATIENCE_MS} ms") },
        _ => panic!("Z3: {answer}"),
    }
}

/// `p3` is the position of operation 3, `h3` whether it happened, `t3` the name of all that holds for it.
fn question(operations: &[Operation<'_>], level: Level) -> String {
    let mut script = format!(
        "(reset)(set-option :produce-unsat-cores true)(set-option :smt.core.minimize true)\
         (set-option :timeout {PATIENCE_MS})(set-logic QF_IDL)\n"
    );
    for (number, operation) in operations.iter().enumerate() {
        let _ = write!(script, "(declare-const p{number} Int)");
        if !operation.certain {
            let _ = write!(script, "(declare-const h{number} Bool)");
        }
    }
    for (number, operation) in operations.iter().enumerate() {
        let reads: String = operation
            .reads
            .iter()
            .map(|read| explained(operations, number, &read.key, read.version.as_deref()))
            .collect();
        let happened = if operation.certain { "true".to_owned() } else { format!("h{number}") };
        let mut earlier = String::new();
        for (other, ended) in operations.iter().enumerate().filter_map(|(other, o)| Some((other, o.ended?))) {
            if level == Level::StrictlySerializable && ended < operation.began {
                let _ = write!(earlier, "(< p{other} p{number})");
            }
        }
        let _ =
            writeln!(script, "(assert (! (and true {earlier}(=> {happened} (and true {reads}))) :named t{number}))");
    }
    let _ = writeln!(script, "(echo \"{NEXT}\")(check-sat)(get-unsat-core)");
    script
}

/// That operation `reader` sees this version of the key: its writer comes before, and all others before that one or after.
fn explained(operations: &[Operation<'_>], reader: usize, key: &str, version: Option<&str>) -> String {
    let writes = |operation: &Operation<'_>| operation.writes.iter().any(|written| written == key);
    let others = || operations.iter().enumerate().filter(|(number, other)| *number != reader && writes(other));
    let writer = version.map(|version| others().find(|(_, other)| other.version == Some(version)));
    let mut all = String::new();
    match writer {
        None => {}
        Some(None) => all += " false",
        Some(Some((writer, operation))) => {
            let _ = write!(all, "(< p{writer} p{reader})");
            if !operation.certain {
                let _ = write!(all, " h{writer}");
            }
        }
    }
    for (other, operation) in others() {
        let _ = write!(all, "(or (< p{reader} p{other})");
        match writer {
            Some(Some((writer, _))) if writer == other => all += " true",
            Some(Some((writer, _))) => {
                let _ = write!(all, "(< p{other} p{writer})");
            }
            Some(None) | None => {}
        }
        if !operation.certain {
            let _ = write!(all, "(not h{other})");
        }
        all += ")";
    }
    all
}
