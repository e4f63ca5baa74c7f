//! The public id service: ids of any namespace but `links`.

use std::sync::Arc;

use stint_idgen::allocator::NamespaceName;

use crate::ports::id_source::{IdError, IdIssuer, IdRun, SNOWFLAKE, SnowflakeIssuer};

/// Ids in one request at most, where each is written out, and of Snowflake ids in any case.
pub const MAX_COUNT: u64 = 100_000;
/// Ids in one request at most, where they are told as ranges.
pub const MAX_COUNT_IN_RANGES: u64 = 10_000_000;

/// Why no ids were issued.
#[derive(Debug, thiserror::Error)]
pub enum IssueError {
    /// The namespace of links is Stint's own: its ids have codes and owners.
    #[error("the namespace `links` is Stint's own")]
    OwnNamespace,
    /// No ids, or too many at once.
    #[error("{asked} ids were asked for, {most} are the most")]
    BadCount {
        /// How many were asked for.
        asked: u64,
        /// How many may be.
        most: u64,
    },
    /// This node issues no Snowflake ids.
    #[error("this node issues no Snowflake ids")]
    NoSnowflakes,
    /// The source gave none.
    #[error("the id source gave no ids")]
    Source(#[from] IdError),
}

/// Issues ids.
#[derive(Debug)]
pub struct IssueIds {
    issuer: Arc<dyn IdIssuer>,
    snowflakes: Option<Arc<dyn SnowflakeIssuer>>,
}

impl IssueIds {
    /// Issues ids of the allocator's namespaces from `issuer`, and no Snowflake ids.
    pub const fn new(issuer: Arc<dyn IdIssuer>) -> Self {
        Self { issuer, snowflakes: None }
    }

    /// Issues ids of the namespace `snowflake` from `issuer` as well.
    #[must_use]
    pub fn with_snowflakes(mut self, issuer: Arc<dyn SnowflakeIssuer>) -> Self {
        self.snowflakes = Some(issuer);
        self
    }

    /// Exactly `count` ids, as runs in the order they were drawn; `as_ranges` says that each won't be written out.
    ///
    /// # Errors
    /// [`IssueError`]; ids drawn before a failure may be gaps.
    pub async fn issue(
        &self,
        namespace: &NamespaceName,
        count: u64,
        as_ranges: bool,
    ) -> Result<Vec<IdRun>, IssueError> {
        if namespace.is_links() {
            return Err(IssueError::OwnNamespace);
        }
        let is_snowflake = namespace.as_str() == SNOWFLAKE;
        let most = if as_ranges && !is_snowflake { MAX_COUNT_IN_RANGES } else { MAX_COUNT };
        if !(1..=most).contains(&count) {
            return Err(IssueError::BadCount { asked: count, most });
        }
        if is_snowflake {
            let issuer = self.snowflakes.as_ref().ok_or(IssueError::NoSnowflakes)?;
            let ids = issuer.draw(count).await?;
            return Ok(IdRun::join_all(ids.into_iter().map(IdRun::one)));
        }
        Ok(self.issuer.issue(namespace, count).await?)
    }
}
