//! The `stint` program: arguments → configuration → app → exit code.

use std::io::{IsTerminal as _, Write as _};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, anyhow};
use mimalloc::MiMalloc;
use stint::app::{
    DevNode, MigrateReport, Surroundings, allocators_client, migrate_database, start_allocator, start_dev, start_serve,
};
use stint::cli::{
    AllocatorArgs, ClientArgs, ClusterCommand, Command, ConfigCommand, DevArgs, Invocation, ServeArgs, Target,
};
use stint::client::{Connection, Console, GroupAccess, run_cluster, run_healthcheck, run_keys, run_links};
use stint::config::{
    ClientEnvironment, ConfigError, Disk, EXIT_USAGE, Flag, Inputs, Loaded, Role, WebUrl, client_environment, load,
    unicode_variables,
};
use stint::lifecycle::Signals;
use stint::ports::clock::SystemClock;
use stint::ports::entropy::OsEntropy;
use stint::telemetry::traces::Traces;
use stint::{http, telemetry};

/// A grant is made of some hundred small allocations over three members, a redirect of some ten: with the system's
/// allocator a cluster grants about 7 % less.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

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
        Command::Dev(args) => start(checked(config, Role::Dev, &args.flags()), async |loaded| dev(loaded, &args).await),
        Command::Serve(args) => {
            start(checked(config, Role::Serve, &args.flags()), async |loaded| serve(loaded, &args).await)
        }
        Command::Allocator(args) => {
            start(allocator_configuration(config, &args), async |loaded| allocator(loaded, &args).await)
        }
        Command::Config(ConfigCommand::Show(role)) => match configuration(config, role.get(), &[]) {
            Ok(loaded) => say(&loaded.show()),
            Err(code) => Ok(code),
        },
        Command::Config(ConfigCommand::Check(role)) => match checked(config, role.get(), &[]) {
            Ok(_) => say("ok\n"),
            Err(code) => Ok(code),
        },
        Command::Openapi => say(&http::document()),
        Command::Migrate => start(configuration(config, Role::Serve, &[]), migrate),
        Command::Healthcheck(args) => Ok(runtime()?.block_on(run_healthcheck(&args, &mut console()))),
        Command::Links(command) => with_server(config, command.client(), async |connection| {
            run_links(&command, connection, &mut console()).await
        }),
        Command::Keys(command) => with_server(config, command.client(), async |connection| {
            run_keys(&command, connection, &mut console()).await
        }),
        Command::Cluster(command) => cluster(config, &command),
    }
}

/// Runs a role with its configuration, or answers the exit code of a configuration that was refused.
fn start(
    loaded: Result<Loaded, ExitCode>,
    role: impl AsyncFnOnce(&Loaded) -> anyhow::Result<ExitCode>,
) -> anyhow::Result<ExitCode> {
    match loaded {
        Ok(loaded) => runtime()?.block_on(role(&loaded)),
        Err(code) => Ok(code),
    }
}

/// Runs a client's command against the server that it names.
fn with_server(
    file: Option<&Path>,
    args: &ClientArgs,
    command: impl AsyncFnOnce(&Connection) -> anyhow::Result<ExitCode>,
) -> anyhow::Result<ExitCode> {
    match environment() {
        Ok(environment) => at(file, args.target(&environment), command),
        Err(code) => Ok(code),
    }
}

/// Runs `stint cluster …` against the server that it names, else against the allocators if any are configured.
fn cluster(file: Option<&Path>, command: &ClusterCommand) -> anyhow::Result<ExitCode> {
    let group = command.group();
    let through = async |connection: &Connection| {
        run_cluster(command, &GroupAccess::Server(connection.clone()), &mut console()).await
    };
    let environment = match environment() {
        Ok(environment) => environment,
        Err(code) => return Ok(code),
    };
    if let Some(target) = group.named_server(&environment) {
        return at(file, target, through);
    }
    let loaded = match configuration(file, Role::Serve, &group.flags()) {
        Ok(loaded) => loaded,
        Err(code) => return Ok(code),
    };
    if loaded.config.cluster.allocators.is_empty() {
        return at(file, group.client.target(&environment), through);
    }
    if let Err(problems) = loaded.check_allocators_client() {
        return Ok(refuse(&problems));
    }
    runtime()?.block_on(async {
        let allocators = allocators_client(&loaded.config.cluster)?;
        run_cluster(command, &GroupAccess::Allocators(allocators), &mut console()).await
    })
}

