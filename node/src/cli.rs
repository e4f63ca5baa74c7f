//! The command line: what was asked for, as values. Nothing is opened or printed here.
//!
//! Usage errors exit 64, as configuration errors do; `--help` and `--version` exit 0.

mod allocator;
mod client;
mod cluster;
mod dev;
mod serve;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};

use crate::config::{EXIT_USAGE, Role};

pub use allocator::AllocatorArgs;
pub use client::{
    ClientArgs, CreateKeyArgs, ExportArgs, ImportArgs, ImportFormat, KeysCommand, LinksCommand, RevokeKeyArgs,
    StdioPath, Target,
};
pub use cluster::{AddArgs, ClusterCommand, GroupArgs, RemoveArgs, StatusArgs, TransferArgs};
pub use dev::DevArgs;
pub use serve::ServeArgs;

const EXAMPLES: &str = "\
Examples:
  stint                                      a whole shortener, its data in ./stint-data
  stint --listen 0.0.0.0:80 --public-url https://sho.rt
  stint links import urls.txt                shorten a file of URLs, one a line
  stint config show                          the configuration in force, and where it came from

Every setting: docs/configuration.md. Exit codes: 0 done, 1 failed, 64 wrong usage or configuration.";

const MIGRATE_EXAMPLES: &str = "\
Example:
  DATABASE_URL=postgres://stint:password@db:5432/stint stint migrate

Safe to repeat, and while nodes are running: nodes of the version before go on with the new schema.";

const CONFIG_EXAMPLES: &str = "\
Examples:
  stint config show
  stint --config /etc/stint.toml config check --role serve";

/// What was asked for.
#[derive(Debug)]
pub struct Invocation {
    /// `--config`.
    pub config: Option<PathBuf>,
    /// The command; `dev` if none was named.
    pub command: Command,
}

/// A command.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a whole shortener on embedded storage (the default command)
    Dev(DevArgs),
    /// Run a stateless shortener over Postgres, Redis and the allocators
    Serve(ServeArgs),
    /// Run a member of the allocators' group
    Allocator(AllocatorArgs),
    /// Bring the schema of the Postgres database (DATABASE_URL) up to date
    #[command(after_help = MIGRATE_EXAMPLES)]
    Migrate,
    /// Manage API keys
    #[command(subcommand)]
    Keys(KeysCommand),
    /// Import and export links
    #[command(subcommand)]
    Links(LinksCommand),
    /// Look at the allocators, add and remove members
    #[command(subcommand)]
    Cluster(ClusterCommand),
    /// Show or check the configuration
    #[command(subcommand, after_help = CONFIG_EXAMPLES)]
    Config(ConfigCommand),
    /// Exit 0 if a node is ready, else 1
    Healthcheck(HealthcheckArgs),
    /// Print the OpenAPI document of the HTTP API
    Openapi,
}

/// `stint config …`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Subcommand)]
pub enum ConfigCommand {
    /// Print the merged configuration as TOML, secrets masked, with the sources of its values
    Show(RoleArgs),
    /// Print "ok", or every problem
    Check(RoleArgs),
}

/// Whose configuration is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::Args)]
pub struct RoleArgs {
    /// Of which command
    #[arg(long, value_enum, default_value_t = RoleName::Dev)]
    role: RoleName,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum RoleName {
    Dev,
    Serve,
    Allocator,
}

/// `stint healthcheck`
#[derive(Debug, clap::Args)]
pub struct HealthcheckArgs {
    /// What to ask
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:9464/readyz")]
    pub url: String,
}

/// A command line that asks for nothing: wrong, or for help or the version.
#[derive(Debug)]
pub struct UsageError(clap::Error);

#[derive(Debug, Parser)]
#[command(name = "stint", bin_name = "stint", version, after_help = EXAMPLES)]
#[command(about = "A URL shortener and distributed ID generator")]
struct Cli {
    /// Read settings from this TOML file
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    #[command(flatten)]
    dev: DevArgs,
    #[command(subcommand)]
    command: Option<Command>,
}

impl Invocation {
    /// Reads a command line; the first argument is the program's name.
    ///
    /// # Errors
    /// [`UsageError`], which knows what to print and how to exit.
    pub fn parse<T: Into<OsString> + Clone>(arguments: impl IntoIterator<Item = T>) -> Result<Self, UsageError> {
        let mut definition = Cli::command();
        let matches = definition.try_get_matches_from_mut(arguments).map_err(UsageError)?;
        let cli = Cli::from_arg_matches(&matches).map_err(UsageError)?;
        let command = match cli.command {
            None => Command::Dev(cli.dev),
            // clap would take `--listen` before the command, and the command would never see it.
            Some(_) if cli.dev != DevArgs::default() => {
                let message = "flags of `dev` belong after the command, as in `stint dev --listen 127.0.0.1:8080`";
                return Err(UsageError(definition.error(ErrorKind::ArgumentConflict, message)));
            }
            Some(command) => command,
        };
        Ok(Self { config: cli.config, command })
    }
}

impl RoleArgs {
    /// The role.
    pub const fn get(self) -> Role {
        match self.role {
            RoleName::Dev => Role::Dev,
            RoleName::Serve => Role::Serve,
            RoleName::Allocator => Role::Allocator,
        }
    }
}

impl UsageError {
    /// 64, or 0 after `--help` and `--version`.
    pub fn exit_code(&self) -> u8 {
        if self.0.use_stderr() { EXIT_USAGE } else { 0 }
    }

    /// Prints the message on stderr, or help and version on stdout, coloured if that is a terminal.
    ///
    /// # Errors
    /// Whatever writing says.
    pub fn print(&self) -> std::io::Result<()> {
        self.0.print()
    }
}

impl std::fmt::Display for UsageError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for UsageError {}

#[cfg(test)]
mod tests;
