//! What the engines and the emulator need to start: tools that `tests/tools.sh` fetches, and ports.

use std::path::{Path, PathBuf};
use std::process::Command;

use libtest_mimic::{Failed, Trial};

/// What `tests/tools.sh` exits with when the machine lacks something that it does not fetch.
const MISSING: i32 = 3;

/// The machine lacks something: one line that names it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Missing(pub String);

/// Where a tool is, fetched if need be. The script prints the path.
///
/// # Panics
/// If it cannot be had.
pub fn tool(name: &str) -> PathBuf {
    optional_tool(name).unwrap_or_else(|missing| panic!("{missing}"))
}

/// As [`tool`], where the machine may lack what the tool needs.
///
/// # Errors
/// [`Missing`].
///
/// # Panics
/// If the tool cannot be had for any other reason.
pub fn optional_tool(name: &str) -> Result<PathBuf, Missing> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tools.sh");
    let fetched = Command::new(&script).arg(name).output().expect("tests/tools.sh can be started");
    let errors = String::from_utf8_lossy(&fetched.stderr);
    if fetched.status.code() == Some(MISSING) {
        return Err(Missing(errors.trim_end().to_owned()));
    }
    assert!(fetched.status.success(), "{} {name} failed: {errors}", script.display());
    Ok(PathBuf::from(String::from_utf8_lossy(&fetched.stdout).trim_end()))
}

/// A test that cannot run here: reported as ignored, and failing where nothing may be skipped.
#[must_use]
pub fn skipped(name: String, missing: &Missing) -> Trial {
    let strict = ["CI", "AFT_TESTS_NO_SKIP"]
        .iter()
        .any(|name| std::env::var(name).is_ok_and(|value| !["", "0", "false"].contains(&value.as_str())));
    let line = missing.to_string();
    let trial = Trial::test(name, move || Err(Failed::from(line)));
    if strict { trial } else { trial.with_kind(missing.to_string()).with_ignored_flag(true) }
}

/// The root of the repository.
#[must_use]
pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate is a folder of the repository")
}

/// A port that nobody listens on and that no other call in this process is given.
pub(crate) fn free_port() -> u16 {
    aft_cli::port::free_port().expect("a free port")
}
