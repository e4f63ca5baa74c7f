//! Every URL of a file is created once through one target and followed once through another.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use goose::goose::{GooseUser, TransactionResult};
use goose::{is_killswitch_triggered, trigger_killswitch};

use super::user::session;
use super::{create, follow};
use crate::run::Run;
use crate::verify::ledger::Wish;

/// Between two looks whether the others are done.
const PAUSE: Duration = Duration::from_millis(20);

/// Takes lines until there are none left. The last user to find none ends the run.
pub(super) async fn all(run: Arc<Run>, user: &mut GooseUser) -> TransactionResult {
    let target = session(user).target;
    while !is_killswitch_triggered() {
        let Some(url) = run.lines.get(run.next_line.fetch_add(1, Ordering::Relaxed)) else { break };
        // What fails has been told, and the other lines are still to be done. A server that has the URL reuses it.
        if let Ok((link, _)) = create::send(&run, user, url, None, Wish::Plain).await {
            let _ = follow::send(&run, user, run.other(target), &link).await;
        }
    }
    let is_first_time = !std::mem::replace(&mut session(user).finished, true);
    if is_first_time && run.finish_user() {
        trigger_killswitch("every line is done");
    }
    // goose begins anew at once, until it has noticed: without a pause that would be all that this thread does.
    loop {
        tokio::time::sleep(PAUSE).await;
        if is_killswitch_triggered() {
            return Ok(());
        }
    }
}
