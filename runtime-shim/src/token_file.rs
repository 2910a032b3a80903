//! The file in which the handler finds its token under SnapStart. An environment variable would be the snapshot's for ever;
//! a file can change with every restore.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// A file that only this user can read.
#[derive(Debug, Clone)]
pub struct TokenFile(PathBuf);

impl TokenFile {
    /// The file at this path, in a directory that is there.
    #[must_use]
    pub const fn new(path: PathBuf) -> Self {
        Self(path)
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Puts a token into it, whole: a reader sees the old one or the new one.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn write(&self, token: &str) -> io::Result<()> {
        let next = self.0.with_extension("next");
        let mut file: File = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&next)?;
        file.write_all(token.as_bytes())?;
        drop(file);
        fs::rename(next, &self.0)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::TokenFile;

    #[test]
    fn only_this_user_reads_what_was_written_last() {
        let directory = std::env::temp_dir().join(format!("aft-token-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let file = TokenFile::new(directory.join("token"));
        file.write("a long first one").unwrap();
        file.write("second").unwrap();
        assert_eq!(std::fs::read_to_string(file.path()).unwrap(), "second");
        assert_eq!(std::fs::metadata(file.path()).unwrap().permissions().mode() & 0o777, 0o600);
        std::fs::remove_dir_all(directory).unwrap();
    }
}
