//! One run from the first check to the verdict, and the smoke test: all scenarios in turn.

use std::convert::Infallible;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use futures_util::{StreamExt, stream};
use goose::is_killswitch_triggered;
use reqwest::Url;

use crate::cli::{Options, ScenarioName};
use crate::look::Look;
use crate::report::{Drift, Summary};
use crate::run::{Run, percentile};
use crate::verify::answer::Link;
use crate::verify::counts::Count;
use crate::verify::ledger::Wish;
use crate::verify::metrics::Snapshot;
use crate::wire::{Api, CreateRequest, Reply};
use crate::{attack, scenarios, targets};

/// How long each scenario of the smoke test lasts; `urls` as long as it takes.
const SMOKE_DURATION: Duration = Duration::from_secs(2);

/// The smoke test does every so many lines of the file.
const SMOKE_LINES: usize = 10;

/// Links made at the same time before the load begins.
const WARM_UP_AT_A_TIME: usize = 16;

/// What a session needs for each of its runs.
struct Session {
    options: Options,
    api: Api,
    bases: Vec<String>,
    pages: Vec<Url>,
    lines: Vec<String>,
}

/// Checks, runs, verifies.
///
/// # Errors
///
/// A mistake in how the program was called, or files that can't be read or written.
pub async fn conduct(options: &Options) -> anyhow::Result<Summary> {
    attack::silence();
    let scenarios = if options.smoke { ScenarioName::ALL.to_vec() } else { vec![options.scenario] };
    let session = Session {
        api: Api::new(targets::client(options)?, targets::key(options)?),
        bases: targets::bases(options)?,
        pages: targets::metrics_pages(options).await?,
        lines: lines(options)?,
        options: options.clone(),
    };
    if let Some(dir) = &options.report_dir {
        std::fs::create_dir_all(dir).with_context(|| format!("--report-dir {} can't be made", dir.display()))?;
    }
    targets::check(&session.api, &session.bases, &scenarios, &options.namespace).await?;
    session.counters().await?;
    if !options.smoke {
        return Box::pin(session.run(options.scenario)).await;
    }
    let mut summaries = Vec::new();
    for scenario in scenarios {
        let summary = Box::pin(session.run(scenario)).await?;
        print(&summary.to_string());
        let interrupted = summary.broken.iter().any(|line| line == INTERRUPTED);
        summaries.push(summary);
        if interrupted {
            break;
        }
    }
    let summary = Summary::of_all("smoke", summaries);
    session.write(&summary)?;
    Ok(summary)
}

const INTERRUPTED: &str = "the run was interrupted";

impl Session {
    /// One scenario, from the counts before to the verdict.
    async fn run(&self, scenario: ScenarioName) -> anyhow::Result<Summary> {
        let mut options = self.options.clone();
        if options.smoke {
            options.duration = SMOKE_DURATION;
        }
        let compare = !self.pages.is_empty() && !options.shared;
        let before = if compare { Some(self.counters().await) } else { None };
        let lines = if scenario == ScenarioName::Urls { self.lines.clone() } else { Vec::new() };
        let mut run = Run::new(scenario, options, self.api.clone(), self.bases.clone(), lines);
        if scenario.follows_old_links() {
            let warm = warm_up(&run).await;
            run.set_links(warm);
        }
        let run = Arc::new(run);
        let (mut broken, mut drift, mut compared) = (Vec::new(), None, false);
        if scenario.follows_old_links() && run.links.is_empty() {
            broken.push("no link could be created, so none could be followed".to_owned());
        } else {
            drift = self.load(&run).await?;
            if is_killswitch_triggered() && !run.is_finished() {
                broken.push(INTERRUPTED.to_owned());
            }
            scenarios::check_rest(&run).await;
        }
        if let Some(before) = before {
            match (before, self.counters().await) {
                (Ok(before), Ok(after)) => {
                    compared = true;
                    broken.extend(run.counts().compare(&before, &after, &run.options.namespace));
                }
                (Err(error), _) | (_, Err(error)) => broken.push(format!("{error:#}")),
            }
        }
        let summary = Summary::new(&run, broken, compared, drift);
        for line in &summary.broken {
            eprintln!("{}: {line}", summary.scenario);
        }
        self.write(&summary)?;
        Ok(summary)
    }

    /// The load, and what `soak` sees meanwhile.
    async fn load(&self, run: &Arc<Run>) -> anyhow::Result<Option<Drift>> {
        let mut looks = None;
        let watch = async {
            looks = self.look(run).await;
            std::future::pending::<Infallible>().await
        };
        // A run that is interrupted is looked at no more.
        tokio::select! {
            attacked = attack::attack(run, run.options.report_dir.as_deref()) => attacked?,
            never = watch => match never {},
        }
        Ok(looks.map(|looks| drift_of(run, &looks)))
    }

    async fn counters(&self) -> anyhow::Result<Snapshot> {
        targets::scrape(&self.api.client, &self.pages).await
    }

    /// `soak`: the servers in the middle of the first and of the last tenth.
    async fn look(&self, run: &Run) -> Option<[Look; 2]> {
        if run.scenario != ScenarioName::Soak {
            return None;
        }
        let duration = run.options.duration;
        let look = async |wait: Duration| {
            tokio::time::sleep(wait).await;
            Look::now(&self.api.client, &self.pages, &run.options.server_pids).await
        };
        Some([look(duration / 20).await, look(duration * 9 / 10).await])
    }

    fn write(&self, summary: &Summary) -> anyhow::Result<()> {
        self.options.report_dir.as_deref().map_or(Ok(()), |dir: &Path| summary.write(dir))
    }
}

/// The lines of `--urls` that are to be done.
fn lines(options: &Options) -> anyhow::Result<Vec<String>> {
    let Some(path) = &options.urls else { return Ok(Vec::new()) };
    let text = std::fs::read_to_string(path).with_context(|| format!("--urls {} can't be read", path.display()))?;
    let lines = text.lines().filter(|line| !line.trim().is_empty()).map(str::to_owned);
    let lines: Vec<_> = lines.step_by(if options.smoke { SMOKE_LINES } else { 1 }).collect();
    ensure!(!lines.is_empty(), "--urls {} holds no line", path.display());
    Ok(lines)
}

/// Creates the links that are to be followed, through all targets in turn. Those that fail are told.
async fn warm_up(run: &Run) -> Vec<Link> {
    let create = async |number: usize| {
        let url = run.new_url();
        let base = &run.targets[number % run.targets.len()];
        let request = run.api.create(base, &CreateRequest { url: &url, alias: None, reuse: None });
        let reply = Reply::to(request).await;
        match reply.and_then(|reply| run.note_created(&url, None, Wish::Plain, &reply)) {
            Ok((link, _)) => Some(link),
            Err(fault) => {
                run.note_failure(
                    &format!("POST {base}/api/v1/links"),
                    &fault,
                    &[(Count::Created, 1), (Count::Reused, 1)],
                );
                None
            }
        }
    };
    let numbers = 0..usize::try_from(run.options.links).unwrap_or(usize::MAX);
    let links = stream::iter(numbers.map(create)).buffer_unordered(WARM_UP_AT_A_TIME);
    links.filter_map(async |link| link).collect().await
}

fn drift_of(run: &Run, looks: &[Look; 2]) -> Drift {
    let times = run.times();
    Drift::new([&times.first_tenth, &times.last_tenth].map(|tenth| percentile(tenth, 0.99)), looks)
}

/// A line on stdout. That nobody reads it is no error.
pub fn print(line: &str) {
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}
