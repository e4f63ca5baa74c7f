//! The data directory of a `dev` node: its format, its secrets, and where the rest lives.
//!
//! ```text
//! FORMAT     the format of the directory, a number
//! code.key   the code key, 32 hex digits: losing it loses every code
//! admin.key  the bootstrap API key
//! stint.db   links (SQLite, with its -wal and -shm files)
//! raft/      the allocator's log and snapshots
//! ```

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use stint_idgen::CodeKey;

use crate::domain::access::ApiKey;
use crate::ports::entropy::{Entropy, random_128};

/// The format this version writes, and the newest it reads.
const FORMAT: u32 = 1;

/// A data directory that this version can use.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
}

/// A secret from the directory.
pub struct Kept {
    /// The secret.
    pub text: String,
    /// Whether it was made just now.
    pub new: bool,
}

/// Why a directory can't be used.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// A file or the directory can't be read or written.
    #[error("can't {action} {path}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
    /// A newer Stint wrote it.
    #[error(
        "the data directory {path} was written by a newer version of Stint (format {found}, this one reads {FORMAT}); \
             use that version or newer"
    )]
    Newer {
        /// Which directory.
        path: PathBuf,
        /// Its format.
        found: u32,
    },
    /// It holds something else.
    #[error("{path} is not a data directory of Stint, and not empty; choose another with --data-dir")]
    Foreign {
        /// Which directory.
        path: PathBuf,
    },
    /// The format is no number.
    #[error("{path} doesn't hold a format number; restore it from a backup")]
    Unreadable {
        /// Which file.
        path: PathBuf,
    },
}

impl DataDir {
    /// Opens the directory, and makes it if it isn't there (only its owner may enter).
    ///
    /// # Errors
    /// [`DataDirError`], naming what is wrong.
    pub fn open(path: &Path) -> Result<Self, DataDirError> {
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed("create", path))?;
        let format = path.join("FORMAT");
        match fs::read_to_string(&format) {
            Ok(text) => check_format(path, &format, &text)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let mut entries = fs::read_dir(path).map_err(failed("read", path))?;
                if entries.next().is_some() {
                    return Err(DataDirError::Foreign { path: path.to_owned() });
                }
                write_new(&format, &FORMAT.to_string())?;
            }
            Err(error) => return Err(failed("read", &format)(error)),
        }
        Ok(Self { path: path.to_owned() })
    }

    /// The SQLite file.
    pub fn database(&self) -> PathBuf {
        self.path.join("stint.db")
    }

    /// The allocator's directory.
    pub fn raft(&self) -> PathBuf {
        self.path.join("raft")
    }

    /// The bootstrap API key's file.
    pub fn admin_key_file(&self) -> PathBuf {
        self.path.join("admin.key")
    }

    /// The code key, made at the first start.
    ///
    /// # Errors
    /// [`DataDirError::Io`].
    pub fn code_key(&self, entropy: &dyn Entropy) -> Result<Kept, DataDirError> {
        keep(&self.path.join("code.key"), || CodeKey::from_bytes(random_128(entropy)).expose_hex())
    }

    /// The bootstrap API key, made at the first start.
    ///
    /// # Errors
    /// [`DataDirError::Io`].
    pub fn admin_key(&self, entropy: &dyn Entropy) -> Result<Kept, DataDirError> {
        keep(&self.admin_key_file(), || ApiKey::from_random(random_128(entropy)).expose().to_owned())
    }
}

fn check_format(path: &Path, file: &Path, text: &str) -> Result<(), DataDirError> {
    match text.trim().parse() {
        Ok(found) if found > FORMAT => Err(DataDirError::Newer { path: path.to_owned(), found }),
        Ok(_) => Ok(()),
        Err(_) => Err(DataDirError::Unreadable { path: file.to_owned() }),
    }
}

fn keep(path: &Path, make: impl FnOnce() -> String) -> Result<Kept, DataDirError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Kept { text: text.trim().to_owned(), new: false }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let text = make();
            write_new(path, &text)?;
            Ok(Kept { text, new: true })
        }
        Err(error) => Err(failed("read", path)(error)),
    }
}

/// Writes a new file that only its owner may read, whole or not at all.
fn write_new(path: &Path, text: &str) -> Result<(), DataDirError> {
    let unfinished = path.with_extension("new");
    let write = || {
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
        writeln!(file, "{text}")?;
        file.sync_all()?;
        fs::rename(&unfinished, path)?;
        fs::File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
    };
    write().map_err(failed("write", path))
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> DataDirError {
    let path = path.to_owned();
    move |source| DataDirError::Io { action, path, source }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::ports::entropy::OsEntropy;

    #[test]
    fn secrets_are_made_once_and_only_their_owner_reads_them() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("data");
        let first = DataDir::open(&path).unwrap().admin_key(&OsEntropy).unwrap();
        let again = DataDir::open(&path).unwrap().admin_key(&OsEntropy).unwrap();
        assert!(first.new && !again.new);
        assert_eq!(first.text, again.text);
        assert_eq!(fs::metadata(path.join("admin.key")).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn a_newer_format_and_a_foreign_directory_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("FORMAT"), "2\n").unwrap();
        assert!(matches!(DataDir::open(dir.path()), Err(DataDirError::Newer { found: 2, .. })));
        fs::remove_file(dir.path().join("FORMAT")).unwrap();
        fs::write(dir.path().join("thesis.doc"), "").unwrap();
        assert!(matches!(DataDir::open(dir.path()), Err(DataDirError::Foreign { .. })));
    }
}
