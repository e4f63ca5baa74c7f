//! What is known of all servers: the last look at each, the primary in use, and who is read.
//!
//! Looks come in from the watchers, one at a time. A primary that isn't one any more is given up here, at once; a new one
//! is taken by [`super::primary`] only.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use sqlx::postgres::PgPool;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use super::Primary;
use super::look_error::LookError;
use super::probe::{Look, Role};
use super::replicas::{Behind, History, Measure};
use super::server::{Lineage, Server};
use crate::metrics::DatabaseMetrics;

/// A primary that only doesn't answer in time is given up after so many looks in a row.
const SLOW_LOOKS: u32 = 2;

/// What the watchers, the one who adopts primaries and the callers share.
#[derive(Debug)]
pub(super) struct Board {
    pub(super) servers: Vec<Server>,
    pub(super) pool_size: u32,
    /// Woken by each look.
    pub(super) looked: Notify,
    max_lag: Duration,
    metrics: Option<Arc<DatabaseMetrics>>,
    state: Mutex<State>,
    primary: RwLock<Option<Arc<Primary>>>,
    rotation: RwLock<Arc<[PgPool]>>,
    timelines: watch::Sender<Option<u32>>,
}

/// What changes.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) seen: Vec<Seen>,
    /// The server in use as the primary.
    pub(super) current: Option<usize>,
    /// The last one that was, with its lineage.
    pub(super) last: Option<(usize, Lineage)>,
    /// The highest timeline that a primary was seen on, here or by another node.
    pub(super) highest: u32,
    history: History,
}

/// What is known of one server.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) look: Option<Result<Look, LookError>>,
    /// Why it isn't used as the primary, if it says it is one.
    pub(super) refused: Option<String>,
    slow_looks: u32,
    behind: Option<Behind>,
    /// The lag, if it is a replica and it is known.
    pub(super) lag: Option<Duration>,
    /// Why it isn't read; `None` if it is.
    pub(super) out: Option<String>,
    pool: Option<PgPool>,
}

