//! The servers as `/readyz` and error messages tell of them.

use std::time::Duration;

use super::Servers;
use super::board::State;
use super::probe::{Look, Role};

/// The servers, as this node sees them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServersStatus {
    /// The primary in use, `host:port`.
    pub primary: Option<String>,
    /// Its timeline.
    pub timeline: Option<u32>,
    /// All other servers.
    pub replicas: Vec<ReplicaStatus>,
    /// What is wrong, on one line: why there is no primary.
    pub problem: Option<String>,
}

/// A server that isn't the primary, as this node sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplicaStatus {
    /// `host:port`.
    pub server: String,
    /// How far it is behind, if it is a replica and that is known.
    pub lag: Option<Duration>,
    /// Why it isn't read; `None` if it is.
    pub out: Option<String>,
}

/// Why there is no primary, of each server that may be one.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct NoPrimary(String);

impl Servers {
    /// The servers, as this node sees them.
    pub fn status(&self) -> ServersStatus {
        let state = self.board.state();
        let in_use = state.current.and(state.last);
        let others = self.board.servers.iter().zip(&state.seen).enumerate();
        let replica = |(_, (server, seen)): (usize, (&super::Server, &super::board::Seen))| ReplicaStatus {
            server: server.name.clone(),
            lag: seen.lag,
            out: seen.out.clone(),
        };
        ServersStatus {
            primary: in_use.map(|(index, _)| self.board.servers[index].name.clone()),
            timeline: in_use.map(|(_, lineage)| lineage.timeline),
            replicas: others.filter(|(index, _)| Some(*index) != state.current).map(replica).collect(),
            problem: (self.is_watched && in_use.is_none()).then(|| self.reasons(&state)),
        }
    }

    pub(super) fn no_primary(&self) -> NoPrimary {
        NoPrimary(self.reasons(&self.board.state()))
    }

    fn reasons(&self, state: &State) -> String {
        let candidates = self.board.servers.iter().zip(&state.seen).filter(|(server, _)| server.may_be_primary);
        let reasons = candidates.map(|(server, seen)| match &seen.look {
            None => format!("database server {} was not looked at yet", server.name),
            Some(Err(error)) => error.to_string(),
            Some(Ok(Look { role: Role::Replica(_), .. })) => format!("database server {} is a replica", server.name),
            Some(Ok(_)) => {
                let why = seen.refused.as_deref().unwrap_or("it was not taken yet");
                format!("database server {} is not used as the primary: {why}", server.name)
            }
        });
        reasons.collect::<Vec<_>>().join("; ")
    }
}
