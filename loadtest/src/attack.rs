//! The load itself: goose, configured by this program's options, silent on the console.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use goose::config::GooseConfiguration;
use goose::{GooseAttack, GooseError};

use crate::cli::ScenarioName;
use crate::run::Run;
use crate::scenarios;

/// Users come within this time.
const ARRIVAL: Duration = Duration::from_millis(50);

/// Takes what goose logs: it writes warnings to stdout, and each failed request is told by this program already.
struct Silence;

impl log::Log for Silence {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        false
    }

    fn log(&self, _: &log::Record<'_>) {}

    fn flush(&self) {}
}

/// Lets goose have no say on the console. Once is enough.
pub(crate) fn silence() {
    // Somebody else has set one: then it is theirs.
    let _ = log::set_logger(&Silence);
}

/// Runs the scenario to its end. goose's reports go into `report_dir`.
pub(crate) async fn attack(run: &Arc<Run>, report_dir: Option<&Path>) -> anyhow::Result<()> {
    let arguments = arguments(run, report_dir)?;
    let configuration = GooseConfiguration::parse_args_default(&arguments).map_err(|error| shown(&error))?;
    let attack = GooseAttack::initialize_with_config(configuration).map_err(|error| shown(&error))?;
    let attack = attack.register_scenario(scenarios::scenario(run).map_err(|error| shown(&error))?);
    Box::pin(attack.execute()).await.map_err(|error| shown(&error))?;
    Ok(())
}

/// goose's command line.
fn arguments(run: &Run, report_dir: Option<&Path>) -> anyhow::Result<Vec<String>> {
    let options = &run.options;
    // Users a second; goose counts the time of the run from when all are there.
    let arrivals = f64::from(options.users) / ARRIVAL.as_secs_f64();
    let mut arguments: Vec<String> =
        ["--no-telnet", "--no-print-metrics", "--quiet", "--no-gzip"].map(str::to_owned).into();
    // goose builds a client of its own for each user, which is replaced before it makes a request. Without this it
    // would need the system's certificates, which an image may lack.
    arguments.push("--accept-invalid-certs".to_owned());
    arguments.extend(["--host".to_owned(), run.targets[0].clone()]);
    arguments.extend(["--users".to_owned(), options.users.to_string()]);
    arguments.extend(["--increase-rate".to_owned(), arrivals.to_string()]);
    // `urls` ends by itself.
    if run.scenario != ScenarioName::Urls {
        arguments.extend(["--run-time".to_owned(), options.duration.as_secs().to_string()]);
    }
    if let Some(rate) = options.rate {
        arguments.extend(["--throttle-requests".to_owned(), rate.to_string()]);
    }
    if let Some(dir) = report_dir {
        for extension in ["html", "goose.json"] {
            let path = dir.join(format!("{}.{extension}", run.scenario.as_str()));
            let path = path.to_str().context("--report-dir must be UTF-8: goose takes no other name")?;
            arguments.extend(["--report-file".to_owned(), path.to_owned()]);
        }
    }
    Ok(arguments)
}

/// goose's error without what it carries: its metrics.
fn shown(error: &GooseError) -> anyhow::Error {
    anyhow::anyhow!("{error}")
}
