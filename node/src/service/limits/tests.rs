//! Who is stopped, and for how long, by a clock that stands still until it is moved.

use super::*;
use crate::limits::LocalLimiter;
use crate::ports::clock::ManualClock;

const SOMEBODY: Client = Client::V4(1);
const ANOTHER: Client = Client::V4(2);

/// Sixty an hour for each of `policies`.
fn limits(policies: &[Policy]) -> (RateLimits, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::default());
    let rate = Rate { count: 60.try_into().unwrap(), period: Duration::from_hours(1) };
    let limit = |policy: &Policy| {
        let limiter = LocalLimiter::new(rate, Arc::clone(&clock) as _);
        Limit { policy: *policy, rate, limiter: Arc::new(limiter) }
    };
    (RateLimits::new(policies.iter().map(limit).collect(), Arc::clone(&clock) as _), clock)
}

async fn guess(limits: &RateLimits, times: usize) {
    for _ in 0..times {
        limits.admit(SOMEBODY).unwrap();
        limits.note_guess(SOMEBODY).await.unwrap();
    }
}

#[tokio::test]
async fn where_there_is_no_limit_nobody_waits() {
    let (limits, _) = limits(&[Policy::Create]);
    assert!(!limits.look_at_addresses());
    for _ in 0..1000 {
        assert_eq!(limits.take_one(Policy::Follow, SOMEBODY).await, Ok(None));
        limits.admit(SOMEBODY).unwrap();
        limits.note_guess(SOMEBODY).await.unwrap();
    }
}

#[tokio::test]
async fn an_allowance_is_told_until_it_is_used_up() {
    let (limits, _) = limits(&[Policy::Create]);
    for left in (0..60).rev() {
        let standing = limits.take_one(Policy::Create, SOMEBODY).await.unwrap().unwrap();
        assert_eq!((standing.policy, standing.taken.left), (Policy::Create, left));
    }
    let excess = limits.take_one(Policy::Create, SOMEBODY).await.unwrap_err();
    assert_eq!((excess.policy, excess.wait), (Policy::Create, Duration::from_mins(1)));
}

#[tokio::test]
async fn whoever_guessed_too_often_is_stopped_before_it_asks_and_nobody_else_is() {
    let (limits, clock) = limits(&[Policy::Guess]);
    assert!(limits.look_at_addresses());
    guess(&limits, 60).await;
    limits.admit(SOMEBODY).unwrap();
    let excess = limits.note_guess(SOMEBODY).await.unwrap_err();
    assert_eq!(excess.wait, Duration::from_mins(2), "one that is owed, and the next");
    assert_eq!(limits.admit(SOMEBODY), Err(excess));
    limits.admit(ANOTHER).unwrap();
    clock.advance(Duration::from_secs(119));
    assert_eq!(limits.admit(SOMEBODY).unwrap_err().wait, Duration::from_secs(1));
    clock.advance(Duration::from_secs(1));
    guess(&limits, 1).await;
}

/// Sixty an hour and sixty at once, whatever is under way when it is stopped.
#[tokio::test]
async fn in_the_long_run_nobody_guesses_more_often_than_it_may() {
    let (limits, clock) = limits(&[Policy::Guess]);
    let mut looked_up = 0;
    for _ in 0..24 * 60 {
        // As many as a node works on at once come through the door before the first is found wanting.
        while limits.admit(SOMEBODY).is_ok() {
            for _ in 0..7 {
                looked_up += 1;
                let _ = limits.note_guess(SOMEBODY).await;
            }
        }
        clock.advance(Duration::from_mins(1));
    }
    assert!((60 * 24..=60 * 25 + 7).contains(&looked_up), "{looked_up} guesses in a day");
}

#[tokio::test]
async fn nobody_is_stopped_for_much_longer_than_the_period() {
    let (limits, clock) = limits(&[Policy::Guess]);
    guess(&limits, 60).await;
    for _ in 0..1000 {
        let excess = limits.note_guess(SOMEBODY).await.unwrap_err();
        assert!(excess.wait <= Duration::from_mins(61), "{excess:?}");
    }
    clock.advance(Duration::from_mins(61));
    limits.admit(SOMEBODY).unwrap();
}
