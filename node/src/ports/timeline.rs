//! Which history of the database is the current one: what keeps a returned old primary from being written to.

use async_trait::async_trait;

use super::coordination::CoordinationError;

/// A max register of the highest timeline that any node has seen a primary on, shared by all nodes.
#[async_trait]
pub trait TimelineRegister: Send + Sync + std::fmt::Debug + 'static {
    /// Raises the register to `timeline` unless it is higher already; answers what it holds then.
    ///
    /// # Errors
    /// [`CoordinationError`], when the register can't be asked.
    async fn raise(&self, timeline: u32) -> Result<u32, CoordinationError>;
}
