//! Create links, one a request: most are new, some are repeated, some ask for a link of their own.

use std::sync::Arc;

use goose::goose::{GooseUser, TransactionError, TransactionResult};

use super::exchange::{Call, exchange};
use super::user::session;
use crate::run::Run;
use crate::verify::answer::Link;
use crate::verify::counts::Count;
use crate::verify::fault::{Fault, Kind};
use crate::verify::ledger::{Outcome, Wish};
use crate::wire::CreateRequest;

/// What the servers may have counted if a create's answer is lost.
const DOUBT: &[(Count, u64)] = &[(Count::Created, 1), (Count::Reused, 1)];

/// Of ten requests the fifth wants a link of its own to the URL before it, the tenth repeats the ninth.
pub(super) async fn create(run: Arc<Run>, user: &mut GooseUser) -> TransactionResult {
    let session = session(user);
    session.turn += 1;
    let (turn, last) = (session.turn, session.last.take());
    match last {
        Some((url, first)) if turn % 10 == 5 => {
            let (own, _) = send(&run, user, &url, Some(Outcome::New), Wish::Own).await?;
            debug_assert_ne!(own.code, first.code, "the ledger would have refused it");
        }
        Some((url, _)) if turn % 10 == 0 => {
            send(&run, user, &url, Some(Outcome::Reused), Wish::Plain).await?;
        }
        _ => {
            let url = if turn % 50 == 7 { run.new_foreign_url() } else { run.new_url() };
            let (link, _) = send(&run, user, &url, Some(Outcome::New), Wish::Plain).await?;
            super::user::session(user).last = Some((url, link));
        }
    }
    Ok(())
}

/// Creates a link through the user's target; the outcome must be the expected one, if there is one.
pub(super) async fn send(
    run: &Run,
    user: &mut GooseUser,
    url: &str,
    expected: Option<Outcome>,
    wish: Wish,
) -> Result<(Link, Outcome), Box<TransactionError>> {
    let base = &run.targets[session(user).target];
    let reuse = (wish == Wish::Own).then_some(false);
    let request = run.api.create(base, &CreateRequest { url, alias: None, reuse });
    let check = |reply: &crate::wire::Reply| {
        let (link, outcome) = run.note_created(url, None, wish, reply)?;
        match expected {
            Some(expected) if expected != outcome => {
                Err(Fault::new(Kind::Reuse, format!("{url} must be {expected:?}, but is {outcome:?} ({})", link.code)))
            }
            _ => Ok((link, outcome)),
        }
    };
    exchange(run, user, Call::post("/api/v1/links", request, DOUBT), check).await
}
