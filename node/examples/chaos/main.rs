//! Breaks a real cluster on purpose: three allocators and four nodes that draw ids, each a process, where the machine
//! allows it each with a network of its own. Every range that anybody was ever handed is kept and compared.
//!
//! `make chaos` runs all faults several times, `make chaos-short` once. A failed check is a non-zero exit.

mod cluster;
mod episodes;
mod ledger;
mod load;
mod network;
mod pace;
mod probe;
mod process;
mod report;
mod sandbox;
mod world;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::Parser;

use world::World;

/// Breaks a real cluster on purpose, and checks that no id is handed out twice.
#[derive(Debug, Parser)]
pub(crate) struct Options {
    /// Each fault once, and shorter
    #[arg(long)]
    short: bool,
    /// Only the faults whose name contains this
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    /// How often each fault that is about time is repeated [default: 5, with --short 1]
    #[arg(long, value_name = "TIMES")]
    repeat: Option<u32>,
    /// The program to break [default: the one beside this]
    #[arg(long, value_name = "FILE")]
    stint: Option<PathBuf>,
    /// Where to leave the nodes' logs [default: they are thrown away]
    #[arg(long, value_name = "DIR")]
    logs: Option<PathBuf>,
    /// Set by the program itself, for the part of it that runs inside: what is thrown away at the end
    #[arg(long, hide = true)]
    inside: Option<PathBuf>,
    /// Set by the program itself: whether network namespaces, mounts and packet filters are to be had
    #[arg(long, hide = true)]
    separate: bool,
}

impl Options {
    /// The whole run ends within this, whatever happens.
    const fn patience(&self) -> Duration {
        Duration::from_secs(if self.short { 120 } else { 600 })
    }

    const fn times(&self) -> u32 {
        match self.repeat {
            Some(times) => times,
            None if self.short => 1,
            None => 5,
        }
    }
}

fn main() -> ExitCode {
    let options = Options::parse();
    let outcome = match &options.inside {
        None => sandbox::run(&options),
        Some(dir) => inside(&options, dir.clone()),
    };
    outcome.unwrap_or_else(|error| {
        say(&format!("chaos: {error:#}"));
        ExitCode::FAILURE
    })
}

fn inside(options: &Options, dir: PathBuf) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("no runtime")?;
    runtime.block_on(async {
        let mut world = World::new(options, dir).await?;
        let ran = tokio::time::timeout(options.patience(), episodes::run(&mut world, options)).await;
        match ran {
            Ok(Ok(())) => {}
            Ok(Err(error)) => world.blame(format!("{error:#}")),
            Err(_) => world.blame(format!("it was not over within {} s", options.patience().as_secs())),
        }
        say(&world.report());
        Ok(if world.is_well() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    })
}

/// A line for whoever watches.
pub(crate) fn say(line: &str) {
    // Nobody is left to tell if stdout is closed.
    let _ = writeln!(std::io::stdout(), "{line}");
}