/// Runs a client's command against a server, or against a node that is started in this process, on a loopback port, for
/// a data directory. Short URLs are those of the configuration, not of that port.
fn at(
    file: Option<&Path>,
    target: Target,
    command: impl AsyncFnOnce(&Connection) -> anyhow::Result<ExitCode>,
) -> anyhow::Result<ExitCode> {
    match target {
        Target::Server { url, key } => runtime()?.block_on(command(&Connection::to_server(url, key))),
        Target::DataDir(dir) => {
            anyhow::ensure!(dir.join("FORMAT").exists(), "there is no data directory of Stint at {}", dir.display());
            let data_dir = Some(dir.display().to_string());
            match checked(file, Role::Dev, &DevArgs { data_dir, ..DevArgs::default() }.flags()) {
                Ok(loaded) => runtime()?.block_on(over_data_dir(loaded, &dir, command)),
                Err(code) => Ok(code),
            }
        }
    }
}

async fn over_data_dir(
    mut loaded: Loaded,
    dir: &Path,
    command: impl AsyncFnOnce(&Connection) -> anyhow::Result<ExitCode>,
) -> anyhow::Result<ExitCode> {
    let around = surroundings(&loaded)?;
    let config = &mut loaded.config;
    let usual = config.http.listen.get();
    // Port 0 is another one at each start: no URL of it would be worth more than that of this start.
    if usual.port() != 0 {
        config.http.public_url = Some(config.http.public_url_at(usual));
    }
    config.http.listen = "127.0.0.1:0".parse().context("the loopback address")?;
    config.admin.listen = config.http.listen;
    let node = start_dev(config, false, around).await?;
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

/// The configuration of `stint allocator`, or the exit code after its problems were printed.
fn allocator_configuration(file: Option<&Path>, args: &AllocatorArgs) -> Result<Loaded, ExitCode> {
    let loaded = configuration(file, Role::Allocator, &args.flags())?;
    loaded.check_allocator(args.bootstrap).map_err(|problems| refuse(&problems))?;
    Ok(loaded)
}

/// The configuration with which the role can run, or the exit code after its problems were printed.
fn checked(file: Option<&Path>, role: Role, flags: &[Flag]) -> Result<Loaded, ExitCode> {
    let loaded = configuration(file, role, flags)?;
    loaded.check(role).map_err(|problems| refuse(&problems))?;
    Ok(loaded)
}

/// The configuration, or the exit code after its problems were printed.
fn configuration(file: Option<&Path>, role: Role, flags: &[Flag]) -> Result<Loaded, ExitCode> {
    let inputs = Inputs { role, file, flags, files: &Disk };
    variables().and_then(|variables| load(inputs, variables)).map_err(|problems| refuse(&problems))
}

/// What the environment says to clients, or the exit code after its problems were printed.
fn environment() -> Result<ClientEnvironment, ExitCode> {
    variables().and_then(|variables| client_environment(variables, &Disk)).map_err(|problems| refuse(&problems))
}

/// The environment. Nothing else reads it.
fn variables() -> Result<Vec<(String, String)>, ConfigError> {
    unicode_variables(std::env::vars_os())
}

fn refuse(problems: &ConfigError) -> ExitCode {
    complain(&problems.to_string());
    ExitCode::from(EXIT_USAGE)
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().context("the runtime can't be started")
}

async fn dev(loaded: &Loaded, args: &DevArgs) -> anyhow::Result<ExitCode> {
    let mut signals = taken_over()?;
    let around = traced(loaded, Role::Dev, "dev")?;
    let traces = around.traces.clone();
    let node = start_dev(&loaded.config, args.repair_ids, around).await?;
    say(&banner(&node, loaded.config.anonymous_create(Role::Dev)))?;
    let failed = or_failure(&mut signals, node.failed()).await;
    Ok(stopped(failed, with_traces(node.stop(), &traces), &mut signals).await)
}

async fn serve(loaded: &Loaded, args: &ServeArgs) -> anyhow::Result<ExitCode> {
    let mut signals = taken_over()?;
    let around = traced(loaded, Role::Serve, "serve")?;
    let traces = around.traces.clone();
    let node = start_serve(&loaded.config, args.repair_ids, around).await?;
    say(&format!(
        "Stint {} serves {}.\n\n  API       {}/api/v1/ids\n  API docs  {}/docs\n  Metrics   http://{}/metrics\n",
        env!("CARGO_PKG_VERSION"),
        if loaded.config.ids.only { "ids" } else { "links and ids" },
        WebUrl::of_listener(node.address),
        node.public_url,
        node.admin_address
    ))?;
    let failed = or_failure(&mut signals, node.failed()).await;
    Ok(stopped(failed, with_traces(node.stop(), &traces), &mut signals).await)
}

async fn migrate(loaded: &Loaded) -> anyhow::Result<ExitCode> {
    let report = migrate_database(&loaded.config).await?;
    let MigrateReport { server, before, now } = &report;
    say(&match before {
        Some(before) if before == now => format!("{server}: the schema is up to date (version {now})\n"),
        Some(before) => format!("{server}: the schema was brought from version {before} to {now}\n"),
        None => format!("{server}: the schema was made (version {now})\n"),
    })
}

async fn allocator(loaded: &Loaded, args: &AllocatorArgs) -> anyhow::Result<ExitCode> {
    let mut signals = taken_over()?;
    let around = surroundings(loaded)?;
    warn(loaded, Role::Allocator);
    let node = start_allocator(&loaded.config, args.bootstrap, &around)?;
    say(&format!(
        "Stint {} runs allocator {}.\n\n  Allocator {}\n  Metrics   http://{}/metrics\n",
        env!("CARGO_PKG_VERSION"),
        node.node_id,
        node.address,
        node.admin_address
    ))?;
    let failed = or_failure(&mut signals, node.failed()).await;
    let failure = node.failure().map(|reason| anyhow!("{reason}"));
    let code = stopped(failed, node.stop(), &mut signals).await;
    failure.map_or(Ok(code), Err)
}

fn taken_over() -> anyhow::Result<Signals> {
    Signals::take().context("the signals can't be taken over")
}

fn warn(loaded: &Loaded, role: Role) {
    for warning in loaded.warnings(role) {
        tracing::warn!("configuration: {warning}");
    }
}

/// Waits until the node is asked to stop, or has failed; answers whether it has failed.
async fn or_failure(signals: &mut Signals, failed: impl Future<Output = ()>) -> bool {
    tokio::select! {
        () = signals.next() => false,
        () = failed => true,
    }
}

/// Sends the last traces once the node has stopped.
async fn with_traces(stop: impl Future<Output = bool>, traces: &Traces) -> bool {
    let clean = stop.await;
    traces.stop().await;
    clean
}

/// Lets the node stop in order, unless a second signal comes.
async fn stopped(failed: bool, stop: impl Future<Output = bool>, signals: &mut Signals) -> ExitCode {
    tracing::info!("stopping; a second signal stops at once");
    let clean = tokio::select! {
        clean = stop => clean,
        () = signals.next() => false,
    };
    if clean && !failed { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn surroundings(loaded: &Loaded) -> anyhow::Result<Surroundings> {
    let log_level = telemetry::start(&loaded.config.log)?;
    let traces = Traces::default();
    Ok(Surroundings { clock: Arc::new(SystemClock), entropy: Arc::new(OsEntropy), log_level, traces })
}

/// The surroundings of a node with a public port, whose spans go to the collector under this name of its role.
fn traced(loaded: &Loaded, role: Role, name: &'static str) -> anyhow::Result<Surroundings> {
    let around = surroundings(loaded)?;
    warn(loaded, role);
    Ok(Surroundings { traces: Traces::start(&loaded.config.trace, name)?, ..around })
}

/// What a person wants to know after the start. The `curl` line works as printed, unless it says what to fill in.
fn banner(node: &DevNode, anonymous_create: bool) -> String {
    let (url, local, admin) = (&node.public_url, WebUrl::of_listener(node.address), node.admin_address);
    let (key_line, key) = match &node.admin_key_file {
        Some(file) if node.admin_key_is_new => {
            let key = node.admin_key.expose();
            (format!("Admin API key (kept in {}, shown this once):\n    {key}", file.display()), Some(key.to_owned()))
        }
        Some(file) => (
            format!("Admin API key: in {}", file.display()),
            Some(format!("$(cat {})", quoted(&file.to_string_lossy()))),
        ),
        None => ("Admin API key: as configured".to_owned(), None),
    };
    let (hint, header) = match key {
        Some(key) => ("", format!(" -H \"Authorization: Bearer {key}\"")),
        None if anonymous_create => ("", String::new()),
        None => (" (put in your admin key)", " -H 'Authorization: Bearer <your admin key>'".to_owned()),
    };
    format!(
        "Stint {} is ready.\n\n  Shorten   {url}\n  API docs  {url}/docs\n  Metrics   http://{admin}/metrics\n\n  {key_line}\n\n\
         \x20 Try it{hint}:\n    curl -s {}{header} \
         -H 'Content-Type: application/json' -d '{{\"url\":\"https://example.com/\"}}'\n",
        env!("CARGO_PKG_VERSION"),
        // A shell and curl take the brackets of [::1] for a pattern.
        if node.address.is_ipv6() { format!("-g '{local}/api/v1/links'") } else { format!("{local}/api/v1/links") },
    )
}

/// The text as one word of a POSIX shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
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
