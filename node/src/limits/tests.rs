//! Both limiters: the same rule, one with a clock that a test moves, one on real Redis servers.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::*;
use crate::domain::rate::{Client, Policy, Rate};
use crate::ports::clock::{ManualClock, SystemClock};
use crate::ports::rate_limiter::{RateLimiter, Taken};
use crate::redis_server::real::Redis;
use crate::redis_server::{Patience, RedisServer};

const HOUR: Duration = Duration::from_hours(1);
/// Longer than anything here takes on a busy machine.
const DEADLINE: Duration = Duration::from_secs(30);
const SOMEBODY: Client = Client::V4(1);
const ANOTHER: Client = Client::V4(2);

fn rate(count: u32, period: Duration) -> Rate {
    Rate { count: count.try_into().unwrap(), period }
}

fn local(rate: Rate) -> Arc<LocalLimiter> {
    Arc::new(LocalLimiter::new(rate, Arc::new(SystemClock)))
}

/// A limiter on a server that a busy machine doesn't make look away.
fn shared(redis: &Redis, policy: Policy, rate: Rate) -> SharedLimiter {
    let long = Duration::from_secs(3);
    let patience = Patience { connection: long, answer: long, visitor: long };
    let server = RedisServer::open_with(&redis.url(), patience).unwrap();
    SharedLimiter::new(server, "test:", policy, rate, local(rate))
}

/// One limiter of each kind.
fn five_an_hour(redis: &Redis) -> [Arc<dyn RateLimiter>; 2] {
    let rate = rate(5, HOUR);
    [local(rate), Arc::new(shared(redis, Policy::Create, rate))]
}

/// Takes `count` that must be there, and no more.
async fn take(limiter: &dyn RateLimiter, client: Client, count: u32) {
    for left in (0..count).rev() {
        let taken = limiter.take(client, 1).await;
        assert_eq!((taken.granted, taken.left), (1, left));
    }
}

/// How long to wait for the next one, of which there must be none now.
async fn wait(limiter: &dyn RateLimiter, client: Client) -> Duration {
    let taken = limiter.take(client, 1).await;
    assert_eq!((taken.granted, taken.left), (0, 0));
    taken.next
}

/// Whether `time` is this many minutes, of which one may have passed.
fn is_minutes(time: Duration, minutes: u64) -> bool {
    let all = Duration::from_mins(minutes);
    time <= all && time + Duration::from_mins(1) > all
}

#[tokio::test]
async fn a_client_has_its_whole_allowance_at_once_and_then_waits_for_one_at_a_time() {
    let redis = Redis::start();
    for limiter in five_an_hour(&redis) {
        take(&*limiter, SOMEBODY, 5).await;
        assert!(is_minutes(wait(&*limiter, SOMEBODY).await, 12));
        take(&*limiter, ANOTHER, 5).await;
    }
}

#[tokio::test]
async fn of_many_that_are_wanted_those_that_are_there_are_granted() {
    let redis = Redis::start();
    for limiter in five_an_hour(&redis) {
        let taken = limiter.take(SOMEBODY, 3).await;
        assert!(is_minutes(taken.next, 12), "{taken:?}");
        assert_eq!((taken.granted, taken.left), (3, 2));
        let taken = limiter.take(SOMEBODY, 1000).await;
        assert_eq!((taken.granted, taken.left), (2, 0));
        assert!(is_minutes(wait(&*limiter, SOMEBODY).await, 12));
    }
}

#[tokio::test]
async fn what_was_used_already_is_owed_up_to_a_whole_allowance() {
    let redis = Redis::start();
    for limiter in five_an_hour(&redis) {
        for left in (0..5).rev() {
            let taken = limiter.owe(SOMEBODY).await;
            assert_eq!((taken.granted, taken.left), (1, left));
        }
        for owed in 1..=5 {
            let taken = limiter.owe(SOMEBODY).await;
            assert_eq!((taken.granted, taken.left), (0, 0));
            assert!(is_minutes(taken.next, 12 * (owed + 1)), "{owed} are owed: {taken:?}");
        }
        let most = limiter.owe(SOMEBODY).await;
        assert!(is_minutes(most.next, 72), "{most:?}");
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
async fn in_redis_it_comes_back_by_redis_s_clock_and_what_is_whole_is_forgotten() {
    let redis = Redis::start();
    let limiter = shared(&redis, Policy::Create, rate(50, Duration::from_secs(1)));
    let since = Instant::now();
    let mut taken = 0;
    while taken < 100 {
        taken += limiter.take(SOMEBODY, 10).await.granted;
        assert!(since.elapsed() < DEADLINE, "{taken} were taken");
    }
    assert!(since.elapsed() >= Duration::from_millis(990), "a hundred were taken in {:?}", since.elapsed());
    shared(&redis, Policy::Guess, rate(5, HOUR)).take(SOMEBODY, 1).await;
    let ttl: u64 = redis.ask(&["PTTL", "test:rate:guess:400000001"]).parse().unwrap();
    assert!(is_minutes(Duration::from_millis(ttl), 12), "{ttl} ms");
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
    while limiter.take(SOMEBODY, 1).await.granted == 0 {
        assert!(since.elapsed() < DEADLINE, "Redis is not asked again");
    }
    redis.pause();
    wait(&limiter, SOMEBODY).await;
    redis.resume();
}

#[tokio::test]
async fn redis_that_takes_nothing_in_leaves_each_node_to_itself() {
    let redis = Redis::start();
    let limiter = shared(&redis, Policy::Create, rate(3, HOUR));
    assert_eq!(limiter.take(SOMEBODY, 1).await.granted, 1);
    assert_eq!(redis.ask(&["CONFIG", "SET", "maxmemory", "1"]), "OK");
    take(&limiter, SOMEBODY, 3).await;
    wait(&limiter, SOMEBODY).await;
}

#[tokio::test]
async fn a_clock_that_was_set_back_keeps_nobody_out_for_longer_than_two_periods() {
    let redis = Redis::start();
    let limiter = shared(&redis, Policy::Create, rate(50, Duration::from_secs(1)));
    for kept in ["99999999999999999", "-1", "nonsense"] {
        redis.ask(&["SET", "test:rate:create:400000001", kept]);
        let since = Instant::now();
        loop {
            // While Redis is slow the node counts for itself, and what is there may end meanwhile.
            let granted = limiter.take(SOMEBODY, 1).await.granted;
            let back = redis.ask(&["GET", "test:rate:create:400000001"]).parse::<u64>();
            let now: u64 = redis.ask(&["TIME"]).lines().next().unwrap().parse().unwrap();
            if granted > 0 && back.is_ok_and(|back| back < (now + 3) * 1_000_000) {
                break;
            }
            assert!(since.elapsed() < DEADLINE, "{kept}: it never comes back");
        }
    }
}

#[tokio::test]
async fn no_number_of_clients_takes_more_than_its_room_and_whoever_comes_often_is_remembered() {
    let limiter = LocalLimiter::new(rate(5, HOUR), Arc::new(ManualClock::default()));
    for client in 0..500_000 {
        limiter.take(Client::V4(client), 1).await;
        if client % 1000 == 0 {
            limiter.owe(Client::V6(1)).await;
        }
    }
    // Each shard of the cache rounds its share up.
    assert!(limiter.remembered() < 210_000, "{}", limiter.remembered());
    let Taken { granted, .. } = limiter.take(Client::V6(1), 1).await;
    assert_eq!(granted, 0);
}
