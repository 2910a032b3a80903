//! What makes tables out of the figures of `make bench-peers`, and what docs/bench has of them. The plots' tests need matplotlib: they are run there.

use std::process::Command;

use aft_tests::tools::{repository, tool};

#[test]
fn the_tables_of_the_peers_are_as_the_figures_say() {
    run("test_report.py");
}

#[test]
fn what_is_published_of_the_peers_is_what_was_measured() {
    run("published.py");
}

fn run(tests: &str) {
    let peers = repository().join("bench/peers");
    let ended = Command::new(tool("python").join("bin/python"))
        .args(["-W", "error", "-m", "unittest", "discover", "-p", tests, "-s"])
        .arg(peers.join("tests"))
        .env("PYTHONPATH", peers)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output()
        .expect("Python can be started");
    let said = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.success() && !said.contains("Ran 0 tests"), "{said}");
}
