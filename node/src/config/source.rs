//! Where a value came from, and how files are read.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A default of the role.
    Role,
    /// The file given with `--config`.
    File(PathBuf),
    /// An environment variable, by name; a `_FILE` twin counts as one.
    Variable(String),
    /// A command-line flag, such as `--listen`.
    Flag(&'static str),
}

/// A value given on the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flag {
    /// The flag as typed, such as `--listen`.
    pub flag: &'static str,
    /// The key it sets.
    pub key: &'static str,
    /// Its value.
    pub value: String,
}

/// How the configuration and secret files are read.
pub trait ReadFile {
    /// The whole file as UTF-8.
    ///
    /// # Errors
    /// Whatever the file system says.
    fn read(&self, path: &Path) -> io::Result<String>;
}

/// The machine's file system.
#[derive(Debug, Clone, Copy)]
pub struct Disk;

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Role => write!(f, "default of this command"),
            Self::File(path) => write!(f, "file {}", path.display()),
            Self::Variable(name) => write!(f, "environment variable {name}"),
            Self::Flag(flag) => write!(f, "flag {flag}"),
        }
    }
}

impl ReadFile for Disk {
    fn read(&self, path: &Path) -> io::Result<String> {
        std::fs::read_to_string(path)
    }
}
