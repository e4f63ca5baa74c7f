//! What a user does, again and again, until the run ends.

mod aliases;
mod bulk;
mod create;
mod exchange;
mod follow;
mod ids;
mod mixed;
mod urls;
mod user;

use std::sync::Arc;

use futures_util::future::BoxFuture;
use goose::GooseError;
use goose::goose::{GooseUser, Scenario, Transaction, TransactionResult};

pub(crate) use self::aliases::check_rest;
use crate::cli::ScenarioName;
use crate::run::Run;

/// How many links `mixed` and `soak` follow for each that they create.
const FOLLOWS_PER_CREATE: usize = 100;

/// The scenario of this run.
pub(crate) fn scenario(run: &Arc<Run>) -> Result<Scenario, GooseError> {
    let begin = transaction(run, "begin", |run, user| Box::pin(user::begin(run, user))).set_on_start();
    let scenario = Scenario::new(run.scenario.as_str()).register_transaction(begin);
    let create = || transaction(run, "create", |run, user| Box::pin(create::create(run, user)));
    Ok(match run.scenario {
        ScenarioName::Create => scenario.register_transaction(create()),
        ScenarioName::Follow => {
            scenario.register_transaction(transaction(run, "follow", |run, user| Box::pin(follow::follow(run, user))))
        }
        // `soak` is `mixed`; what differs is what is looked at.
        ScenarioName::Mixed | ScenarioName::Soak => {
            let create = transaction(run, "create", |run, user| Box::pin(mixed::create(run, user)));
            let follow = transaction(run, "follow", |run, user| Box::pin(mixed::follow(run, user)));
            scenario.register_transaction(create).register_transaction(follow.set_weight(FOLLOWS_PER_CREATE)?)
        }
        ScenarioName::Bulk => {
            scenario.register_transaction(transaction(run, "bulk", |run, user| Box::pin(bulk::create(run, user))))
        }
        ScenarioName::Aliases => {
            scenario.register_transaction(transaction(run, "alias", |run, user| Box::pin(aliases::bid(run, user))))
        }
        ScenarioName::Ids => {
            scenario.register_transaction(transaction(run, "draw", |run, user| Box::pin(ids::draw(run, user))))
        }
        ScenarioName::Urls => {
            scenario.register_transaction(transaction(run, "urls", |run, user| Box::pin(urls::all(run, user))))
        }
    })
}

/// A step of a user, as goose takes it.
fn transaction<F>(run: &Arc<Run>, name: &str, step: F) -> Transaction
where
    F: for<'u> Fn(Arc<Run>, &'u mut GooseUser) -> BoxFuture<'u, TransactionResult> + Send + Sync + 'static,
{
    let run = Arc::clone(run);
    Transaction::new(Arc::new(move |user| step(Arc::clone(&run), user))).set_name(name)
}
