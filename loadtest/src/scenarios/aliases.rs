//! Several users ask for the same alias at once, each for a URL of its own: exactly one gets it, and then it leads to
//! that one's URL.

use std::sync::Arc;

use goose::goose::{GooseUser, TransactionResult};

use super::exchange::{Call, exchange};
use super::follow;
use super::user::session;
use crate::run::{Run, locked};
use crate::verify::aliases::{Bid, Decided};
use crate::verify::answer::Link;
use crate::verify::counts::Count;
use crate::verify::fault::Fault;
use crate::verify::ledger::Wish;
use crate::wire::{CreateRequest, Reply};

/// Asks for an alias that others ask for too. The last to be answered follows it, through another target.
pub(super) async fn bid(run: Arc<Run>, user: &mut GooseUser) -> TransactionResult {
    let target = session(user).target;
    let (number, _) = locked(&run.aliases).ticket();
    let alias = run.alias(number);
    let url = run.new_url();
    let request = CreateRequest { url: &url, alias: Some(&alias), reuse: None };
    let request = run.api.create(&run.targets[target], &request);
    let mut noted = false;
    let check = |reply: &Reply| {
        let bid = read(&run, &alias, &url, reply)?;
        noted = true;
        locked(&run.aliases).note(&alias, bid)
    };
    let call = Call::post("/api/v1/links (alias)", request, &[(Count::Created, 1)]);
    let answer = exchange(&run, user, call, check).await;
    let decided = match answer {
        Ok(decided) => decided,
        Err(error) => {
            if !noted {
                // If that decides the alias, `check_rest` or nobody follows it: the run has failed already.
                let _ = locked(&run.aliases).note(&alias, Bid::Unknown);
            }
            return Err(error);
        }
    };
    match decided.and_then(link) {
        Some(link) => follow::send(&run, user, run.other(target), &link).await,
        None => Ok(()),
    }
}

fn read(run: &Run, alias: &str, url: &str, reply: &Reply) -> Result<Bid, Fault> {
    if reply.status == 409 && reply.complaint().starts_with("alias-taken:") {
        return Ok(Bid::Lost);
    }
    if reply.status != 201 {
        return Err(reply.wrong_status("201 or 409 alias-taken"));
    }
    let (link, _) = run.note_created(url, Some(alias), Wish::Own, reply)?;
    Ok(Bid::Won(link.url))
}

/// What must be followed now that an alias is decided; nothing if it isn't known who won.
fn link(decided: Decided) -> Option<Link> {
    Some(Link { code: decided.alias, url: decided.url? })
}

/// The aliases that not all had asked for when the run ended: each has one winner too.
pub(crate) async fn check_rest(run: &Run) {
    let rest = locked(&run.aliases).rest();
    for decided in rest {
        let link = match decided.map(link) {
            Ok(Some(link)) => link,
            Ok(None) => continue,
            Err(fault) => {
                run.note_failure("aliases", &fault, &[]);
                continue;
            }
        };
        run.note_request(None);
        let request = run.api.follow(&run.targets[0], &link.code);
        let followed = Reply::to(request).await.and_then(|reply| run.note_redirect(&link, &reply));
        if let Err(fault) = followed {
            let what = format!("GET {}/{}", run.targets[0], link.code);
            run.note_failure(&what, &fault, &[(Count::Followed, 1)]);
        }
    }
}
