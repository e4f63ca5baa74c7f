//! Section `ids`: where the keys of links come from.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::error::Invalid;
use super::text;
use super::value::{BadValue, Span};

/// Section `ids`.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct IdsConfig {
    /// The first choice.
    #[serde(with = "text::one")]
    pub source: IdSourceKind,
    /// What to use, in order, while the first choice is away.
    #[serde(with = "text::list")]
    pub fallback: Vec<IdSourceKind>,
    /// How long the ids in hand should last.
    #[serde(with = "text::one")]
    pub headroom: Span,
    /// Fewest ids to take at once.
    pub min_block: u64,
    /// Most ids to take at once.
    pub max_block: u64,
    /// Whether the node serves ids alone, without links and without a database.
    pub only: bool,
}

/// A source of ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IdSourceKind {
    /// Ranges from the allocators.
    Raft,
    /// Blocks from Redis, fenced by Postgres.
    Redis,
    /// Blocks from Postgres.
    Postgres,
    /// Snowflake ids.
    Snowflake,
}

impl IdsConfig {
    pub(super) fn validate(&self, invalid: &mut Vec<Invalid>) {
        let mut seen = vec![self.source];
        for source in &self.fallback {
            if seen.contains(source) {
                invalid.push(Invalid::new("ids.fallback", format!("names `{source}` again; each source counts once")));
            }
            seen.push(*source);
        }
        if self.headroom.get().is_zero() {
            invalid.push(Invalid::new("ids.headroom", "must not be zero"));
        }
        if self.min_block == 0 {
            invalid.push(Invalid::new("ids.min_block", "must be at least 1"));
        }
        if self.max_block < self.min_block {
            let message = format!("must be at least `ids.min_block` ({})", self.min_block);
            invalid.push(Invalid::new("ids.max_block", message));
        }
    }
}

impl FromStr for IdSourceKind {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<Self, BadValue> {
        match text {
            "raft" => Ok(Self::Raft),
            "redis" => Ok(Self::Redis),
            "postgres" => Ok(Self::Postgres),
            "snowflake" => Ok(Self::Snowflake),
            other => Err(BadValue::shape(other, "one of raft, redis, postgres and snowflake")),
        }
    }
}

impl fmt::Display for IdSourceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Raft => "raft",
            Self::Redis => "redis",
            Self::Postgres => "postgres",
            Self::Snowflake => "snowflake",
        })
    }
}
