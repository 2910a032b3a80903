//! Histories as JSON lines. What is read, written and read again is the same; everything else says which rule it breaks.

use std::fs;
use std::path::PathBuf;

use aft_history::format;

/// The target.
pub fn check(data: &[u8]) {
    let file = scratch("history");
    fs::write(&file, data).unwrap();
    match format::read(&file) {
        Ok(history) => {
            format::write(&file, &history).unwrap();
            assert_eq!(format::read(&file).unwrap(), history);
            let operations = format::operations(&history);
            assert!(format::happened(&operations).len() <= operations.len());
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
    fs::remove_file(&file).unwrap();
}

/// A file of this thread's own.
#[must_use]
pub fn scratch(name: &str) -> PathBuf {
    let thread = format!("{:?}", std::thread::current().id()).replace(|c: char| !c.is_ascii_digit(), "");
    std::env::temp_dir().join(format!("aft-fuzz-{}-{thread}-{name}", std::process::id()))
}
