//! Rate limits, as they are configured: counted together by way of Redis where there is one, else by this node alone.

use std::sync::Arc;

use super::Surroundings;
use crate::cache::redis::prefix_of;
use crate::config::{Config, RateLimit};
use crate::domain::rate::{Policy, Rate};
use crate::http::limits::LimitedClients;
use crate::limits::{LocalLimiter, SharedLimiter};
use crate::metrics::{LimitMetrics, Registry};
use crate::ports::rate_limiter::RateLimiter;
use crate::redis_server::RedisServer;
use crate::service::limits::{Limit, RateLimits};

/// The limits of this node; `shared` is the Redis of all nodes of a deployment.
pub(super) fn rate_limits(
    config: &Config,
    shared: Option<(&RedisServer, &str)>,
    registry: &Registry,
    around: &Surroundings,
) -> LimitedClients {
    let limits = Policy::ALL.into_iter().filter_map(|policy| {
        let rate = rate(configured(config, policy)?);
        let local = Arc::new(LocalLimiter::new(rate, Arc::clone(&around.clock)));
        let limiter: Arc<dyn RateLimiter> = match shared {
            // A redirect out of memory takes microseconds: asking Redis first would cost it a hundred times that.
            Some((server, deployment)) if policy != Policy::Follow => {
                Arc::new(SharedLimiter::new(server.clone(), &prefix_of(deployment), policy, rate, local))
            }
            _ => local,
        };
        Some(Limit { policy, rate, limiter })
    });
    let limits = RateLimits::new(limits.collect(), Arc::clone(&around.clock));
    let trusted_proxies = config.http.trusted_proxies.iter().map(|network| network.get()).collect();
    LimitedClients::new(limits, trusted_proxies, LimitMetrics::new(registry))
}

const fn configured(config: &Config, policy: Policy) -> Option<RateLimit> {
    let limits = &config.http.limits;
    match policy {
        Policy::Create => limits.create,
        Policy::Anonymous => limits.anonymous,
        Policy::Guess => limits.guess,
        Policy::Follow => limits.follow,
    }
}

const fn rate(limit: RateLimit) -> Rate {
    Rate { count: limit.count(), period: limit.period() }
}
