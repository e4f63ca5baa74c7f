//! Errors with their causes, for the log: an error's own text leaves its source out.

use std::error::Error;
use std::fmt;

/// An error with everything that caused it, for a log line: `a: b: c`.
#[derive(Debug, Clone, Copy)]
pub struct Chain<'a>(pub &'a dyn Error);

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::ports::link_store::StoreError;

    #[test]
    fn every_cause_is_named_once() {
        let source = Arc::new(std::io::Error::other("disk full"));
        let error = StoreError::Unavailable { operation: "commit", source };
        assert_eq!(Chain(&error).to_string(), "the link store is not available: commit: disk full");
    }
}
