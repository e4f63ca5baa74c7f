//! `stint links import`: a link for each line of a file, resumable, in constant memory.
//!
//! Lines are sent in order, several at a time, and their outcomes come back in order, so one number says which lines
//! are finished. Each line has its own idempotency key: one that is sent again after a crash makes no second link while
//! the server remembers the key.

mod files;
mod input;
mod lines;
mod progress;
mod request;
mod results;
mod state;
mod tally;

use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use futures_util::stream::{Stream, StreamExt, try_unfold};
use tokio::io::AsyncBufRead;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::Instant;

use super::error::ClientError;
use super::http::{ApiClient, Call};
use super::retry::RetryPolicy;
use super::table::printable;
use super::{Connection, Console, FileError};
use crate::cli::ImportArgs;
use crate::ports::clock::Clock;
use crate::ports::entropy::{Entropy, random_128};

use files::SameFile;
use input::Input;
use lines::{Format, Line, LineReader};
use progress::Progress;
use request::{Outcome, judge, read_line};
use results::{Results, ResultsError};
use state::{State, StateError, StateFile};

/// The progress is noted after so many lines or so much time, whichever is first.
const NOTE_LINES: u64 = 1000;
const NOTE_INTERVAL: Duration = Duration::from_secs(1);
/// The exit code of a program that ended by SIGINT.
const EXIT_INTERRUPTED: u8 = 130;

