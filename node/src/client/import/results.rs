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
    #[error("{} holds something already; name another file with --results, or move it away", .path.display())]
    NotEmpty { path: PathBuf },
}

impl Results {
    /// Opens the file, which must be empty; with `kept`, for a resumption, its first so many bytes stay and what stands
    /// behind is written again.
    pub(super) fn open(path: &Path, kept: Option<u64>) -> Result<Self, ResultsError> {
        let failed = |source| ResultsError::Write { path: path.to_owned(), source };
        let length = kept.unwrap_or(0);
        let mut file = File::options().write(true).create(true).truncate(false).open(path).map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        let regular = metadata.is_file();
        if regular {
            if kept.is_none() && metadata.len() > 0 {
                return Err(ResultsError::NotEmpty { path: path.to_owned() });
            }
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

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::client::import::lines::{Format, Line};
    use crate::client::import::request::read_line;

    fn refused(number: u64) -> Outcome {
        let line = Line { number, end: 0, format: Format::Ndjson, bytes: Some(b"{".to_vec()) };
        let refusal = read_line(&line, false).unwrap_err();
        Outcome::refused(&line, refusal)
    }

    fn lines(path: &Path) -> Vec<u64> {
        let text = fs::read_to_string(path).unwrap();
        let line = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap()["line"].as_u64().unwrap();
        text.lines().map(line).collect()
    }

    #[test]
    fn results_behind_the_noted_length_are_written_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("results");
        let mut results = Results::open(&path, None).unwrap();
        results.write(&refused(1)).unwrap();
        let noted = results.commit().unwrap();
        results.write(&refused(2)).unwrap();
        results.write(&refused(3)).unwrap();
        assert!(results.commit().unwrap() > noted);
        let mut results = Results::open(&path, Some(noted)).unwrap();
        results.write(&refused(2)).unwrap();
        results.commit().unwrap();
        assert_eq!(lines(&path), [1, 2]);
    }

    #[test]
    fn results_of_before_are_not_written_over() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("results");
        fs::write(&path, "{}\n").unwrap();
        let error = Results::open(&path, None).unwrap_err().to_string();
        let expected = "holds something already; name another file with --results, or move it away";
        assert_eq!(error, format!("{} {expected}", path.display()));
        assert_eq!(fs::read_to_string(&path).unwrap(), "{}\n");
    }

    #[test]
    fn results_that_are_gone_are_not_begun_in_the_middle() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("results");
        fs::write(&path, "{}\n").unwrap();
        assert!(matches!(Results::open(&path, Some(4)), Err(ResultsError::Missing { .. })));
        assert_eq!(fs::read_to_string(&path).unwrap(), "{}\n");
    }
}
