//! The public id service: ids of any namespace but `links`.

use std::sync::Arc;

use stint_idgen::IdRange;
use stint_idgen::allocator::{NamespaceName, NamespaceSpec};

use crate::ports::id_source::{IdError, IdIssuer};

/// Ids in one request at most.
pub const MAX_COUNT: u64 = 100_000;

/// Why no ids were issued.
#[derive(Debug, thiserror::Error)]
pub enum IssueError {
    /// The namespace of links is Stint's own: its ids have codes and owners.
    #[error("the namespace `links` is Stint's own")]
    OwnNamespace,
    /// No ids, or too many at once.
    #[error("{0} ids were asked for")]
    BadCount(u64),
    /// The source gave none.
    #[error("the id source gave no ids")]
    Source(#[from] IdError),
}

/// Issues ids and makes namespaces.
#[derive(Debug)]
pub struct IssueIds {
    issuer: Arc<dyn IdIssuer>,
}

impl IssueIds {
    /// Issues ids from `issuer`.
    pub const fn new(issuer: Arc<dyn IdIssuer>) -> Self {
        Self { issuer }
    }

    /// Exactly `count` ids, as ranges in the order they were drawn.
    ///
    /// # Errors
    /// [`IssueError`]; ids drawn before a failure are gaps.
    pub async fn issue(&self, namespace: &NamespaceName, count: u64) -> Result<Vec<IdRange>, IssueError> {
        refuse_own(namespace)?;
        if !(1..=MAX_COUNT).contains(&count) {
            return Err(IssueError::BadCount(count));
        }
        Ok(self.issuer.issue(namespace, count).await?)
    }

    /// Makes a namespace; the flag says whether it is new.
    ///
    /// # Errors
    /// [`IssueError`].
    pub async fn create_namespace(
        &self,
        name: NamespaceName,
        spec: NamespaceSpec,
    ) -> Result<(NamespaceSpec, bool), IssueError> {
        refuse_own(&name)?;
        Ok(self.issuer.create_namespace(name, spec).await?)
    }
}

fn refuse_own(namespace: &NamespaceName) -> Result<(), IssueError> {
    if *namespace == NamespaceName::links() { Err(IssueError::OwnNamespace) } else { Ok(()) }
}
