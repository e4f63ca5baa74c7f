//! Create links and follow many more. A new link is followed next, through another target: it must be known there.

use std::sync::Arc;

use goose::goose::{GooseUser, TransactionResult};

use super::user::session;
use super::{create, follow};
use crate::run::Run;
use crate::verify::ledger::{Outcome, Wish};

/// Creates a link, to be followed next.
pub(super) async fn create(run: Arc<Run>, user: &mut GooseUser) -> TransactionResult {
    let (link, _) = create::send(&run, user, &run.new_url(), Some(Outcome::New), Wish::Plain).await?;
    session(user).fresh = Some(link);
    Ok(())
}

/// Follows the new link if there is one, else one by its popularity.
pub(super) async fn follow(run: Arc<Run>, user: &mut GooseUser) -> TransactionResult {
    let session = session(user);
    let target = session.target;
    match session.fresh.take() {
        Some(link) => follow::send(&run, user, run.other(target), &link).await,
        None => follow::follow(run, user).await,
    }
}