/// Why an import stops before its end.
#[derive(Debug, thiserror::Error)]
pub(super) enum ImportError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error(transparent)]
    SameFile(#[from] SameFile),
    #[error("--keep-codes is for NDJSON: lines of text have no codes; leave it out, or see --format")]
    NoCodes,
    #[error(transparent)]
    Results(#[from] ResultsError),
    #[error(transparent)]
    State(#[from] StateError),
    #[error("cannot read the input")]
    Read(#[source] io::Error),
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error(transparent)]
    Print(#[from] super::PrintFailed),
    #[error("{}; {}", in_one_line(.cause), after(*.line, *.resumable))]
    Stopped { cause: Box<Self>, line: u64, resumable: bool },
}

/// How the lines came to an end.
enum End {
    Finished,
    Interrupted,
}

/// An import under way.
struct Import<'a> {
    jobs: usize,
    clock: &'a dyn Clock,
    client: &'a ApiClient,
    state: State,
    state_file: Option<StateFile>,
    results: Option<Results>,
    progress: Progress,
    noted: (u64, Instant),
    /// The last finished line of an earlier run, and how many behind it were in doubt.
    before: (u64, u64),
}

/// Resolves when the process is asked to stop.
pub(super) async fn interrupted() {
    let Ok(mut terminate) = signal(SignalKind::terminate()) else {
        return std::future::pending().await;
    };
    tokio::select! {
        result = tokio::signal::ctrl_c() => if result.is_err() { std::future::pending().await },
        _ = terminate.recv() => {}
    }
}

/// Runs an import until its end or until `stop` resolves.
pub(super) async fn run(
    args: &ImportArgs,
    connection: &Connection,
    (clock, entropy): (&dyn Clock, &dyn Entropy),
    stop: impl Future<Output = ()>,
    console: &mut Console<'_>,
) -> Result<ExitCode, ImportError> {
    let client = connection.client(RetryPolicy::PATIENT)?;
    let mut input = Input::open(&args.input, args.state.is_some()).await?;
    let state_file = state_path(args, &input).map(StateFile::new);
    files::check(&args.input, args.results.as_deref(), state_file.as_ref().map(StateFile::path))?;
    let now = clock.unix_ms();
    let fresh = State::new(random_128(entropy), &connection.place, input.identity.clone(), args, now);
    let earlier = state_file.as_ref().map(StateFile::load).transpose()?.flatten();
    let resumed = earlier.is_some();
    let state = match (earlier, &state_file) {
        (Some(earlier), Some(file)) => earlier.resume(&fresh, file.path())?,
        _ => fresh,
    };
    if state.keep_codes && state.format == Some(Format::Text) {
        return Err(ImportError::NoCodes);
    }
    let results_at = if resumed { state.results_length } else { None };
    let results = args.results.as_deref().map(|path| Results::open(path, results_at)).transpose()?;
    if state.line > 0 {
        console.note(format_args!("going on after line {}", state.line));
    }
    if let Some(warning) = state.warning(now) {
        console.note(warning);
    }
    input.skip(state.offset).await?;
    let lines = LineReader::new(input.reader, state.format, state.line, state.offset);
    let progress = Progress::new(console.progress, input.length, &state);
    let noted = (state.line, Instant::now());
    let (jobs, before) = (args.jobs, (state.line, state.in_doubt));
    let mut import = Import { jobs, clock, client: &client, state, state_file, results, progress, noted, before };
    // Before the first request: whoever goes on after a crash must use the same idempotency keys.
    import.note(NOTE_LINES)?;
    let end = import.lines(lines, stop).await.and_then(|end| import.note(1).map(|()| end));
    import.progress.clear();
    import.finish(end, resumed, console)
}

/// Where the progress is noted; a pipe that was named like a file has no place beside it.
fn state_path(args: &ImportArgs, input: &Input) -> Option<PathBuf> {
    args.state.clone().or_else(|| args.state_path().filter(|_| input.length.is_some()))
}

impl Import<'_> {
    async fn lines<R: AsyncBufRead + Unpin>(
        &mut self,
        lines: LineReader<R>,
        stop: impl Future<Output = ()>,
    ) -> Result<End, ImportError> {
        let (client, keep_codes) = (self.client, self.state.keep_codes);
        let import_id = self.state.import_id.clone();
        let outcomes = in_order(lines, self.jobs, |line| create(client, &import_id, keep_codes, line));
        tokio::pin!(outcomes, stop);
        loop {
            tokio::select! {
                biased;
                () = &mut stop => return Ok(End::Interrupted),
                next = outcomes.next() => match next {
                    None => return Ok(End::Finished),
                    Some(result) => self.finished(&result?)?,
                },
            }
        }
    }

    /// Counts a line; every line before it is finished.
    fn finished(&mut self, outcome: &Outcome) -> Result<(), ImportError> {
        if let Some(results) = &mut self.results {
            results.write(outcome)?;
        }
        self.state.finished(outcome, self.clock.unix_ms());
        self.progress.show(&self.state);
        let (line, at) = self.noted;
        if self.state.line - line >= NOTE_LINES || at.elapsed() >= NOTE_INTERVAL {
            self.note(NOTE_LINES)?;
        }
        Ok(())
    }

    /// Notes the progress; the results that it speaks of are on disk before. The next note comes at the latest with
    /// line `next` from here; requests under way then are not known to be finished.
    fn note(&mut self, next: u64) -> Result<(), ImportError> {
        let in_doubt = next - 1 + self.jobs as u64;
        let (line, before) = self.before;
        self.state.in_doubt = if self.state.line == line { in_doubt.max(before) } else { in_doubt };
        self.state.results_length = self.results.as_mut().map(Results::commit).transpose()?;
        if let Some(file) = &self.state_file {
            file.save(&self.state)?;
        }
        self.noted = (self.state.line, Instant::now());
        Ok(())
    }

    fn finish(
        mut self,
        end: Result<End, ImportError>,
        resumed: bool,
        console: &mut Console<'_>,
    ) -> Result<ExitCode, ImportError> {
        for (line, detail) in &self.state.tally.first_refusals {
            console.note(format_args!("line {line}: {}", printable(detail)));
        }
        let resumable = self.state_file.is_some();
        match end {
            Ok(End::Finished) => {
                self.state_file.take().map_or(Ok(()), StateFile::remove)?;
                console.print(&self.state.tally)?;
                Ok(if self.state.tally.refused == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
            }
            Ok(End::Interrupted) => {
                console.note(format_args!("stopped; {}", after(self.state.line, resumable)));
                Ok(ExitCode::from(EXIT_INTERRUPTED))
            }
            Err(cause) if !resumed && self.state.line == 0 && cause.made_nothing() => {
                self.state_file.take().map_or(Ok(()), StateFile::remove)?;
                Err(cause)
            }
            Err(cause) if self.state.line == 0 && !resumable => Err(cause),
            Err(cause) => {
                // What was finished since the last note; if it can't be noted, its lines are just sent again.
                let _ = self.note(1);
                Err(ImportError::Stopped { cause: Box::new(cause), line: self.state.line, resumable })
            }
        }
    }
}

impl ImportError {
    /// Whether the failure of the first line shows that no line can have made a link.
    fn made_nothing(&self) -> bool {
        match self {
            Self::Client(error) => error.is_unreachable() || error.is_not_allowed(),
            Self::NoCodes => true,
            _ => false,
        }
    }
}

/// An error and its causes.
fn in_one_line(error: &(dyn std::error::Error + 'static)) -> String {
    let chain = std::iter::successors(Some(error), |error| (*error).source());
    chain.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// Where an import stands that stopped.
fn after(line: u64, resumable: bool) -> String {
    let done = match line {
        0 => "nothing is imported yet".to_owned(),
        line => format!("everything up to line {line} is imported"),
    };
    let how = if resumable { "start the same command again to go on" } else { "there is no --state to go on from" };
    format!("{done}; {how}")
}

/// The lines' outcomes in the order of the lines, up to `jobs` of them in the making.
fn in_order<'a, R, F, T>(
    lines: LineReader<R>,
    jobs: usize,
    create: impl Fn(Line) -> F + 'a,
) -> impl Stream<Item = Result<T, ImportError>> + 'a
where
    R: AsyncBufRead + Unpin + 'a,
    F: Future<Output = Result<T, ImportError>> + 'a,
    T: 'a,
{
    let lines =
        try_unfold(lines, |mut lines| async move { Ok::<_, io::Error>(lines.next().await?.map(|line| (line, lines))) });
    let create = move |line: io::Result<Line>| {
        let making = line.map(&create);
        async move { making.map_err(ImportError::Read)?.await }
    };
    lines.map(create).buffered(jobs)
}

async fn create(client: &ApiClient, import_id: &str, keep_codes: bool, line: Line) -> Result<Outcome, ImportError> {
    if keep_codes && line.format == Format::Text {
        return Err(ImportError::NoCodes);
    }
    let request = match read_line(&line, keep_codes) {
        Ok(request) => request,
        Err(refusal) => return Ok(Outcome::refused(&line, refusal)),
    };
    let idempotency_key = format!("import-{import_id}-{}", line.number);
    let answer = client.send(&Call::post("/api/v1/links", request.json, Some(idempotency_key))).await?;
    Ok(judge(&line, request.url, answer)?)
}

#[cfg(test)]
mod tests;
