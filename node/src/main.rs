//! The `stint` program: arguments → configuration → app → exit code.

use std::io::{IsTerminal as _, Write as _};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use stint::app::{DevNode, Surroundings, start_dev};
use stint::cli::{ClientArgs, Command, ConfigCommand, DevArgs, Invocation, Target};
use stint::client::{Connection, Console, run_cluster, run_healthcheck, run_keys, run_links};
use stint::config::{ConfigError, Disk, EXIT_USAGE, Inputs, Loaded, Role, WebUrl, client_environment, load};
use stint::lifecycle::Signals;
use stint::ports::clock::SystemClock;
use stint::ports::entropy::OsEntropy;
use stint::{http, telemetry};

/// Settings of other roles: a value for one is worth a warning.
const UNUSED_BY_DEV: [&str; 13] = [
    "http.trusted_proxies",
    "cluster.listen",
    "cluster.peers",
    "cluster.allocators",
    "cluster.secret",
    "cluster.id",
    "cluster.tls.cert",
    "cluster.tls.key",
    "cluster.tls.ca",
    "database.replica_urls",
    "database.pool_size",
    "clicks.queue_size",
    "trace.endpoint",
];

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
        Command::Healthcheck(args) => Ok(runtime()?.block_on(run_healthcheck(&args, &mut console()))),
        Command::Links(command) => with_server(config, command.client(), async |connection| {
            run_links(&command, connection, &mut console()).await
        }),
        Command::Keys(command) => with_server(config, command.client(), async |connection| {
            run_keys(&command, connection, &mut console()).await
        }),
        Command::Cluster(command) => with_server(config, command.client(), async |connection| {
            run_cluster(&command, connection, &mut console()).await
        }),
    }
}

/// Runs a client's command against the server it names, or against a node that is started in this process, on a
/// loopback port, for the data directory it names.
#[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
fn with_server(
    file: Option<&Path>,
    args: &ClientArgs,
    command: impl AsyncFnOnce(&Connection) -> anyhow::Result<ExitCode>,
) -> anyhow::Result<ExitCode> {
    let environment = match client_environment(std::env::vars(), &Disk) {
        Ok(environment) => environment,
        Err(problems) => return Ok(refuse(&problems)),
    };
    match args.target(&environment) {
        Target::Server { url, key } => runtime()?.block_on(command(&Connection::to_server(url, key))),
        Target::DataDir(dir) => {
            anyhow::ensure!(dir.join("FORMAT").exists(), "there is no data directory of Stint at {}", dir.display());
            let listen = Some("127.0.0.1:0".to_owned());
            let data_dir = Some(dir.display().to_string());
            let args = DevArgs { data_dir, listen: listen.clone(), admin_listen: listen, ..DevArgs::default() };
            match configuration(file, &args) {
                Ok(loaded) => runtime()?.block_on(over_data_dir(&loaded, &dir, command)),
                Err(code) => Ok(code),
            }
        }
    }
}

async fn over_data_dir(
    loaded: &Loaded,
    dir: &Path,
    command: impl AsyncFnOnce(&Connection) -> anyhow::Result<ExitCode>,
) -> anyhow::Result<ExitCode> {
    let node = start_dev(&loaded.config, false, surroundings(loaded)?).await?;
    let connection = Connection::to_data_dir(WebUrl::of_listener(node.address), Some(node.admin_key.clone()), dir);
    let outcome = command(&connection).await;
    node.stop().await;
    outcome
}

fn console() -> Console<'static> {
    Console {
        stdout: Box::leak(Box::new(std::io::stdout())),
        stderr: Box::leak(Box::new(std::io::stderr())),
        progress: std::io::stderr().is_terminal(),
    }
}

/// The configuration, or the exit code after its problems were printed.
#[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
fn configuration(file: Option<&Path>, args: &DevArgs) -> Result<Loaded, ExitCode> {
    let flags = args.flags();
    let inputs = Inputs { role: Role::Dev, file, flags: &flags, files: &Disk };
    load(inputs, std::env::vars()).map_err(|problems| refuse(&problems))
}

fn refuse(problems: &ConfigError) -> ExitCode {
    complain(&problems.to_string());
    ExitCode::from(EXIT_USAGE)
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().context("the runtime can't be started")
}

async fn dev(loaded: &Loaded, args: &DevArgs) -> anyhow::Result<ExitCode> {
    let mut signals = Signals::take().context("the signals can't be taken over")?;
    let around = surroundings(loaded)?;
    for key in UNUSED_BY_DEV.iter().filter(|key| loaded.source(key).is_some()) {
        tracing::warn!(key, "this setting is known, but `stint dev` has no use for it");
    }
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

fn surroundings(loaded: &Loaded) -> anyhow::Result<Surroundings> {
    let log_level = telemetry::start(&loaded.config.log)?;
    Ok(Surroundings { clock: Arc::new(SystemClock), entropy: Arc::new(OsEntropy), log_level })
}

/// What a person wants to know after the start. The `curl` line works as printed.
fn banner(node: &DevNode) -> String {
    let (url, address, admin) = (&node.public_url, node.address, node.admin_address);
    let (key_line, key) = match &node.admin_key_file {
        Some(file) if node.admin_key_is_new => {
            let key = node.admin_key.expose();
            (format!("Admin API key (kept in {}, shown this once):\n    {key}", file.display()), key.to_owned())
        }
        Some(file) => (format!("Admin API key: in {}", file.display()), format!("$(cat '{}')", file.display())),
        None => ("Admin API key: as configured".to_owned(), "$STINT_ADMIN_KEY".to_owned()),
    };
    format!(
        "Stint {} is ready.\n\n  Shorten   {url}\n  API docs  {url}/docs\n  Metrics   http://{admin}/metrics\n\n  {key_line}\n\n\
         \x20 Try it:\n    curl -s http://{address}/api/v1/links -H \"Authorization: Bearer {key}\" \
         -H 'Content-Type: application/json' -d '{{\"url\":\"https://example.com/\"}}'\n",
        env!("CARGO_PKG_VERSION")
    )
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
