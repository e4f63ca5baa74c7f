//! What is wrong with a configuration: one line for each problem.

use std::borrow::Cow;
use std::fmt;

/// A well-formed value that breaks a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invalid {
    /// The key, such as `cache.l1_ttl`.
    pub key: &'static str,
    /// The rule, as the end of a sentence that begins with the key.
    pub message: Cow<'static, str>,
}

impl Invalid {
    pub(super) fn new(key: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self { key, message: message.into() }
    }
}

/// Every problem of a configuration. The process exits with [`super::EXIT_USAGE`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    problems: Vec<String>,
}

impl ConfigError {
    pub(super) fn check(problems: Vec<String>) -> Result<(), Self> {
        if problems.is_empty() { Ok(()) } else { Err(Self { problems }) }
    }

    /// The problems, each one line.
    pub fn problems(&self) -> &[String] {
        &self.problems
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            let line_break = if index == 0 { "" } else { "\n" };
            write!(f, "{line_break}configuration: {problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}
