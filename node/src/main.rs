//! The `stint` program: arguments → configuration → app → exit code.

use std::io::Write as _;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use stint::app::{DevNode, Surroundings, start_dev};
use stint::cli::{Command, ConfigCommand, DevArgs, Invocation};
use stint::config::{Disk, EXIT_USAGE, Inputs, Loaded, Role, load};
use stint::lifecycle::Signals;
use stint::ports::clock::SystemClock;
use stint::ports::entropy::OsEntropy;
use stint::{http, telemetry};

fn main() -> ExitCode {
    let invocation = match Invocation::parse(std::env::args_os()) {
        Ok(invocation) => invocation,
        Err(error) => {
            // Nobody is left to tell if even this can't be printed.
            let _ = error.print();
            return ExitCode::from(error.exit_code());
        }
    };
    run(invocation).unwrap_or_else(|error| {
        complain(&format!("stint: {error:#}"));
        ExitCode::FAILURE
    })
}

fn run(invocation: Invocation) -> anyhow::Result<ExitCode> {
    let config = invocation.config.as_deref();
    match invocation.command {
        Command::Dev(args) => match configuration(config, &args) {
            Ok(loaded) => runtime()?.block_on(dev(&loaded, &args)),
            Err(code) => Ok(code),
        },
        Command::Config(command) => match (configuration(config, &DevArgs::default()), command) {
            (Ok(loaded), ConfigCommand::Show) => say(&loaded.show()),
            (Ok(_), ConfigCommand::Check) => say("ok\n"),
            (Err(code), _) => Ok(code),
        },
        Command::Openapi => say(&http::document()),
        _ => anyhow::bail!("not built yet"),
    }
}

/// The configuration, or the exit code after its problems were printed.
#[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
fn configuration(file: Option<&std::path::Path>, args: &DevArgs) -> Result<Loaded, ExitCode> {
    let flags = args.flags();
    let inputs = Inputs { role: Role::Dev, file, flags: &flags, files: &Disk };
    load(inputs, std::env::vars()).map_err(|problems| {
        complain(&problems.to_string());
        ExitCode::from(EXIT_USAGE)
    })
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().context("the runtime can't be started")
}

async fn dev(loaded: &Loaded, args: &DevArgs) -> anyhow::Result<ExitCode> {
    let mut signals = Signals::take().context("the signals can't be taken over")?;
    let log_level = telemetry::start(&loaded.config.log)?;
    let around = Surroundings { clock: Arc::new(SystemClock), entropy: Arc::new(OsEntropy), log_level };
    let node = start_dev(&loaded.config, args.repair_ids, around).await?;
    say(&banner(&node))?;
    let failed = tokio::select! {
        () = signals.next() => false,
        () = node.failed() => true,
    };
    tracing::info!("stopping; a second signal stops at once");
    let clean = tokio::select! {
        clean = node.stop() => clean,
        () = signals.next() => false,
    };
    Ok(if clean && !failed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What a person wants to know after the start. The `curl` line works as printed.
fn banner(node: &DevNode) -> String {
    let (url, admin) = (&node.public_url, node.admin_address);
    let mut text = format!(
        "Stint {} is ready.\n\n  Shorten   {url}\n  API docs  {url}/docs\n  Metrics   http://{admin}/metrics\n\n",
        env!("CARGO_PKG_VERSION")
    );
    if let Some(file) = &node.admin_key_file {
        text += &match &node.new_admin_key {
            Some(key) => format!("  Admin API key (kept in {}, shown this once):\n    {key}\n\n", file.display()),
            None => format!("  Admin API key: in {}\n\n", file.display()),
        };
    }
    let key = match (&node.new_admin_key, &node.admin_key_file) {
        (Some(key), _) => key.clone(),
        (None, Some(file)) => format!("$(cat {})", file.display()),
        (None, None) => "$STINT_ADMIN_KEY".to_owned(),
    };
    text += &format!(
        "  Try it:\n    curl -s http://{}/api/v1/links -H \"Authorization: Bearer {key}\" \
         -H 'Content-Type: application/json' -d '{{\"url\":\"https://example.com/\"}}'\n",
        node.address
    );
    text
}

fn say(text: &str) -> anyhow::Result<ExitCode> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error).context("can't write to stdout"),
        _ => Ok(ExitCode::SUCCESS),
    }
}

fn complain(text: &str) {
    // Nobody is left to tell if stderr is closed.
    let _ = writeln!(std::io::stderr(), "{text}");
}
