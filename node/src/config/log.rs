//! Sections `log` and `trace`: what the process tells about itself.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::EnvFilter;

use super::text;
use super::value::{BadValue, WebUrl};

/// Section `log`.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct LogConfig {
    /// The shape of a line.
    #[serde(with = "text::one")]
    pub format: LogFormat,
    /// What is logged.
    #[serde(with = "text::one")]
    pub filter: LogFilter,
}

/// Section `trace`.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct TraceConfig {
    /// An OTLP/HTTP collector.
    #[serde(with = "text::optional")]
    pub endpoint: Option<WebUrl>,
    /// Of the traces that begin here, one in so many is kept.
    pub one_in: u32,
}

/// The shape of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Pretty on a terminal, else JSON.
    Auto,
    /// One JSON object a line.
    Json,
    /// For people.
    Pretty,
}

/// What is logged, such as `info,stint::http=debug`; always well-formed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogFilter(String);

impl LogFilter {
    /// The filter as given.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for LogFormat {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<Self, BadValue> {
        match text {
            "auto" => Ok(Self::Auto),
            "json" => Ok(Self::Json),
            "pretty" => Ok(Self::Pretty),
            other => Err(BadValue::shape(other, "one of auto, json and pretty")),
        }
    }
}

impl FromStr for LogFilter {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<Self, BadValue> {
        // A bare word that is no level would be taken as a module's name and silence everything else, so `inof` would
        // turn the log off.
        let misspelt = |part: &str| part.is_empty() || !part.contains('=') && part.parse::<LevelFilter>().is_err();
        // The commas inside `[span{a,b}]` separate fields.
        let slip = !text.contains('[') && text.split(',').map(str::trim).any(misspelt);
        let refused = slip || EnvFilter::builder().parse(text).is_err();
        if refused {
            return Err(BadValue::shape(text, "a log filter such as info or info,stint::http=debug"));
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for LogFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Json => "json",
            Self::Pretty => "pretty",
        })
    }
}

impl fmt::Display for LogFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
