//! The command line: every option, its default, and mistakes in one line.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{Parser, ValueEnum};

/// Puts load on a Stint and checks every answer.
///
/// The last line on stdout is one JSON object; failed requests are lines on stderr. Exit code 0: everything held. 1:
/// something failed or was over a threshold. 64: it can't run as it was called.
#[derive(Clone, Debug, Parser)]
#[command(name = "stint-loadtest", version)]
pub struct Options {
    /// A node's or proxy's base URL; give it several times to spread the users over them
    #[arg(long = "target", value_name = "URL", required = true)]
    pub targets: Vec<String>,

    /// What the users do
    #[arg(long, value_enum, default_value_t = ScenarioName::Mixed)]
    pub scenario: ScenarioName,

    /// How long they do it: 20s, 5m, 1h30m (`urls` ends when all lines are done)
    #[arg(long, value_name = "TIME", value_parser = parse_time, default_value = "20s")]
    pub duration: Duration,

    /// How many users there are, each with one request at a time
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub users: u32,

    /// At most this many requests a second, over all users; as many as there can be unless given
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub rate: Option<u32>,

    /// Read the API key from this file
    #[arg(long, value_name = "FILE")]
    pub key_file: Option<PathBuf>,

    /// The API key; anonymous without one
    #[arg(long, value_name = "KEY", env = "STINT_KEY", hide_env_values = true)]
    pub key: Option<String>,

    /// Trust the certificates in this PEM file too
    #[arg(long, value_name = "PEM")]
    pub ca_file: Option<PathBuf>,

    /// A node's metrics page; all of them together must count what the load test counts. A name with several IPv4
    /// addresses means the nodes at all of them
    #[arg(long = "metrics-url", value_name = "URL")]
    pub metrics_urls: Vec<String>,

    /// Others use the servers too: don't compare counts
    #[arg(long)]
    pub shared: bool,

    /// A server's process on this machine: `soak` reads its memory
    #[arg(long = "server-pid", value_name = "PID")]
    pub server_pids: Vec<u32>,

    /// The URLs of the scenario `urls`, one a line
    #[arg(long, value_name = "FILE")]
    pub urls: Option<PathBuf>,

    /// How many links are created for `follow`, `mixed` and `soak` before the load begins
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub links: u32,

    /// How uneven following is: the exponent of Zipf's law, 0 for all links alike
    #[arg(long, value_name = "EXPONENT", value_parser = parse_exponent, default_value = "1.0")]
    pub zipf: f64,

    /// How many links each request of `bulk` creates
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(2..=100_000))]
    pub bulk_rows: u32,

    /// The namespace of the scenario `ids`; it is created, and stays
    #[arg(long, value_name = "NAME", default_value = "loadtest")]
    pub namespace: String,

    /// The servers' `http.redirect_status`
    #[arg(long, value_name = "STATUS", default_value_t = 302, value_parser = clap::value_parser!(u16).range(301..=308))]
    pub redirect_status: u16,

    /// Fail if more requests than this failed
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub max_failed: u64,

    /// Fail if the 95th percentile of response times is above: 50ms, 1s
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub p95: Option<Duration>,

    /// Fail if the 99th percentile of response times is above
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub p99: Option<Duration>,

    /// Fail if there were fewer requests a second
    #[arg(long, value_name = "N")]
    pub min_rate: Option<f64>,

    /// Write goose's report (HTML, JSON) and the summary of each scenario into this directory
    #[arg(long, value_name = "DIR")]
    pub report_dir: Option<PathBuf>,

    /// All scenarios in turn, about 20 s in all; every tenth line of --urls
    #[arg(long, conflicts_with_all = ["scenario", "duration"])]
    pub smoke: bool,
}

/// What the users of a run do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ScenarioName {
    /// Create links, one a request; repeat some
    Create,
    /// Follow links, few of them often and most seldom
    Follow,
    /// Follow a hundred links for each that is created
    Mixed,
    /// Create links, many a request
    Bulk,
    /// Ask for the same alias at once
    Aliases,
    /// Draw ids
    Ids,
    /// `mixed` for long: what changes between the first and the last tenth?
    Soak,
    /// Create every URL of a file once and follow it through another target
    Urls,
}

impl ScenarioName {
    /// All of them, in the order of the smoke test.
    pub const ALL: [Self; 8] =
        [Self::Create, Self::Follow, Self::Mixed, Self::Bulk, Self::Aliases, Self::Ids, Self::Soak, Self::Urls];

    /// Its name on the command line and in reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Follow => "follow",
            Self::Mixed => "mixed",
            Self::Bulk => "bulk",
            Self::Aliases => "aliases",
            Self::Ids => "ids",
            Self::Soak => "soak",
            Self::Urls => "urls",
        }
    }

    /// Whether links must be there before it begins.
    pub const fn follows_old_links(self) -> bool {
        matches!(self, Self::Follow | Self::Mixed | Self::Soak)
    }
}

