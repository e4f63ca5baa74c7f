//! The results file: what became of each line, one JSON object a line, in the order of the input.

use std::fs::File;
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::request::Outcome;

/// A results file being written.
#[derive(Debug)]
pub(super) struct Results {
    writer: BufWriter<File>,
    path: PathBuf,
    length: u64,
    /// A pipe or a device can neither be cut nor synced.
    regular: bool,
}

/// Why results can't be written.
#[derive(Debug, thiserror::Error)]
pub(in crate::client) enum ResultsError {
    #[error("cannot write {}", .path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("{} doesn't hold the results so far; give the --results of before, or delete the state file", .path.display())]
    Missing { path: PathBuf },
}

impl Results {
    /// Opens the file; with `kept` its first so many bytes stay and what stands behind is written again.
    pub(super) fn open(path: &Path, kept: Option<u64>) -> Result<Self, ResultsError> {
        let failed = |source| ResultsError::Write { path: path.to_owned(), source };
        let length = kept.unwrap_or(0);
        let mut file = File::options().write(true).create(true).truncate(kept.is_none()).open(path).map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        let regular = metadata.is_file();
        if regular {
            if metadata.len() < length {
                return Err(ResultsError::Missing { path: path.to_owned() });
            }
            file.set_len(length).map_err(failed)?;
            file.seek(SeekFrom::Start(length)).map_err(failed)?;
        }
        Ok(Self { writer: BufWriter::new(file), path: path.to_owned(), length, regular })
    }

    /// Adds a line.
    pub(super) fn write(&mut self, outcome: &Outcome) -> Result<(), ResultsError> {
        let mut line = serde_json::to_vec(&outcome.result).expect("texts and numbers are JSON");
        line.push(b'\n');
        self.writer.write_all(&line).map_err(|source| self.failed(source))?;
        self.length += line.len() as u64;
        Ok(())
    }

    /// Brings everything onto the disk; its length.
    pub(super) fn commit(&mut self) -> Result<u64, ResultsError> {
        let sync = |writer: &BufWriter<File>| if self.regular { writer.get_ref().sync_data() } else { Ok(()) };
        self.writer.flush().and_then(|()| sync(&self.writer)).map_err(|source| self.failed(source))?;
        Ok(self.length)
    }

    fn failed(&self, source: io::Error) -> ResultsError {
        ResultsError::Write { path: self.path.clone(), source }
    }
}
