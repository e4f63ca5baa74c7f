//! Follow links, few of them often and most seldom.

use std::sync::Arc;

use goose::goose::{GooseMethod, GooseUser, TransactionResult};

use super::exchange::{Call, exchange};
use super::user::session;
use crate::run::Run;
use crate::verify::answer::Link;
use crate::verify::counts::Count;

/// What the servers may have counted if a redirect is lost.
const DOUBT: &[(Count, u64)] = &[(Count::Followed, 1)];

/// Follows a link by its popularity, through the user's target.
pub(super) async fn follow(run: Arc<Run>, user: &mut GooseUser) -> TransactionResult {
    let session = session(user);
    let base = &run.targets[session.target];
    match run.popular_link(&mut session.rng) {
        Some(link) => send(&run, user, base, link).await,
        None => Ok(()),
    }
}

/// Follows a link through the target at `base`.
pub(super) async fn send(run: &Run, user: &mut GooseUser, base: &str, link: &Link) -> TransactionResult {
    let request = run.api.follow(base, &link.code);
    let status = Some(run.options.redirect_status);
    let call = Call { name: "/{code}", method: GooseMethod::Get, request, status, doubt: DOUBT };
    exchange(run, user, call, |reply| run.note_redirect(link, reply)).await
}
