//! Keys from sources that start once the database was checked: none is drawn before.

use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use stint_idgen::Key;

use crate::ports::id_source::{IdError, KeySource};
use crate::ports::link_store::StoreError;

/// A source that is still to come.
#[derive(Debug, Default)]
pub(super) struct LateKeys {
    source: OnceLock<Arc<dyn KeySource>>,
}

#[derive(Debug, thiserror::Error)]
#[error("the database was not checked yet; see /readyz")]
struct NotChecked;

impl LateKeys {
    /// From now on keys come from `source`.
    pub(super) fn come_from(&self, source: Arc<dyn KeySource>) {
        // Checked once is checked for good.
        let _ = self.source.set(source);
    }
}

#[async_trait]
impl KeySource for LateKeys {
    async fn next_key(&self) -> Result<Key, IdError> {
        let Some(source) = self.source.get() else {
            let source = Arc::new(NotChecked);
            return Err(IdError::Fence(StoreError::Unavailable { operation: "look at the id lanes", source }));
        };
        source.next_key().await
    }
}
