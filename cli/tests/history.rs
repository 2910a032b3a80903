//! `aft history` as its users see it: what it prints and writes, and what it exits with.

#![allow(clippy::unwrap_used, reason = "clippy sees no test in what tests share")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// The history and what it becomes in the formats of others.
fn golden(name: &str) -> PathBuf {
    repository().join("proof/history/tests/golden").join(name)
}

fn history(name: &str) -> PathBuf {
    repository().join("tests/histories").join(name)
}

fn aft(arguments: &[&str], files: &[PathBuf]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_aft")).arg("history").args(arguments).args(files).output().unwrap()
}

fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

fn lines(bytes: &[u8]) -> Vec<String> {
    String::from_utf8_lossy(bytes).lines().map(str::to_owned).collect()
}

#[test]
fn one_history_is_converted_to_standard_output() {
    for (to, name) in [("plume", "bank.txt"), ("dbcop", "bank.json"), ("elle", "bank.edn")] {
        let output = aft(&["convert", "--to", to], &[golden("bank.jsonl")]);
        assert_eq!(String::from_utf8_lossy(&output.stdout), std::fs::read_to_string(golden(name)).unwrap());
        assert_eq!((output.status.code(), output.stderr.len()), (Some(0), 0));
    }
    let arguments = ["convert", "--to", "plume", "--sessions", "processes", "--for", "serializable"];
    let output = aft(&arguments, &[golden("bank.jsonl")]);
    let expected = std::fs::read_to_string(golden("bank-serializable.txt")).unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), expected);
}

#[test]
fn several_are_converted_into_a_directory() {
    let folder = folder("converted").join("new");
    let output = aft(
        &["convert", "--to", "elle", "--output", folder.to_str().unwrap()],
        &[golden("bank.jsonl"), history("good.jsonl")],
    );
    assert!(output.status.success(), "{output:?}");
    assert_eq!(std::fs::read(folder.join("bank.edn")).unwrap(), std::fs::read(golden("bank.edn")).unwrap());
    assert!(folder.join("good.edn").is_file());
}

#[test]
fn if_one_is_no_history_nothing_is_written() {
    let folder = folder("refused");
    let bad = folder.join("bad.jsonl");
    let text = std::fs::read_to_string(golden("bank.jsonl")).unwrap();
    std::fs::write(&bad, text.replace("\"ended\":9", "\"ended\":1")).unwrap();
    let out = folder.join("out");
    let output =
        aft(&["convert", "--to", "plume", "--output", out.to_str().unwrap()], &[golden("bank.jsonl"), bad.clone()]);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(lines(&output.stderr), [format!("aft: {}: line 3: pay#2@2 ended before it began", bad.display())]);
    assert!(output.stdout.is_empty() && !out.exists());

    let missing = folder.join("missing.jsonl");
    let output = aft(&["check"], &[golden("bank.jsonl"), missing.clone()]);
    assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0));
    assert!(lines(&output.stderr)[0].starts_with(&format!("aft: {}: cannot be read: ", missing.display())));
}

#[test]
fn what_cannot_be_two_files_is_refused() {
    let output = aft(&["convert", "--to", "plume"], &[golden("bank.jsonl"), history("good.jsonl")]);
    assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0));
    assert!(lines(&output.stderr)[0].contains("--output"), "{output:?}");

    let folder = folder("twice");
    let arguments = ["convert", "--to", "plume", "--output", folder.to_str().unwrap()];
    let output = aft(&arguments, &[golden("bank.jsonl"), golden("bank.jsonl")]);
    assert_eq!(output.status.code(), Some(2));
    assert!(lines(&output.stderr)[0].contains("would both become"), "{output:?}");
    assert_eq!(std::fs::read_dir(folder).unwrap().count(), 0);
}

#[test]
fn a_check_says_what_is_broken_and_by_whom() {
    let output = aft(&["check"], &[history("good.jsonl"), history("lost-update.jsonl"), golden("bank.jsonl")]);
    assert_eq!(output.status.code(), Some(1));
    let file = |path: PathBuf| path.display().to_string();
    assert_eq!(
        lines(&output.stdout),
        [
            format!("{}: kept: 7 attempts, 6 of them committed, 13 reads, 6 writes", file(history("good.jsonl"))),
            format!(
                "{}: broken: serializable: first#1@1, second#1@2; keys a; first#1@1 wrote \"a\" before second#1@2; second#1@2 \
                 read the \"a\" that was overwritten by first#1@1",
                file(history("lost-update.jsonl"))
            ),
            format!("{}: kept: 7 attempts, 5 of them committed, 7 reads, 6 writes", file(golden("bank.jsonl"))),
        ]
    );
    assert_eq!(aft(&["check"], &[history("good.jsonl")]).status.code(), Some(0));
}

#[test]
fn a_check_expects_what_it_is_told_to() {
    let stale = [history("stale-read.jsonl")];
    assert_eq!(aft(&["check"], &stale).status.code(), Some(1));
    assert_eq!(aft(&["check", "--without-real-time"], &stale).status.code(), Some(0));
    assert_eq!(aft(&["check", "--without-real-time", "--recent-reads"], &stale).status.code(), Some(1));
    // An audit that read the older key first looks forward only.
    let fractured = folder("level").join("forward.jsonl");
    let text = std::fs::read_to_string(history("fractured-read.jsonl")).unwrap();
    let line = text.lines().find(|line| line.contains("\"audit\"")).unwrap();
    let reads = line.split("\"reads\": [").nth(1).unwrap().split(']').next().unwrap();
    let (first, second) = reads.split_once("}, {").unwrap();
    let swapped = format!("{{{second}, {first}}}");
    let loose = text.replace(reads, &swapped).replace("\"serializable\"", "\"read-atomic\"");
    std::fs::write(&fractured, loose).unwrap();
    let fractured = [fractured];
    assert_eq!(aft(&["check"], &fractured).status.code(), Some(1));
    assert_eq!(aft(&["check", "--level", "read-committed"], &fractured).status.code(), Some(0));
}
