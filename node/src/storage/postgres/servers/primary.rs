//! Taking a server for the primary: only one that takes writes, is of this database, and is on a timeline that no node
//! has seen the end of.
//!
//! One task does it, so that there is one decision at a time. A new timeline is first raised in the register that all
//! nodes share, then marked in the database, and only then used.

use std::sync::Arc;
use std::time::Duration;

use sqlx::{Connection, PgConnection};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::board::{Board, State};
use super::probe;
use super::server::Lineage;
use crate::ports::error_chain::Chain;
use crate::ports::timeline::TimelineRegister;

/// How long the register may take to answer; longer than its clients try for themselves.
const REGISTER_DEADLINE: Duration = Duration::from_secs(8);
/// How long marking a new timeline in the database may take.
const MARKING_DEADLINE: Duration = Duration::from_secs(5);
/// After a primary that is there could not be taken.
const TRIED_AGAIN_AFTER: Duration = Duration::from_secs(1);
/// How far the marks of the lanes jump over a promotion: more than any replica may have missed of them.
const JUMP: i64 = 1 << 28;

/// Blocks that the database vouches for or gives out may be missing on a promoted replica: their marks jump over them,
/// once for each timeline. A mark of timeline 0 was never told one: on timeline 1 nothing was promoted yet.
const JUMP_MARKS: &str = "
UPDATE lanes SET mark = CASE WHEN mark > 0 AND (timeline > 0 OR $1 > 1) THEN mark + $2 ELSE mark END, timeline = $1
WHERE lane IN (1, 2) AND timeline < $1";

/// Why a server that says it is the primary isn't used.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("it is another server now than it was when it was looked at")]
    Changed,
    #[error(
        "its system identifier is {found}, and the database says {recorded}: if this is a restored copy that is to go \
         on, delete 'system_identifier' from the table settings"
    )]
    OtherSystem { found: i64, recorded: String },
    #[error("its timeline can't be marked in the database")]
    Marking(#[from] sqlx::Error),
    #[error("its timeline was not marked in the database within {MARKING_DEADLINE:?}")]
    MarkingTooSlow,
    #[error("timeline {timeline} is behind {highest}, which was used before: it is an old primary")]
    Old { timeline: u32, highest: u32 },
    #[error("timeline {timeline} is new, and the register of timelines can't be asked about it: {reason}")]
    NoRegister { timeline: u32, reason: String },
}

/// Takes primaries as they come, until it is time to stop.
pub(super) async fn adopt(board: Arc<Board>, register: Option<Arc<dyn TimelineRegister>>, stop: CancellationToken) {
    let mut adoption = Adoption { board: &board, register: register.as_deref(), confirmed: 0 };
    let deciding = async {
        loop {
            board.looked.notified().await;
            let candidate = board.state().candidate(&board);
            if let Some((index, lineage)) = candidate
                && let Err(refusal) = adoption.take(index, lineage).await
            {
                adoption.note(index, &refusal);
                sleep(TRIED_AGAIN_AFTER).await;
            }
        }
    };
    tokio::select! {
        () = deciding => {}
        () = stop.cancelled() => {}
    }
}

#[derive(Debug)]
struct Adoption<'a> {
    board: &'a Board,
    register: Option<&'a dyn TimelineRegister>,
    /// The timeline that the register has answered for.
    confirmed: u32,
}

impl Adoption<'_> {
    async fn take(&mut self, index: usize, lineage: Lineage) -> Result<(), Refusal> {
        self.confirm(lineage.timeline).await?;
        let marking = timeout(MARKING_DEADLINE, mark(self.board, index, lineage)).await;
        marking.map_err(|_| Refusal::MarkingTooSlow)??;
        let mut state = self.board.state();
        // Much may have happened meanwhile.
        if state.candidate(self.board) != Some((index, lineage)) {
            return Err(Refusal::Changed);
        }
        let pool = self.board.servers[index].writing_pool(self.board.pool_size, lineage);
        self.board.take(&mut state, index, lineage, pool);
        Ok(())
    }

    /// Makes sure that no node has seen a later timeline, and that none takes an earlier one from now on.
    async fn confirm(&mut self, timeline: u32) -> Result<(), Refusal> {
        if self.confirmed == timeline {
            return Ok(());
        }
        let highest = match self.register {
            None => timeline,
            Some(register) => {
                let unanswered = |reason: String| Refusal::NoRegister { timeline, reason };
                let answer = timeout(REGISTER_DEADLINE, register.raise(timeline)).await;
                let answer = answer.map_err(|_| unanswered(format!("no answer within {REGISTER_DEADLINE:?}")))?;
                answer.map_err(|error| unanswered(Chain(&error).to_string()))?
            }
        };
        let mut state = self.board.state();
        self.board.raise(&mut state, highest);
        let highest = state.highest;
        if highest > timeline {
            return Err(Refusal::Old { timeline, highest });
        }
        self.confirmed = timeline;
        Ok(())
    }

    /// Says why a server was not taken, in the log once.
    fn note(&self, index: usize, refusal: &Refusal) {
        let mut state = self.board.state();
        let text = Chain(refusal).to_string();
        self.board.refuse(&mut state, index, text);
    }
}

