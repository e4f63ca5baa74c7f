//! Commands that work on a server over HTTP, or on the data of a stopped `dev` node.

use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::builder::{PossibleValuesParser, RangedI64ValueParser, RangedU64ValueParser};
use clap::{Args, Subcommand, ValueEnum};

use crate::config::{ClientEnvironment, Secret, WebUrl};

/// Where `stint dev` listens.
const DEFAULT_SERVER: ([u8; 4], u16) = ([127, 0, 0, 1], 8080);

const SCOPES: [&str; 4] = ["links:read", "links:write", "ids", "admin"];

const CREATE_EXAMPLES: &str = "\
The key is printed once and can't be shown again. Example:
  stint keys create --name laptop --scopes links:read,links:write";

const IMPORT_EXAMPLES: &str = "\
An interrupted import goes on where it stopped when it is started again. Examples:
  stint links import urls.txt --results codes.ndjson
  zcat links.ndjson.gz | stint links import - --format ndjson --jobs 64";

const EXPORT_EXAMPLES: &str = "\
Examples:
  stint links export --output links.ndjson
  stint links export --data-dir ./stint-data | gzip > links.ndjson.gz";

/// Which server to talk to, and as whom.
#[derive(Debug, Clone, Default, Args)]
pub struct ClientArgs {
    /// The server [env: STINT_SERVER] [default: http://127.0.0.1:8080]
    #[arg(long, value_name = "URL")]
    pub server: Option<WebUrl>,
    /// The API key; better in the environment, where other users can't see it [env: STINT_KEY, else STINT_ADMIN_KEY]
    #[arg(long, value_name = "KEY")]
    pub key: Option<Secret>,
    /// Open the data of a stopped `stint dev` instead of talking to a server
    #[arg(long, value_name = "DIR", conflicts_with_all = ["server", "key"])]
    pub data_dir: Option<PathBuf>,
}

/// What a client works on.
#[derive(Debug, Clone)]
pub enum Target {
    /// A running server.
    Server {
        /// Its public URL.
        url: WebUrl,
        /// The API key, if there is one.
        key: Option<Secret>,
    },
    /// The data directory of a stopped `dev` node.
    DataDir(PathBuf),
}

/// `stint keys …`
#[derive(Debug, Subcommand)]
pub enum KeysCommand {
    /// Create an API key and print it
    #[command(after_help = CREATE_EXAMPLES)]
    Create(CreateKeyArgs),
    /// List the API keys, without their secrets
    List(ClientArgs),
    /// Revoke an API key for good
    Revoke(RevokeKeyArgs),
}

/// `stint keys create`
#[derive(Debug, Args)]
pub struct CreateKeyArgs {
    /// What the key is for, to tell it from others
    #[arg(long)]
    pub name: String,
    /// What it may do
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "links:read,links:write",
        value_parser = PossibleValuesParser::new(SCOPES)
    )]
    pub scopes: Vec<String>,
    /// Who owns it: keys of one owner share their links [default: the key's name]
    #[arg(long, value_name = "NAME")]
    pub owner: Option<String>,
    /// Where.
    #[command(flatten)]
    pub client: ClientArgs,
}

/// `stint keys revoke`
#[derive(Debug, Args)]
pub struct RevokeKeyArgs {
    /// The key's id, as `stint keys list` shows it
    #[arg(value_parser = RangedI64ValueParser::<i64>::new().range(1..))]
    pub id: i64,
    /// Where.
    #[command(flatten)]
    pub client: ClientArgs,
}

/// `stint links …`
#[derive(Debug, Subcommand)]
pub enum LinksCommand {
    /// Create links from a file
    #[command(after_help = IMPORT_EXAMPLES)]
    Import(ImportArgs),
    /// Write all links, with their codes, as NDJSON
    #[command(after_help = EXPORT_EXAMPLES)]
    Export(ExportArgs),
}

/// `stint links import`
#[derive(Debug, Args)]
pub struct ImportArgs {
    /// The input, or - for stdin
    #[arg(value_name = "FILE|-")]
    pub input: StdioPath,
    /// How to read the input
    #[arg(long, value_enum, default_value_t = ImportFormat::Auto)]
    pub format: ImportFormat,
    /// Requests at the same time
    #[arg(long, default_value_t = 32, value_parser = RangedU64ValueParser::<usize>::new().range(1..=1024))]
    pub jobs: usize,
    /// Write what became of each line to this file, as NDJSON; a new or empty one
    #[arg(long, value_name = "FILE")]
    pub results: Option<PathBuf>,
    /// Where to note the progress for a resumption [default: FILE.stint-import; none for -]
    #[arg(long, value_name = "FILE")]
    pub state: Option<PathBuf>,
    /// Give each link the `code` of its exported line, as its alias (NDJSON only)
    #[arg(long)]
    pub keep_codes: bool,
    /// Where.
    #[command(flatten)]
    pub client: ClientArgs,
}

/// `stint links export`
#[derive(Debug, Args)]
pub struct ExportArgs {
    /// Where to write, or - for stdout
    #[arg(long, value_name = "FILE|-", default_value = "-")]
    pub output: StdioPath,
    /// Where.
    #[command(flatten)]
    pub client: ClientArgs,
}

/// The shape of an import's lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ImportFormat {
    /// By the first character that is not a space.
    Auto,
    /// One URL a line.
    Text,
    /// One JSON object a line, as `links export` writes.
    Ndjson,
}

/// A file, or stdin or stdout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StdioPath {
    /// `-`
    Stdio,
    /// Any other argument; `./-` is a file of that name.
    File(PathBuf),
}

impl ClientArgs {
    /// What to work on: flags, else the environment, else the default server.
    pub fn target(&self, environment: &ClientEnvironment) -> Target {
        if let Some(dir) = &self.data_dir {
            return Target::DataDir(dir.clone());
        }
        let url = self.server.clone().or_else(|| environment.server.clone());
        Target::Server {
            url: url.unwrap_or_else(|| WebUrl::of_listener(DEFAULT_SERVER.into())),
            key: self.key.clone().or_else(|| environment.key.clone()),
        }
    }
}

impl KeysCommand {
    /// Where it works.
    pub const fn client(&self) -> &ClientArgs {
        match self {
            Self::Create(args) => &args.client,
            Self::List(client) => client,
            Self::Revoke(args) => &args.client,
        }
    }
}

impl LinksCommand {
    /// Where it works.
    pub const fn client(&self) -> &ClientArgs {
        match self {
            Self::Import(args) => &args.client,
            Self::Export(args) => &args.client,
        }
    }
}

impl ImportArgs {
    /// Where the progress is noted; `None` for an import that can't be resumed.
    pub fn state_path(&self) -> Option<PathBuf> {
        self.state.clone().or_else(|| match &self.input {
            StdioPath::Stdio => None,
            StdioPath::File(path) => Some(beside(path)),
        })
    }
}

fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".stint-import");
    name.into()
}

impl FromStr for StdioPath {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(if text == "-" { Self::Stdio } else { Self::File(text.into()) })
    }
}
