//! The look at Redis when a node starts: it answers, it is away, or it answers and refuses; and what it evicts.

use redis::{ErrorKind, RedisError};

use super::RedisServer;
use crate::ports::error_chain::Chain;

/// What the first look found.
#[derive(Clone, Debug)]
pub enum FirstLook {
    /// Redis answers.
    Answers {
        /// Its `maxmemory-policy`, if it evicts keys that never expire: the click stream and the counters among them.
        evicts_everything: Option<String>,
    },
    /// Redis can't be reached: the node goes on without it until it can.
    Away(RedisError),
}

/// Redis answers and refuses: waiting won't help.
#[derive(Clone, Debug, thiserror::Error)]
#[error("Redis at {server} refuses this node: {why}")]
pub struct RedisRefused {
    server: String,
    why: String,
}

impl RedisServer {
    /// Looks whether Redis answers, and what it evicts when its memory is full.
    ///
    /// # Errors
    /// [`RedisRefused`], one line for the operator.
    pub async fn first_look(&self) -> Result<FirstLook, RedisRefused> {
        let looked = async {
            let mut connection = self.connection().await?;
            // Managed servers forbid CONFIG, and show the policy here.
            let memory: Result<String, RedisError> =
                redis::cmd("INFO").arg("memory").query_async(&mut connection).await;
            Ok(memory.unwrap_or_default())
        };
        match looked.await {
            Ok(memory) => Ok(FirstLook::Answers { evicts_everything: evicting_policy(&memory) }),
            Err(error) => match refusal(&error) {
                Some(why) => Err(RedisRefused { server: self.shared.address.to_string(), why }),
                None => Ok(FirstLook::Away(error)),
            },
        }
    }
}

impl FirstLook {
    /// Writes what an operator should know into the log.
    pub fn log(&self) {
        match self {
            Self::Answers { evicts_everything: None } => {}
            Self::Answers { evicts_everything: Some(policy) } => tracing::warn!(
                policy,
                "Redis may evict the click stream and the counters: set maxmemory-policy to volatile-lru"
            ),
            Self::Away(error) => {
                tracing::warn!(error = %Chain(error), "Redis can't be reached; starting without it");
            }
        }
    }
}

fn evicting_policy(memory: &str) -> Option<String> {
    let policy = memory.lines().find_map(|line| line.strip_prefix("maxmemory_policy:"))?.trim();
    policy.starts_with("allkeys-").then(|| policy.to_owned())
}

/// Why Redis refuses, if it does.
fn refusal(error: &RedisError) -> Option<String> {
    let text = Chain(error).to_string();
    // rustls's own errors come wrapped in errors of I/O.
    let about_tls =
        ["invalid peer certificate", "received fatal alert", "received corrupt message", "peer is incompatible"];
    let why = match error.code() {
        Some("NOAUTH") => "it wants a password (redis://user:password@host)".to_owned(),
        Some("WRONGPASS") => "the user or the password is wrong".to_owned(),
        Some("NOPERM") => format!("the user may not do what is needed: {text}"),
        _ if error.kind() == ErrorKind::AuthenticationFailed => format!("the user or the password is wrong ({text})"),
        _ if error.kind() == ErrorKind::InvalidClientConfig => text,
        _ if about_tls.iter().any(|about| text.contains(about)) => format!("TLS failed: {text}"),
        _ => return None,
    };
    Some(why)
}
