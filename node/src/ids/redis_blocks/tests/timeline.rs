//! The register of timelines over a real Redis.

use super::*;
use crate::ports::coordination::CoordinationError;
use crate::ports::timeline::TimelineRegister as _;

const KEY: &str = "stint:timeline:test";

fn register(redis: &Redis) -> RedisTimeline {
    RedisTimeline::new(RedisServer::open(&redis.url()).unwrap(), "test")
}

#[tokio::test]
async fn the_register_only_rises_whoever_raises_it() {
    let redis = Redis::start();
    let (one, two) = (register(&redis), register(&redis));
    assert_eq!(one.raise(3).await.unwrap(), 3);
    assert_eq!(two.raise(2).await.unwrap(), 3);
    assert_eq!(two.raise(12).await.unwrap(), 12, "compared as numbers");
    assert_eq!(one.raise(9).await.unwrap(), 12);
    assert_eq!(one.raise(u32::MAX).await.unwrap(), u32::MAX);
    assert_eq!(two.raise(1).await.unwrap(), u32::MAX);
    assert_eq!(redis.ask(&["TTL", KEY]), "-1", "it doesn't expire");
}

#[tokio::test]
async fn what_is_no_timeline_counts_as_nothing() {
    let redis = Redis::start();
    let register = register(&redis);
    for value in ["words", "", "99999999999"] {
        assert_eq!(redis.ask(&["SET", KEY, value]), "OK");
        assert_eq!(register.raise(4).await.unwrap(), 4, "{value:?}");
    }
    assert_eq!(redis.ask(&["DEL", KEY]), "1");
    assert_eq!(redis.ask(&["LPUSH", KEY, "7"]), "1");
    assert_eq!(register.raise(5).await.unwrap(), 5);
}

#[tokio::test]
async fn a_register_that_is_away_says_so_and_is_found_again() {
    let redis = Redis::start();
    let register = register(&redis);
    assert_eq!(register.raise(4).await.unwrap(), 4);
    redis.kill();
    for _ in 0..2 {
        let error = register.raise(4).await.unwrap_err();
        assert!(
            matches!(error, CoordinationError::Unavailable { .. } | CoordinationError::OutcomeUnknown { .. }),
            "{error:?}"
        );
    }
    redis.launch();
    eventually("it answers again", async || register.raise(5).await.is_ok()).await;
    assert_eq!(register.raise(1).await.unwrap(), 5);
}
