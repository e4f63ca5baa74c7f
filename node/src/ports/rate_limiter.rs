//! Counting what clients do against an allowance.

use std::time::Duration;

use async_trait::async_trait;

use crate::domain::rate::Client;

/// What is left of a client's allowance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Allowance {
    /// There was something left, and one was taken.
    Granted {
        /// How many are left.
        left: u32,
    },
    /// It is used up, and nothing was taken.
    UsedUp {
        /// Until one is back.
        wait: Duration,
    },
}

/// The allowances of all clients under one policy.
#[async_trait]
pub trait RateLimiter: Send + Sync + std::fmt::Debug + 'static {
    /// Takes one of the client's allowance, if there is one. It never fails: a limiter that can't ask others decides by
    /// itself.
    async fn take(&self, client: Client) -> Allowance;
}
