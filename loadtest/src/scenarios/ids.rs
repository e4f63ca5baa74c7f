//! Draw ids of one namespace, few and many, in every form. No id comes twice in the whole run.

use std::sync::Arc;

use goose::goose::{GooseUser, TransactionResult};
use rand::Rng;

use super::exchange::{Call, exchange};
use super::user::session;
use crate::run::Run;
use crate::verify::counts::Count;
use crate::wire::IdForm;

/// The most ids of a draw.
const MOST: u64 = 500;

/// Draws one id every other time, else up to [`MOST`].
pub(super) async fn draw(run: Arc<Run>, user: &mut GooseUser) -> TransactionResult {
    let session = session(user);
    session.turn += 1;
    let form = IdForm::ALL[usize::try_from(session.turn / 2 % 4).unwrap_or_default()];
    let count = if session.turn.is_multiple_of(2) { 1 } else { session.rng.random_range(2..=MOST) };
    let request = run.api.draw(&run.targets[session.target], &run.options.namespace, count, form);
    let doubt = [(Count::Ids, count)];
    let call = Call::post("/api/v1/ids", request, &doubt);
    exchange(&run, user, call, |reply| run.note_ids(count, form, reply)).await
}
