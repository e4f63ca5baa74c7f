//! How far an import came, kept beside its input so that it can go on after an interruption.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::input::Identity;
use super::lines::Format;
use super::request::Outcome;
use super::tally::Tally;
use crate::cli::ImportArgs;
use crate::client::atomic_file::AtomicFile;

/// How long a server remembers an idempotency key.
const KEY_LIFETIME_MS: u64 = 24 * 60 * 60 * 1000;
/// Raised when a file of before can't be understood any more.
const VERSION: u32 = 1;

/// An import, up to the line before which every line is finished.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct State {
    version: u32,
    /// What the idempotency keys of this import begin with.
    pub(super) import_id: String,
    /// The server, or the data directory.
    place: String,
    input: Identity,
    /// Known with the first line; a later one might look like another format.
    pub(super) format: Option<Format>,
    pub(super) keep_codes: bool,
    /// The last finished line, from 1.
    pub(super) line: u64,
    /// The bytes of the input up to its end.
    pub(super) offset: u64,
    /// The bytes of the results up to it; `None` without results.
    pub(super) results_length: Option<u64>,
    /// When the import began, and when the last line was finished; Unix milliseconds.
    started_unix_ms: u64,
    progress_unix_ms: u64,
    /// How many lines behind `line` may have been sent already; blank lines and comments not counted.
    pub(super) in_doubt: u64,
    pub(super) tally: Tally,
}

/// Where a state is kept.
#[derive(Debug)]
pub(super) struct StateFile(PathBuf);

/// Why an import can't be noted or go on.
#[derive(Debug, thiserror::Error)]
pub(in crate::client) enum StateError {
    #[error("cannot {operation} the state file {} (--state names another)", .path.display())]
    File { operation: &'static str, path: PathBuf, source: io::Error },
    #[error("{} is not the state of an import; name another file with --state", .0.display())]
    NotAState(PathBuf),
    #[error("{} was written by a newer version of stint; go on with that version", .0.display())]
    Newer(PathBuf),
    #[error("{} is the state of an interrupted import {what}; {advice}, or delete it to begin again", .path.display())]
    Other { path: PathBuf, what: String, advice: &'static str },
}

#[derive(Deserialize)]
struct Versioned {
    version: u32,
}

impl State {
    /// An import that begins.
    pub(super) fn new(import_id: [u8; 16], place: &str, input: Identity, args: &ImportArgs, unix_ms: u64) -> Self {
        Self {
            version: VERSION,
            import_id: format!("{:032x}", u128::from_be_bytes(import_id)),
            place: place.to_owned(),
            input,
            format: Format::asked(args.format),
            keep_codes: args.keep_codes,
            line: 0,
            offset: 0,
            results_length: args.results.as_ref().map(|_| 0),
            started_unix_ms: unix_ms,
            progress_unix_ms: unix_ms,
            in_doubt: 0,
            tally: Tally::default(),
        }
    }

    /// Notes a line as finished; all before it are.
    pub(super) fn finished(&mut self, outcome: &Outcome, unix_ms: u64) {
        self.progress_unix_ms = unix_ms;
        self.line = outcome.line;
        self.offset = outcome.end;
        self.format = Some(outcome.format);
        self.tally.add(&outcome.result);
    }

    /// What to know before going on at `unix_ms`: requests that the server has forgotten are carried out again.
    pub(super) fn warning(&self, unix_ms: u64) -> Option<String> {
        let forgotten = unix_ms.saturating_sub(self.progress_unix_ms) > KEY_LIFETIME_MS;
        (forgotten && self.in_doubt > 0).then(|| {
            format!(
                "warning: this import stopped more than 24 hours ago and the server has forgotten which requests were \
                 under way: lines {} to {} (blank lines and comments not counted) may be imported twice",
                self.line + 1,
                self.line + self.in_doubt,
            )
        })
    }

    /// This state, read from `path`, if it is one of the import that `asked` begins.
    pub(super) fn resume(self, asked: &Self, path: &Path) -> Result<Self, StateError> {
        let other = |what: String, advice| Err(StateError::Other { path: path.to_owned(), what, advice });
        if self.input != asked.input {
            let what = "of another input (its length or its beginning differs)".to_owned();
            return other(what, "name another file with --state");
        }
        if self.place != asked.place {
            return other(format!("into {}", self.place), "import there");
        }
        if self.keep_codes != asked.keep_codes {
            let with = if self.keep_codes { "with" } else { "without" };
            return other(format!("{with} --keep-codes"), "do the same");
        }
        if asked.format.is_some() && self.format.is_some() && self.format != asked.format {
            return other("with another --format".to_owned(), "do the same");
        }
        if self.results_length.is_some() != asked.results_length.is_some() {
            let with = if self.results_length.is_some() { "with" } else { "without" };
            return other(format!("{with} --results"), "do the same");
        }
        Ok(self)
    }
}

impl StateFile {
    pub(super) fn new(path: PathBuf) -> Self {
        Self(path)
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// The state, if there is one.
    pub(super) fn load(&self) -> Result<Option<State>, StateError> {
        let bytes = match fs::read(&self.0) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(self.failed("read", source)),
        };
        let not_a_state = |_| StateError::NotAState(self.0.clone());
        if !self.0.is_file() {
            return Err(StateError::NotAState(self.0.clone())); // `/dev/null` would be removed at the end.
        }
        let Versioned { version } = serde_json::from_slice(&bytes).map_err(not_a_state)?;
        if version > VERSION {
            return Err(StateError::Newer(self.0.clone()));
        }
        serde_json::from_slice(&bytes).map(Some).map_err(not_a_state)
    }

    /// Replaces the state as a whole: a crash leaves this one or the one before.
    pub(super) fn save(&self, state: &State) -> Result<(), StateError> {
        let json = serde_json::to_vec_pretty(state).expect("texts and numbers are JSON");
        let write = || {
            let mut file = AtomicFile::create(&self.0)?;
            file.write_all(&json)?;
            file.write_all(b"\n")?;
            file.commit()
        };
        write().map_err(|source| self.failed("write", source))
    }

    /// Removes the state: the import is finished.
    pub(super) fn remove(self) -> Result<(), StateError> {
        fs::remove_file(&self.0).map_err(|source| self.failed("remove", source))
    }

    fn failed(&self, operation: &'static str, source: io::Error) -> StateError {
        StateError::File { operation, path: self.0.clone(), source }
    }
}

#[cfg(test)]
mod tests;