impl Board {
    pub(super) fn new(
        servers: Vec<Server>,
        pool_size: u32,
        max_lag: Duration,
        metrics: Option<Arc<DatabaseMetrics>>,
    ) -> Self {
        let not_yet = || Seen { out: Some("it was not looked at yet".to_owned()), ..Seen::default() };
        let seen = servers.iter().map(|_| not_yet()).collect();
        Self {
            servers,
            pool_size,
            looked: Notify::new(),
            max_lag,
            metrics,
            state: Mutex::new(State { seen, ..State::default() }),
            primary: RwLock::default(),
            rotation: RwLock::new(Arc::new([])),
            timelines: watch::Sender::new(None),
        }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn primary(&self) -> Option<Arc<Primary>> {
        self.primary.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn rotation(&self) -> Arc<[PgPool]> {
        Arc::clone(&self.rotation.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn timelines(&self) -> watch::Receiver<Option<u32>> {
        self.timelines.subscribe()
    }

    /// Takes in a look at one server.
    pub(super) fn record(&self, index: usize, look: Result<Look, LookError>) {
        let mut state = self.state();
        let seen = &mut state.seen[index];
        seen.slow_looks = if look.as_ref().is_err_and(LookError::is_slow) { seen.slow_looks + 1 } else { 0 };
        let was = seen.look.replace(look);
        self.report(index, was.as_ref(), &state);
        if state.current == Some(index) {
            match state.still_primary(index) {
                Ok(()) => {}
                Err(why) => self.give_up(&mut state, &why),
            }
        }
        if let Some(timeline) = state.timeline_seen(index).filter(|_| self.servers[index].may_be_primary) {
            self.raise(&mut state, timeline);
        }
        self.judge_all(&mut state);
        drop(state);
        self.looked.notify_one();
    }

    /// A primary was seen on this timeline, here or elsewhere: what is on a lower one is not used any more.
    pub(super) fn raise(&self, state: &mut State, timeline: u32) {
        state.highest = state.highest.max(timeline);
        if state.last.is_some_and(|(_, last)| last.timeline < state.highest) {
            self.give_up(state, "there is a primary on a newer timeline");
        }
    }

    /// From now on there is no primary.
    pub(super) fn give_up(&self, state: &mut State, why: &str) {
        if let Some(index) = state.current.take() {
            tracing::warn!(server = %self.servers[index].name, why, "the database has no primary any more");
            self.install(None);
            self.judge_all(state);
        }
    }

    /// From now on this server is the primary.
    pub(super) fn take(&self, state: &mut State, index: usize, lineage: Lineage, pool: PgPool) {
        let is_new = state.last.is_none_or(|(_, last)| last != lineage);
        if let (Some(last), Some(metrics)) = (state.last, &self.metrics)
            && last != (index, lineage)
        {
            metrics.count_change();
        }
        tracing::info!(server = %self.servers[index].name, timeline = lineage.timeline, "the database has a primary");
        if is_new {
            state.history.restart();
        }
        state.highest = state.highest.max(lineage.timeline);
        state.current = Some(index);
        state.last = Some((index, lineage));
        state.seen[index].refused = None;
        // What has just become true of the history is noted before anybody is judged by it.
        let _ = state.still_primary(index);
        self.judge_all(state);
        self.install(Some(Primary { pool, timeline: lineage.timeline }));
    }

    pub(super) fn install(&self, primary: Option<Primary>) {
        let timeline = primary.as_ref().map(|primary| primary.timeline);
        let mut installed = self.primary.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(replaced) = std::mem::replace(&mut *installed, primary.map(Arc::new)) {
            // Whoever still holds it gets no connection any more: what is there now may be an old primary. The pool is
            // closed by the call; the future would wait for the connections in use.
            drop(replaced.pool.close());
        }
        drop(installed);
        self.timelines.send_replace(timeline);
        if let Some(metrics) = &self.metrics {
            metrics.set_timeline(timeline);
        }
    }

    /// Whoever isn't the primary in use is judged: may it be read?
    fn judge_all(&self, state: &mut State) {
        let now = Instant::now();
        let until = if state.current.is_some() { now } else { state.history.seen().unwrap_or(now) };
        let lineage = state.last.map(|(_, lineage)| lineage);
        let State { seen, current, history, .. } = state;
        let measure =
            Measure { history, until, timeline: lineage.map(|lineage| lineage.timeline), limit: self.max_lag };
        let mut rotation = Vec::new();
        for (index, seen) in seen.iter_mut().enumerate().filter(|(index, _)| Some(*index) != *current) {
            let out = seen.judge(lineage, &measure, current.is_some());
            self.report_rotation(index, seen.out.as_ref(), out.as_ref());
            seen.out = out;
            if seen.out.is_some() {
                // Connections of before an outage are worth nothing after it.
                seen.pool = None;
            } else {
                let pool = seen.pool.get_or_insert_with(|| self.servers[index].reading_pool(self.pool_size));
                rotation.push(pool.clone());
            }
        }
        if let Some(index) = *current {
            seen[index] = Seen { look: seen[index].look.take(), slow_looks: seen[index].slow_looks, ..Seen::default() };
        }
        self.measure(state);
        *self.rotation.write().unwrap_or_else(PoisonError::into_inner) = rotation.into();
    }

    fn measure(&self, state: &State) {
        let Some(metrics) = &self.metrics else { return };
        let set_connections = |name: &str, pool: Option<&PgPool>| {
            let (open, idle) = pool.map_or((0, 0), |pool| (pool.size(), pool.num_idle()));
            metrics.set_connections(name, open, idle);
        };
        for (index, (server, seen)) in self.servers.iter().zip(&state.seen).enumerate() {
            if Some(index) == state.current {
                metrics.forget_replica(&server.number);
            } else {
                metrics.set_replica(&server.number, seen.lag, seen.out.is_none());
            }
            set_connections(&server.number, seen.pool.as_ref());
        }
        set_connections("primary", self.primary().as_ref().map(|primary| &primary.pool));
    }

    /// Logs that a server went away or came back, once each.
    fn report(&self, index: usize, was: Option<&Result<Look, LookError>>, state: &State) {
        match (was, &state.seen[index].look) {
            (None | Some(Ok(_)), Some(Err(error))) => tracing::warn!(%error, "a database server can't be used"),
            (Some(Err(_)), Some(Ok(_))) => {
                tracing::info!(server = %self.servers[index].name, "a database server answers again");
            }
            _ => {}
        }
    }

    fn report_rotation(&self, index: usize, was: Option<&String>, is: Option<&String>) {
        let server = &self.servers[index].name;
        match (was, is) {
            (None, Some(why)) => tracing::warn!(%server, why, "a replica is not read any more"),
            (Some(_), None) => tracing::info!(%server, "a replica is read"),
            _ => {}
        }
    }
}

impl State {
    /// The timeline of a primary of the cluster in use.
    fn timeline_seen(&self, index: usize) -> Option<u32> {
        let system = self.last.map(|(_, lineage)| lineage.system);
        let lineage = self.seen[index].look.as_ref()?.as_ref().ok()?.lineage()?;
        (Some(lineage.system) == system).then_some(lineage.timeline)
    }

    /// Whether the server in use still is the primary that it was; notes where its log is, if so.
    fn still_primary(&mut self, index: usize) -> Result<(), String> {
        let Some((_, lineage)) = self.last else { return Ok(()) };
        match &self.seen[index].look {
            Some(Ok(look)) if look.lineage() != Some(lineage) => Err("it is not the primary that it was".to_owned()),
            Some(Ok(Look { role: Role::Primary { writable: false, .. }, .. })) => Err("it is read-only".to_owned()),
            Some(Ok(Look { at, role: Role::Primary { position, .. }, .. })) => {
                self.history.note(*at, *position);
                Ok(())
            }
            Some(Err(error)) if !error.is_slow() || self.seen[index].slow_looks >= SLOW_LOOKS => Err(error.to_string()),
            _ => Ok(()),
        }
    }
}

impl Seen {
    /// Why this server must not be read; notes its lag.
    fn judge(&mut self, lineage: Option<Lineage>, measure: &Measure<'_>, has_primary: bool) -> Option<String> {
        let look = match &self.look {
            None => return Some("it was not looked at yet".to_owned()),
            Some(Err(error)) => return Some(error.to_string()),
            Some(Ok(look)) => look,
        };
        if lineage.is_some_and(|lineage| lineage.system != look.system) {
            return Some("it is of another database cluster".to_owned());
        }
        let Role::Replica(progress) = &look.role else {
            self.behind = None;
            return measure.objection_to_primary(&look.role, has_primary);
        };
        let standing = measure.lag(progress, self.behind);
        self.behind = standing.behind;
        self.lag = Some(standing.lag);
        measure.objection(look.at, progress, standing.lag)
    }
}

#[cfg(test)]
mod tests;
