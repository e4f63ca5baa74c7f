//! The data directory of a `dev` node: its format, its secrets, and where the rest lives.
//!
//! One process at a time: `LOCK` is locked before the first write and for as long as the node lives. A secret that is
//! there is never replaced.
//!
//! ```text
//! LOCK       empty; locked by the process that uses the directory
//! FORMAT     the format of the directory, a number
//! code.key   the code key, 32 hex digits: losing it loses every code
//! admin.key  the bootstrap API key
//! stint.db   links (SQLite, with its -wal and -shm files)
//! raft/      the allocator's log and snapshots
//! ```

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use stint_idgen::CodeKey;

use crate::domain::access::ApiKey;
use crate::ports::entropy::{Entropy, random_128};

/// The format this version writes, and the newest it reads.
const FORMAT: u32 = 1;
/// The shortest admin key that is believed to be one.
const MIN_ADMIN_KEY: usize = 16;
/// What a directory may hold that isn't in use yet: the root of a fresh volume, and a first start that was killed.
const NOTHING_YET: [&str; 3] = ["lost+found", "LOCK", "FORMAT.new"];
/// Files that a start that was killed has left half written.
const UNFINISHED: [&str; 3] = ["FORMAT.new", "code.new", "admin.new"];

/// A data directory that this version can use, and that no other process uses while this value lives.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    _lock: File,
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
    /// Another process uses it.
    #[error("the data directory {path} is in use by another process")]
    InUse {
        /// Which directory.
        path: PathBuf,
    },
    /// A file holds no secret of its kind; what it holds is not shown.
    #[error("{path} doesn't hold {expected}; restore it from a backup")]
    BadSecret {
        /// Which file.
        path: PathBuf,
        /// What it should hold.
        expected: &'static str,
    },
    /// The code key is gone, but there are codes that were made with it.
    #[error(
        "code.key is missing from {path}; restore it from a backup: every code in stint.db depends on it \
         (or set codes.key to the key that was used first)"
    )]
    LostCodeKey {
        /// Which directory.
        path: PathBuf,
    },
}

impl DataDir {
    /// Opens the directory, and makes it if it isn't there (only its owner may enter). Locks it before the first write.
    ///
    /// # Errors
    /// [`DataDirError`], naming what is wrong.
    pub fn open(path: &Path) -> Result<Self, DataDirError> {
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed("create", path))?;
        // Looked at before the lock as well: nothing is written in a directory that isn't ours.
        has_format(path)?;
        let lock = lock(path)?;
        let is_ours = has_format(path)?;
        remove_unfinished(path)?;
        if !is_ours {
            write_new(&path.join("FORMAT"), &FORMAT.to_string())?;
        }
        Ok(Self { path: path.to_owned(), _lock: lock })
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
    /// [`DataDirError::LostCodeKey`] if it is gone and the database isn't, [`DataDirError::BadSecret`],
    /// [`DataDirError::Io`].
    pub fn code_key(&self, entropy: &dyn Entropy) -> Result<Kept, DataDirError> {
        let file = self.path.join("code.key");
        let exists = |path: &Path| path.try_exists().map_err(failed("read", path));
        if !exists(&file)? && exists(&self.database())? {
            return Err(DataDirError::LostCodeKey { path: self.path.clone() });
        }
        let kept = keep(&file, || CodeKey::from_bytes(random_128(entropy)).expose_hex())?;
        let is_key = kept.text.len() == 32 && kept.text.bytes().all(|byte| byte.is_ascii_hexdigit());
        kept.checked(is_key, &file, "a code key (32 hexadecimal digits)")
    }

    /// The bootstrap API key, made at the first start.
    ///
    /// # Errors
    /// [`DataDirError::BadSecret`], [`DataDirError::Io`].
    pub fn admin_key(&self, entropy: &dyn Entropy) -> Result<Kept, DataDirError> {
        let file = self.admin_key_file();
        let kept = keep(&file, || ApiKey::from_random(random_128(entropy)).expose().to_owned())?;
        let is_key = kept.text.len() >= MIN_ADMIN_KEY && kept.text.bytes().all(|byte| byte.is_ascii_graphic());
        kept.checked(is_key, &file, "an API key (at least 16 printable characters without spaces)")
    }
}

impl Kept {
    fn checked(self, is_valid: bool, path: &Path, expected: &'static str) -> Result<Self, DataDirError> {
        if is_valid { Ok(self) } else { Err(DataDirError::BadSecret { path: path.to_owned(), expected }) }
    }
}

/// Whether the directory has been used; one that holds something else, or is of a newer version, is an error.
fn has_format(path: &Path) -> Result<bool, DataDirError> {
    let format = path.join("FORMAT");
    match fs::read_to_string(&format) {
        Ok(text) => check_format(path, &format, &text).map(|()| true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => check_empty(path).map(|()| false),
        Err(error) => Err(failed("read", &format)(error)),
    }
}

fn check_empty(path: &Path) -> Result<(), DataDirError> {
    for entry in fs::read_dir(path).map_err(failed("read", path))? {
        let name = entry.map_err(failed("read", path))?.file_name();
        if !NOTHING_YET.iter().any(|ours| name == *ours) {
            // Another process may have just begun to use it.
            let is_ours = path.join("FORMAT").try_exists().map_err(failed("read", path))?;
            return if is_ours { Ok(()) } else { Err(DataDirError::Foreign { path: path.to_owned() }) };
        }
    }
    Ok(())
}

/// Locks the directory until the file is closed, at the latest when the process ends.
fn lock(path: &Path) -> Result<File, DataDirError> {
    let name = path.join("LOCK");
    let options = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&name);
    let file = options.map_err(failed("write", &name))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(DataDirError::InUse { path: path.to_owned() }),
        Err(TryLockError::Error(error)) => Err(failed("lock", &name)(error)),
    }
}

fn remove_unfinished(path: &Path) -> Result<(), DataDirError> {
    for name in UNFINISHED {
        let file = path.join(name);
        match fs::remove_file(&file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed("remove", &file)(error)),
            _ => {}
        }
    }
    Ok(())
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

/// Writes a new file that only its owner may read, whole or not at all. A file of this name is never replaced.
fn write_new(path: &Path, text: &str) -> Result<(), DataDirError> {
    let unfinished = path.with_extension("new");
    let write = || {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unfinished)?;
        writeln!(file, "{text}")?;
        file.sync_all()?;
        publish(&unfinished, path)?;
        File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
    };
    write().map_err(failed("write", path))
}

fn publish(unfinished: &Path, path: &Path) -> io::Result<()> {
    match fs::hard_link(unfinished, path) {
        Ok(()) => fs::remove_file(unfinished),
        // Not every file system has links (FAT, some network ones). The directory is locked, so that nobody else
        // makes the file between these two lines.
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists && !path.try_exists()? => {
            fs::rename(unfinished, path)
        }
        Err(error) => Err(error),
    }
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> DataDirError {
    let path = path.to_owned();
    move |source| DataDirError::Io { action, path, source }
}

#[cfg(test)]
mod tests;
