//! Namespaces of ids: making, changing and seeing them.

mod settings;

use std::sync::Arc;

use stint_idgen::allocator::{NamespaceName, NamespaceSpec, Refusal};

use crate::ports::coordination::{Allocator, CoordinationError, NamespaceStatus};
use crate::ports::id_source::{IdError, IdIssuer, SNOWFLAKE};

pub use settings::{BadSetting, INT53_LIMIT, NamespaceSettings, check_quota};

/// Why a namespace was not made, changed or shown.
#[derive(Debug, thiserror::Error)]
pub enum NamespaceError {
    /// The name is kept for Stint's own ids.
    #[error("the namespace `{0}` is Stint's own")]
    Own(NamespaceName),
    /// A setting can't be used.
    #[error("a setting can't be used")]
    Setting(#[from] BadSetting),
    /// The allocator refused, or gave no answer.
    #[error("the allocator did not do it")]
    Source(#[from] IdError),
    /// The allocator can't be asked.
    #[error("the allocator gave no answer")]
    Allocator(#[from] CoordinationError),
}

/// Makes, changes and shows namespaces.
#[derive(Debug)]
pub struct ManageNamespaces {
    issuer: Arc<dyn IdIssuer>,
    allocator: Arc<dyn Allocator>,
}

/// Some namespaces, by name, and whether there are more behind them.
#[derive(Debug)]
pub struct NamespacePage {
    /// The namespaces.
    pub namespaces: Vec<NamespaceStatus>,
    /// Whether there are more.
    pub more: bool,
}

impl ManageNamespaces {
    /// Changes namespaces through `issuer`, which draws from them, and sees them through `allocator`.
    pub const fn new(issuer: Arc<dyn IdIssuer>, allocator: Arc<dyn Allocator>) -> Self {
        Self { issuer, allocator }
    }

    /// Makes a namespace; the flag says whether it is new.
    ///
    /// # Errors
    /// [`NamespaceError`]
    pub async fn create(
        &self,
        name: NamespaceName,
        settings: NamespaceSettings,
    ) -> Result<(NamespaceSpec, bool), NamespaceError> {
        refuse_own(&name)?;
        Ok(self.issuer.create_namespace(name, settings.spec()?).await?)
    }

    /// Sets the quota, or takes it away; answers the spec from now on.
    ///
    /// # Errors
    /// [`NamespaceError`]
    pub async fn set_quota(&self, name: &NamespaceName, quota: Option<u64>) -> Result<NamespaceSpec, NamespaceError> {
        refuse_own(name)?;
        check_quota(quota)?;
        // Nothing else changes a namespace's blocks, so that what was just read is still so.
        let max_block = self.get(name).await?.spec.max_block;
        Ok(self.issuer.update_namespace(name, quota, max_block).await?)
    }

    /// The namespace of this name, those of Stint's own included.
    ///
    /// # Errors
    /// [`NamespaceError`]
    pub async fn get(&self, name: &NamespaceName) -> Result<NamespaceStatus, NamespaceError> {
        let status = self.allocator.status().await?;
        let found = status.namespaces.into_iter().find(|namespace| namespace.name == *name);
        Ok(found.ok_or_else(|| IdError::Refused(Refusal::UnknownNamespace(name.clone())))?)
    }

    /// The first `limit` namespaces whose names come after `after`.
    ///
    /// # Errors
    /// [`NamespaceError`]
    pub async fn list(&self, after: &str, limit: usize) -> Result<NamespacePage, NamespaceError> {
        let status = self.allocator.status().await?;
        let mut namespaces: Vec<_> =
            status.namespaces.into_iter().filter(|namespace| namespace.name.as_str() > after).collect();
        let more = namespaces.len() > limit;
        namespaces.truncate(limit);
        Ok(NamespacePage { namespaces, more })
    }
}

fn refuse_own(name: &NamespaceName) -> Result<(), NamespaceError> {
    if name.is_links() || name.as_str() == SNOWFLAKE { Err(NamespaceError::Own(name.clone())) } else { Ok(()) }
}
