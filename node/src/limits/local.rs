//! A limiter of this process alone, in memory that is bounded whoever asks.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use quick_cache::sync::Cache;

use super::bucket::{Bucket, Mode};
use crate::domain::rate::{Client, Rate};
use crate::ports::clock::Clock;
use crate::ports::rate_limiter::{RateLimiter, Taken};

/// Clients remembered, about 100 bytes each. Of more than that those are forgotten that come seldom: they have their whole
/// allowance again.
const REMEMBERED: usize = 200_000;

/// Counts what clients do in this process.
#[derive(Debug)]
pub struct LocalLimiter {
    bucket: Bucket,
    /// When each client's whole allowance will be back.
    clients: Cache<Client, Arc<AtomicU64>>,
    clock: Arc<dyn Clock>,
}

impl LocalLimiter {
    /// A limiter in which every client may do this much.
    pub fn new(rate: Rate, clock: Arc<dyn Clock>) -> Self {
        Self { bucket: Bucket::new(rate), clients: Cache::new(REMEMBERED), clock }
    }

    pub(super) fn use_up(&self, client: Client, wanted: u32, mode: Mode) -> Taken {
        let begin = || Ok::<_, Infallible>(Arc::default());
        let Ok(back) = self.clients.get_or_insert_with(&client, begin);
        let mut kept = back.load(Ordering::Relaxed);
        loop {
            let (next, taken) = self.bucket.step(kept, self.clock.monotonic(), wanted, mode);
            match back.compare_exchange_weak(kept, next, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return taken,
                Err(changed) => kept = changed,
            }
        }
    }

    #[cfg(test)]
    pub(super) fn remembered(&self) -> usize {
        self.clients.len()
    }
}

#[async_trait]
impl RateLimiter for LocalLimiter {
    async fn take(&self, client: Client, wanted: u32) -> Taken {
        self.use_up(client, wanted, Mode::Take)
    }

    async fn owe(&self, client: Client) -> Taken {
        self.use_up(client, 1, Mode::Owe)
    }
}
