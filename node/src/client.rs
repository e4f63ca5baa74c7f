//! Commands that talk to a server over HTTP: links, API keys, the cluster, the health check.
//!
//! The wire is the contract: nothing here knows the server's types. (The cluster's commands may ask the allocators
//! instead, through their port.) An error of a command is one line that says what
//! went wrong and, where it helps, what to do.

mod atomic_file;
mod cluster;
mod error;
mod export;
mod healthcheck;
mod http;
mod import;
mod keys;
mod record;
mod retry;
mod table;
mod transport;

use std::fmt;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::anyhow;

use crate::cli::{ClusterCommand, HealthcheckArgs, KeysCommand, LinksCommand};
use crate::config::{Secret, WebUrl};
use crate::ports::clock::{Clock, SystemClock};
use crate::ports::coordination::Allocator;
use crate::ports::entropy::{Entropy, OsEntropy};

pub use error::{ApiProblem, ClientError, PrintFailed};
use http::ApiClient;
use retry::RetryPolicy;

/// A server to talk to, and as whom.
#[derive(Debug, Clone)]
pub struct Connection {
    url: WebUrl,
    key: Option<Secret>,
    place: String,
}

/// How the allocators' group is reached.
#[derive(Debug, Clone)]
pub enum GroupAccess {
    /// Through a server.
    Server(Connection),
    /// By asking its members.
    Allocators(Arc<dyn Allocator>),
}

/// Where a command prints.
pub struct Console<'a> {
    /// Results.
    pub stdout: &'a mut (dyn Write + Send),
    /// Notes.
    pub stderr: &'a mut (dyn Write + Send),
    /// Whether progress may be drawn on the process's stderr: when it is a terminal.
    pub progress: bool,
}

impl Connection {
    /// A running server.
    pub fn to_server(url: WebUrl, key: Option<Secret>) -> Self {
        let place = url.to_string();
        Self { url, key, place }
    }

    /// A server in this process at `url`, over the data directory `dir`. An interrupted import knows the directory
    /// again, where the URL is another one each time.
    pub fn to_data_dir(url: WebUrl, key: Option<Secret>, dir: &Path) -> Self {
        let dir = dir.canonicalize().unwrap_or_else(|_| dir.to_owned());
        Self { url, key, place: format!("the data directory {}", dir.display()) }
    }

    fn client(&self, patience: RetryPolicy) -> Result<ApiClient, ClientError> {
        ApiClient::new(self.url.as_str(), self.key.as_ref(), patience, entropy())
    }
}

impl Console<'_> {
    fn print(&mut self, line: impl fmt::Display) -> Result<(), PrintFailed> {
        writeln!(self.stdout, "{line}").and_then(|()| self.stdout.flush()).map_err(PrintFailed)
    }

    /// Notes are a courtesy: nothing stops because nobody reads them.
    fn note(&mut self, line: impl fmt::Display) {
        let _ = writeln!(self.stderr, "{line}").and_then(|()| self.stderr.flush());
    }
}

impl fmt::Debug for Console<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Console").field("progress", &self.progress).finish_non_exhaustive()
    }
}

/// Runs `stint links …`. SIGINT and SIGTERM stop an import so that it can go on later; it then exits 130.
///
/// # Errors
/// One line.
pub async fn run_links(
    command: &LinksCommand,
    connection: &Connection,
    console: &mut Console<'_>,
) -> anyhow::Result<ExitCode> {
    finish(match command {
        LinksCommand::Import(args) => {
            let entropy = entropy();
            let surroundings: (&dyn Clock, &dyn Entropy) = (&SystemClock, &*entropy);
            import::run(args, connection, surroundings, import::interrupted(), console).await.map_err(Into::into)
        }
        LinksCommand::Export(args) => export::run(&args.output, connection, console).await,
    })
}

/// Runs `stint keys …`.
///
/// # Errors
/// One line.
pub async fn run_keys(
    command: &KeysCommand,
    connection: &Connection,
    console: &mut Console<'_>,
) -> anyhow::Result<ExitCode> {
    finish(keys::run(command, connection, console).await)
}

/// Runs `stint cluster …`.
///
/// # Errors
/// One line.
pub async fn run_cluster(
    command: &ClusterCommand,
    access: &GroupAccess,
    console: &mut Console<'_>,
) -> anyhow::Result<ExitCode> {
    finish(cluster::run(command, access, console).await)
}

/// Runs `stint healthcheck`: success if the URL answers 200, else failure and one line on stderr.
pub async fn run_healthcheck(args: &HealthcheckArgs, console: &mut Console<'_>) -> ExitCode {
    match healthcheck::check(&args.url, entropy()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            console.note(problem);
            ExitCode::FAILURE
        }
    }
}

fn entropy() -> Arc<dyn Entropy> {
    Arc::new(OsEntropy)
}

/// Makes the error one line, and none of a reader who has seen enough (`stint keys list | head`).
fn finish(result: anyhow::Result<ExitCode>) -> anyhow::Result<ExitCode> {
    match result {
        Err(error) if error.downcast_ref::<PrintFailed>().is_some_and(PrintFailed::is_broken_pipe) => {
            Ok(ExitCode::SUCCESS)
        }
        Err(error) => Err(anyhow!("{error:#}")),
        done => done,
    }
}

/// The path and the operation of a failed file access.
#[derive(Debug, thiserror::Error)]
#[error("cannot {operation} {path}")]
struct FileError {
    operation: &'static str,
    path: String,
    source: io::Error,
}

impl FileError {
    fn of(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.display().to_string();
        move |source| Self { operation, path, source }
    }
}