impl Board {
    /// Notes why a server is not used as the primary; logs it when it is news.
    fn refuse(&self, state: &mut State, index: usize, why: String) {
        let refused = &mut state.seen[index].refused;
        if refused.as_ref() != Some(&why) {
            tracing::warn!(server = %self.servers[index].name, %why, "a database server is not used as the primary");
            *refused = Some(why);
        }
    }
}

impl State {
    /// Who should be the primary, if somebody else than the one in use. Nobody, until all who may be were looked at: of
    /// two the one on the higher timeline is right, and he may be the second to answer.
    pub(super) fn candidate(&mut self, board: &Board) -> Option<(usize, Lineage)> {
        let may_be = |index: &usize| board.servers[*index].may_be_primary;
        if !(0..board.servers.len()).filter(may_be).all(|index| self.seen[index].look.is_some()) {
            return None;
        }
        let claims: Vec<(usize, Lineage, bool)> =
            (0..board.servers.len()).filter(may_be).filter_map(|index| self.claim(index)).collect();
        // Before the first is taken nothing says which of two clusters is the right one, but the configuration's order.
        let system = self.last.map(|(_, lineage)| lineage.system);
        let first = || claims.iter().find(|(.., writable)| *writable).or(claims.first());
        let system = system.or_else(|| first().map(|(_, claim, _)| claim.system))?;
        let ours = claims.iter().filter(|(_, claim, _)| claim.system == system);
        let highest = ours.map(|(_, claim, _)| claim.timeline).max().unwrap_or(0).max(self.highest);
        let mut best: Option<(usize, Lineage)> = None;
        for (index, claim, writable) in claims {
            match objection(claim, writable, system, highest) {
                Some(why) => board.refuse(self, index, why),
                None => best = best.or(Some((index, claim))),
            }
        }
        let in_use = self.current.and(self.last).map(|(_, lineage)| lineage.timeline);
        best.filter(|(_, lineage)| in_use.is_none_or(|timeline| lineage.timeline > timeline))
    }

    /// What a server says it is the primary of, and whether it takes writes.
    fn claim(&self, index: usize) -> Option<(usize, Lineage, bool)> {
        let look = self.seen[index].look.as_ref()?.as_ref().ok()?;
        let writable = matches!(look.role, probe::Role::Primary { writable: true, .. });
        Some((index, look.lineage()?, writable))
    }
}

/// Why a server that says it is the primary isn't, by what the look at it brought.
fn objection(claim: Lineage, writable: bool, system: i64, highest: u32) -> Option<String> {
    if claim.system != system {
        return Some("it is of another database cluster: its system identifier is another one".to_owned());
    }
    if claim.timeline < highest {
        return Some(Refusal::Old { timeline: claim.timeline, highest }.to_string());
    }
    (!writable).then(|| "it is read-only (default_transaction_read_only)".to_owned())
}

/// Looks once more, over the connection that writes, and records the new timeline.
async fn mark(board: &Board, index: usize, lineage: Lineage) -> Result<(), Refusal> {
    let mut connection = board.servers[index].connect().await?;
    // One transaction, so that a pooler asks one server; none of the statements has a name.
    let mut transaction = connection.begin().await?;
    if probe::lineage(&mut transaction).await? != Some(lineage) {
        return Err(Refusal::Changed);
    }
    if has_table(&mut transaction, "settings").await? {
        let recorded = sqlx::query_scalar("SELECT value FROM settings WHERE name = 'system_identifier'");
        let recorded: Option<String> = recorded.persistent(false).fetch_optional(&mut *transaction).await?;
        if let Some(recorded) = recorded.filter(|recorded| *recorded != lineage.system.to_string()) {
            return Err(Refusal::OtherSystem { found: lineage.system, recorded });
        }
    }
    if has_table(&mut transaction, "lanes").await? {
        let jump = sqlx::query(JUMP_MARKS).persistent(false);
        let timeline = i32::try_from(lineage.timeline).unwrap_or(i32::MAX);
        jump.bind(timeline).bind(JUMP).execute(&mut *transaction).await?;
    }
    transaction.commit().await?;
    // Only politeness: what was to be done is done.
    let _ = connection.close().await;
    Ok(())
}

async fn has_table(connection: &mut PgConnection, name: &str) -> sqlx::Result<bool> {
    let found = sqlx::query_scalar("SELECT to_regclass($1) IS NOT NULL").persistent(false);
    found.bind(name).fetch_one(connection).await
}
