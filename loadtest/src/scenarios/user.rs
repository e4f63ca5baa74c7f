//! What a user keeps between its requests.

use std::sync::Arc;
use std::time::Duration;

use goose::goose::{GooseUser, TransactionResult};
use rand::SeedableRng;
use rand::rngs::SmallRng;

use crate::run::Run;
use crate::verify::answer::Link;

/// Until goose has thrown away what it measured before the last user was there: what it reports begins then.
const SETTLE: Duration = Duration::from_millis(300);

/// If some users never come, as when the run is interrupted, the others don't wait for ever.
const LATEST_START: Duration = Duration::from_secs(30);

/// What a user keeps between its requests.
#[derive(Clone, Debug)]
pub(super) struct Session {
    /// The number of its target.
    pub(super) target: usize,
    /// How many times it did what it does.
    pub(super) turn: u64,
    /// Chance.
    pub(super) rng: SmallRng,
    /// The last link it made, and the URL it sent.
    pub(super) last: Option<(String, Link)>,
    /// A link to be followed next.
    pub(super) fresh: Option<Link>,
    /// Whether it has nothing left to do.
    pub(super) finished: bool,
}

/// A user arrives: it takes its place and begins with the others.
pub(super) async fn begin(run: Arc<Run>, user: &mut GooseUser) -> TransactionResult {
    user.client = run.api.client.clone();
    let number = run.next_user();
    // They take turns over the targets, and don't all begin with the same kind of request.
    let (target, turn) = (number % run.targets.len(), u64::try_from(number).unwrap_or_default());
    let rng = SmallRng::from_os_rng();
    user.set_session_data(Session { target, turn, rng, last: None, fresh: None, finished: false });
    // Late is as good as never: the run ends by itself.
    let _ = tokio::time::timeout(LATEST_START, run.start.wait()).await;
    tokio::time::sleep(SETTLE).await;
    run.begin();
    Ok(())
}

/// The session of a user that has begun.
pub(super) fn session(user: &mut GooseUser) -> &mut Session {
    user.get_session_data_unchecked_mut()
}
