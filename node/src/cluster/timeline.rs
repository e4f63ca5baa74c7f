//! The register of database timelines, kept by the allocators.

use async_trait::async_trait;
use stint_idgen::allocator::{Command, Reply};

use crate::ports::coordination::{Allocator, CoordinationError};
use crate::ports::timeline::TimelineRegister;

/// An answer that isn't one.
#[derive(Debug, thiserror::Error)]
#[error("the allocators answered a raised timeline with {0}")]
struct NoTimeline(String);

#[async_trait]
impl<A: Allocator + ?Sized> TimelineRegister for std::sync::Arc<A> {
    async fn raise(&self, timeline: u32) -> Result<u32, CoordinationError> {
        match self.submit(Command::RaiseTimeline { timeline: timeline.into() }).await? {
            // Postgres counts timelines in 32 bits; a register above that refuses every one.
            Reply::Timeline(highest) => Ok(u32::try_from(highest).unwrap_or(u32::MAX)),
            other => Err(CoordinationError::Unavailable { source: Box::new(NoTimeline(format!("{other:?}"))) }),
        }
    }
}

#[cfg(test)]
mod tests;
