//! What is imported: a file, or a stream that is read once.

use std::fmt::Write;
use std::io::{self, Cursor};
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio::fs::File;
use tokio::io::{AsyncBufRead, AsyncRead, AsyncReadExt, BufReader};

use super::{FileError, ImportError};
use crate::cli::StdioPath;

/// So much of the beginning tells inputs apart.
const HEAD: u64 = 64 << 10;

/// An input at its beginning.
pub(super) struct Input {
    pub(super) reader: Box<dyn AsyncBufRead + Send + Unpin>,
    /// Bytes of a regular file; `None` for a stream.
    pub(super) length: Option<u64>,
    pub(super) identity: Identity,
}

/// What tells an input from another one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Identity {
    length: Option<u64>,
    head_sha256: String,
}

impl Input {
    /// Opens a file or stdin. Unless it is to be `known_again`, nothing is read of a stream yet: its first lines are
    /// not kept waiting for more.
    pub(super) async fn open(path: &StdioPath, known_again: bool) -> Result<Self, ImportError> {
        match path {
            StdioPath::Stdio => Self::new(tokio::io::stdin(), None, known_again).await.map_err(ImportError::Read),
            StdioPath::File(path) => Ok(Self::open_file(path, known_again).await?),
        }
    }

    async fn open_file(path: &Path, known_again: bool) -> Result<Self, FileError> {
        let file = File::open(path).await.map_err(FileError::of("open", path))?;
        let metadata = file.metadata().await.map_err(FileError::of("open", path))?;
        if metadata.is_dir() {
            return Err(FileError::of("read", path)(io::ErrorKind::IsADirectory.into()));
        }
        let length = metadata.is_file().then_some(metadata.len());
        Self::new(file, length, known_again || length.is_some()).await.map_err(FileError::of("read", path))
    }

    async fn new(
        mut source: impl AsyncRead + Send + Unpin + 'static,
        length: Option<u64>,
        known_again: bool,
    ) -> io::Result<Self> {
        let mut head = Vec::new();
        if known_again {
            (&mut source).take(HEAD).read_to_end(&mut head).await?;
        }
        let identity = Identity::new(length, &head);
        Ok(Self { reader: Box::new(BufReader::new(Cursor::new(head).chain(source))), length, identity })
    }

    /// Goes on after so many bytes.
    pub(super) async fn skip(&mut self, bytes: u64) -> Result<(), ImportError> {
        let mut skipped = (&mut self.reader).take(bytes);
        tokio::io::copy(&mut skipped, &mut tokio::io::sink()).await.map(drop).map_err(ImportError::Read)
    }
}

impl Identity {
    /// The identity of an input of this length that begins so.
    pub(super) fn new(length: Option<u64>, head: &[u8]) -> Self {
        let digest = Sha256::digest(head);
        let head_sha256 = digest.iter().fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        });
        Self { length, head_sha256 }
    }
}
