//! Counting what clients do against an allowance.

use std::time::Duration;

use async_trait::async_trait;

use crate::domain::rate::Client;

/// What a client got of its allowance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    /// How many.
    pub granted: u32,
    /// How many are left.
    pub left: u32,
    /// Until there is one more.
    pub next: Duration,
}

/// The allowances of all clients under one policy. It never fails: a limiter that can't ask others decides by itself.
#[async_trait]
pub trait RateLimiter: Send + Sync + std::fmt::Debug + 'static {
    /// Takes as many of the client's allowance as are wanted, or as there are.
    async fn take(&self, client: Client, wanted: u32) -> Taken;

    /// Takes one that has been used already. If there is none it is not granted but owed: it goes off what comes back. What
    /// a client owes is at most its whole allowance.
    async fn owe(&self, client: Client) -> Taken;
}
