//! Both limiters: the same rule, one with a clock that a test moves, one on real Redis servers.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::*;
use crate::domain::rate::{Client, Policy, Rate};
use crate::ports::clock::{ManualClock, SystemClock};
use crate::ports::rate_limiter::{Allowance, RateLimiter};
use crate::redis_server::RedisServer;
use crate::redis_server::real::Redis;

const HOUR: Duration = Duration::from_hours(1);
const SOMEBODY: Client = Client::V4(1);
const ANOTHER: Client = Client::V4(2);

fn rate(count: u32, period: Duration) -> Rate {
    Rate { count: count.try_into().unwrap(), period }
}

fn local(rate: Rate) -> Arc<LocalLimiter> {
    Arc::new(LocalLimiter::new(rate, Arc::new(SystemClock)))
}

fn shared(redis: &Redis, policy: Policy, rate: Rate) -> SharedLimiter {
    SharedLimiter::new(RedisServer::open(&redis.url()).unwrap(), "test:", policy, rate, local(rate))
}

/// Takes `count` that must be there.
async fn take(limiter: &dyn RateLimiter, client: Client, count: u32) {
    for left in (0..count).rev() {
        assert_eq!(limiter.take(client).await, Allowance::Granted { left });
    }
}

/// How long to wait for the next one, of which there must be none now.
async fn wait(limiter: &dyn RateLimiter, client: Client) -> Duration {
    match limiter.take(client).await {
        Allowance::UsedUp { wait } => wait,
        granted @ Allowance::Granted { .. } => panic!("{granted:?}"),
    }
}

#[tokio::test]
async fn a_client_has_its_whole_allowance_at_once_and_then_waits_for_one_at_a_time() {
    let redis = Redis::start();
    let rate = rate(5, HOUR);
    let limiters: [Arc<dyn RateLimiter>; 2] = [local(rate), Arc::new(shared(&redis, Policy::Create, rate))];
    for limiter in limiters {
        take(&*limiter, SOMEBODY, 5).await;
        let wait = wait(&*limiter, SOMEBODY).await;
        assert!(wait <= rate.interval() && wait > rate.interval() - Duration::from_mins(1), "{wait:?}");
        take(&*limiter, ANOTHER, 5).await;
    }
}

#[tokio::test]
async fn an_allowance_comes_back_bit_by_bit() {
    let clock = Arc::new(ManualClock::default());
    let limiter = LocalLimiter::new(rate(5, HOUR), Arc::clone(&clock) as _);
    take(&limiter, SOMEBODY, 5).await;
    clock.advance(Duration::from_mins(11));
    assert_eq!(wait(&limiter, SOMEBODY).await, Duration::from_mins(1));
    clock.advance(Duration::from_mins(1));
    take(&limiter, SOMEBODY, 1).await;
    clock.advance(2 * HOUR);
    take(&limiter, SOMEBODY, 5).await;
}

#[tokio::test]
async fn in_redis_it_comes_back_by_redis_s_clock() {
    let redis = Redis::start();
    let limiter = shared(&redis, Policy::Create, rate(50, Duration::from_secs(1)));
    let since = Instant::now();
    let mut taken = 0_u32;
    while taken < 100 {
        taken += u32::from(matches!(limiter.take(SOMEBODY).await, Allowance::Granted { .. }));
        assert!(since.elapsed() < Duration::from_secs(30), "{taken} were taken");
    }
    assert!(since.elapsed() >= Duration::from_millis(990), "a hundred were taken in {:?}", since.elapsed());
    let ttl: i64 = redis.ask(&["PTTL", "test:rate:create:400000001"]).parse().unwrap();
    assert!((1..=1000).contains(&ttl), "what is whole again is forgotten: {ttl} ms");
}

#[tokio::test]
async fn nodes_count_together_and_policies_apart() {
    let redis = Redis::start();
    let nodes = [(); 2].map(|()| shared(&redis, Policy::Create, rate(5, HOUR)));
    take(&nodes[0], SOMEBODY, 5).await;
    wait(&nodes[1], SOMEBODY).await;
    take(&shared(&redis, Policy::Guess, rate(5, HOUR)), SOMEBODY, 5).await;
}

#[tokio::test]
async fn while_redis_is_away_or_hangs_each_node_counts_for_itself() {
    let redis = Redis::start();
    let limiter = shared(&redis, Policy::Create, rate(3, HOUR));
    take(&limiter, SOMEBODY, 3).await;
    redis.kill();
    take(&limiter, SOMEBODY, 3).await;
    wait(&limiter, SOMEBODY).await;
    redis.launch();
    let since = Instant::now();
    // It came back empty: what it grants now it counts.
    while !matches!(limiter.take(SOMEBODY).await, Allowance::Granted { .. }) {
        assert!(since.elapsed() < Duration::from_secs(30), "Redis is not asked again");
    }
    redis.pause();
    wait(&limiter, SOMEBODY).await;
    redis.resume();
}

#[tokio::test]
async fn a_clock_that_was_set_back_keeps_nobody_out_for_longer_than_the_period() {
    let redis = Redis::start();
    let limiter = shared(&redis, Policy::Create, rate(50, Duration::from_secs(1)));
    for kept in ["99999999999999999", "-1", "nonsense"] {
        redis.ask(&["SET", "test:rate:create:400000001", kept]);
        let since = Instant::now();
        while !matches!(limiter.take(SOMEBODY).await, Allowance::Granted { .. }) {
            assert!(since.elapsed() < Duration::from_secs(30), "{kept}: it never comes back");
        }
    }
}

#[tokio::test]
async fn whoever_has_everything_back_is_forgotten() {
    let clock = Arc::new(ManualClock::default());
    let limiter = LocalLimiter::new(rate(5, HOUR), Arc::clone(&clock) as _);
    for client in 0..1000 {
        limiter.take_one(Client::V4(client));
    }
    limiter.sweep();
    assert_eq!(limiter.remembered(), 1000);
    clock.advance(Duration::from_mins(25));
    limiter.sweep();
    assert_eq!(limiter.remembered(), 0);
}

#[tokio::test]
async fn a_crowd_of_clients_takes_no_more_than_its_room() {
    let limiter = LocalLimiter::with_room(rate(5, HOUR), Arc::new(ManualClock::default()), 1000);
    for client in 0..1001 {
        limiter.take_one(Client::V4(client));
    }
    limiter.sweep();
    for client in 1001..200_000 {
        limiter.take_one(Client::V4(client));
    }
    assert!(limiter.remembered() <= 1001 + (1 << 16), "{}", limiter.remembered());
}
