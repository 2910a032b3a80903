//! What makes tables out of the figures of `make bench-peers`. The plots' tests need matplotlib: they are run there.

use std::process::Command;

use aft_tests::tools::{repository, tool};

#[test]
fn the_tables_of_the_peers_are_as_the_figures_say() {
    let peers = repository().join("bench/peers");
    let tests = Command::new(tool("python").join("bin/python"))
        .args(["-W", "error", "-m", "unittest", "discover", "-p", "test_report.py", "-s"])
        .arg(peers.join("tests"))
        .env("PYTHONPATH", peers)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output()
        .expect("Python can be started");
    let said = String::from_utf8_lossy(&tests.stderr);
    assert!(tests.status.success() && !said.contains("Ran 0 tests"), "{said}");
}