/// What the command line says.
#[derive(Debug)]
pub enum Parsed {
    /// Run.
    Options(Box<Options>),
    /// Print this: help or the version.
    Text(String),
    /// It can't be run like that; in one line.
    Mistake(String),
}

/// Reads the command line, the program's name first.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Parsed {
    match Options::try_parse_from(arguments) {
        Ok(options) => match mistake(&options) {
            Some(mistake) => Parsed::Mistake(mistake),
            None => Parsed::Options(Box::new(options)),
        },
        Err(error) if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) => {
            Parsed::Text(error.to_string().trim_end().to_owned())
        }
        Err(error) => Parsed::Mistake(one_line(&error.to_string())),
    }
}

/// The first paragraph of clap's message in one line.
fn one_line(message: &str) -> String {
    let lines = message.lines().map(str::trim).take_while(|line| !line.is_empty());
    let line = lines.collect::<Vec<_>>().join(" ");
    format!("{} (--help lists the options)", line.strip_prefix("error: ").unwrap_or(&line))
}

/// What no single option can say about itself.
fn mistake(options: &Options) -> Option<String> {
    if options.duration < Duration::from_secs(1) || options.duration.subsec_nanos() != 0 {
        return Some("--duration must be whole seconds, at least 1s".to_owned());
    }
    if (options.smoke || options.scenario == ScenarioName::Urls) && options.urls.is_none() {
        return Some("the scenario `urls` needs --urls FILE, with one URL a line".to_owned());
    }
    if !matches!(options.redirect_status, 301 | 302 | 307 | 308) {
        return Some("--redirect-status must be 301, 302, 307 or 308".to_owned());
    }
    None
}

/// `500ms`, `20s`, `5m`, `1h30m`.
fn parse_time(text: &str) -> Result<Duration, String> {
    let invalid = || format!("`{text}` is no time such as 500ms, 20s, 5m or 1h30m");
    let mut total = Duration::ZERO;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(invalid)?;
        let number: u64 = rest[..digits].parse().map_err(|_| invalid())?;
        let unit = rest[digits..].find(|c: char| c.is_ascii_digit()).map_or(rest.len(), |at| digits + at);
        let factor_ms: u64 = match &rest[digits..unit] {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            _ => return Err(invalid()),
        };
        total += Duration::from_millis(number.checked_mul(factor_ms).ok_or_else(invalid)?);
        rest = &rest[unit..];
    }
    if total.is_zero() { Err(invalid()) } else { Ok(total) }
}

fn parse_exponent(text: &str) -> Result<f64, String> {
    let exponent = text.parse().ok().filter(|exponent| (0.0..=10.0).contains(exponent));
    exponent.ok_or_else(|| format!("`{text}` is no number from 0 to 10"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(arguments: &[&str]) -> Parsed {
        parse(std::iter::once("stint-loadtest").chain(arguments.iter().copied()).map(OsString::from))
    }

    fn refused(arguments: &[&str]) -> String {
        match parsed(arguments) {
            Parsed::Mistake(mistake) => mistake,
            other => panic!("{arguments:?} is {other:?}"),
        }
    }

    #[test]
    fn times_have_units() {
        assert_eq!(parse_time("50ms"), Ok(Duration::from_millis(50)));
        assert_eq!(parse_time("1h30m"), Ok(Duration::from_mins(90)));
        for text in ["", "5", "s", "5d", "-5s", "0s", "1.5s", "99999999999999999999s", "9999999999999999999h"] {
            assert!(parse_time(text).is_err(), "{text}");
        }
    }

    #[test]
    fn mistakes_are_one_line_that_names_the_option() {
        assert!(refused(&[]).contains("--target"));
        assert!(refused(&["--target", "http://a", "--scenario", "swim"]).contains("swim"));
        assert!(refused(&["--target", "http://a", "--duration", "500ms"]).contains("--duration"));
        assert!(refused(&["--target", "http://a", "--scenario", "urls"]).contains("--urls"));
        assert!(refused(&["--target", "http://a", "--smoke"]).contains("--urls"));
        assert!(
            refused(&["--target", "http://a", "--smoke", "--urls", "f", "--duration", "5s"]).contains("--duration")
        );
        assert!(refused(&["--target", "http://a", "--redirect-status", "304"]).contains("--redirect-status"));
        assert!(refused(&["--target", "http://a", "--users", "0"]).contains("--users"));
        assert!(!refused(&["--nonsense"]).contains('\n'));
    }

    #[test]
    fn help_is_no_mistake() {
        assert!(matches!(parsed(&["--help"]), Parsed::Text(text) if text.contains("--metrics-url")));
    }
}
