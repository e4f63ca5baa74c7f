//! What `/readyz` says of a shortener: it is ready as soon as it can follow links; whatever else is missing is a note,
//! because a proxy that takes it out takes its redirects away.

use std::sync::Arc;

use async_trait::async_trait;

use crate::redis_server::{RedisServer, RedisState};
use crate::service::health::{Check, Health, Look};
use crate::storage::postgres::servers::{ReplicaStatus, Servers};

/// The servers of the database.
#[derive(Debug)]
pub(super) struct DatabaseLook(pub(super) Arc<Servers>);

/// Redis.
#[derive(Debug)]
pub(super) struct RedisLook(pub(super) RedisServer);

/// Where ids come from.
#[derive(Debug)]
pub(super) struct IdsLook(pub(super) Health);

#[async_trait]
impl Look for DatabaseLook {
    async fn look(&self) -> Vec<Check> {
        let status = self.0.status();
        let reason = status.problem.unwrap_or_else(|| "no server was asked yet".to_owned());
        if !self.0.is_admitted() {
            return vec![Check::problem("database", format!("no server could be checked: {reason}"))];
        }
        let primary = status.primary.is_none().then(|| format!("there is no primary: {reason}"));
        let out =
            |replica: ReplicaStatus| Some(format!("the replica {} is not read: {}", replica.server, replica.out?));
        let notes = primary.into_iter().chain(status.replicas.into_iter().filter_map(out));
        notes.map(|note| Check::note("database", note)).collect()
    }
}

#[async_trait]
impl Look for RedisLook {
    async fn look(&self) -> Vec<Check> {
        let away = matches!(*self.0.watch().borrow(), RedisState::Away);
        let note = "it is away: going on without it";
        away.then(|| Check::note("redis", note.to_owned())).into_iter().collect()
    }
}

#[async_trait]
impl Look for IdsLook {
    async fn look(&self) -> Vec<Check> {
        let as_note = |check: Check| Some(Check::note(check.name, check.problem.or(check.note)?));
        self.0.check().await.into_iter().filter_map(as_note).collect()
    }
}
