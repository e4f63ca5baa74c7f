//! Rate limits, as they are configured: counted together by way of Redis where there is one, else by this node alone.

use std::sync::Arc;

use super::Surroundings;
use crate::config::{Allowance, Config};
use crate::domain::rate::{Policy, Rate};
use crate::http::limits::LimitedClients;
use crate::lifecycle::Tasks;
use crate::limits::{LocalLimiter, SharedLimiter};
use crate::ports::rate_limiter::RateLimiter;
use crate::redis_server::RedisServer;
use crate::service::limits::{Limit, RateLimits};

/// The limits of this node; `shared` is the Redis of all nodes, and what their names in it begin with.
pub(super) fn start_limits(
    config: &Config,
    shared: Option<(RedisServer, &str)>,
    background: &Tasks,
    around: &Surroundings,
) -> LimitedClients {
    let limits = Policy::ALL.into_iter().filter_map(|policy| {
        let rate = rate(allowance(config, policy)?);
        let local = Arc::new(LocalLimiter::new(rate, Arc::clone(&around.clock)));
        let kept = Arc::clone(&local);
        background.start_endless("rate limits", async move { kept.keep_small().await });
        let limiter: Arc<dyn RateLimiter> = match &shared {
            // A redirect out of memory takes microseconds: asking Redis first would cost it a hundred times that.
            Some((server, prefix)) if policy != Policy::Follow => {
                Arc::new(SharedLimiter::new(server.clone(), prefix, policy, rate, local))
            }
            _ => local,
        };
        Some(Limit { policy, rate, limiter })
    });
    let limits = RateLimits::new(limits.collect(), Arc::clone(&around.clock));
    LimitedClients::new(limits, config.http.trusted_proxies.iter().map(|network| network.get()).collect())
}

const fn allowance(config: &Config, policy: Policy) -> Option<Allowance> {
    let limits = &config.http.limits;
    match policy {
        Policy::Create => limits.create,
        Policy::Anonymous => limits.anonymous,
        Policy::Guess => limits.guess,
        Policy::Follow => limits.follow,
    }
}

const fn rate(allowance: Allowance) -> Rate {
    Rate { count: allowance.count(), period: allowance.period() }
}
