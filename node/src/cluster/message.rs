//! What members say to each other for Raft's sake, as bytes. The records are those of the disk ([`super::codec`]).
//!
//! Every decoder takes any bytes: what isn't exactly one message is an error, never a panic, and never allocates more
//! than a small multiple of its input.

use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderError, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};
use serde::{Deserialize, Serialize};

use super::codec::{self, CodecError, EntryRecord, LogIdRecord, VoteRecord, seal, unseal};
use super::types::{LogId, NodeId, Snapshot, TypeConfig, Vote};

/// A message that travels between members.
pub(super) trait Message: Sized {
    /// Its bytes.
    fn encode(&self) -> Vec<u8>;

    /// The message that is exactly these bytes.
    fn decode(bytes: &[u8]) -> Result<Self, CodecError>;
}

/// A snapshot on its way to a member that is far behind.
#[derive(Debug)]
pub(super) struct SnapshotRequest {
    /// The leader's vote.
    pub(super) vote: Vote,
    /// The snapshot.
    pub(super) snapshot: Snapshot,
}

#[derive(Serialize, Deserialize)]
struct AppendRecord {
    vote: VoteRecord,
    previous: Option<LogIdRecord>,
    commit: Option<LogIdRecord>,
    entries: Vec<EntryRecord>,
}

#[derive(Serialize, Deserialize)]
enum AppendedRecord {
    Success,
    PartialSuccess(Option<LogIdRecord>),
    Conflict,
    HigherVote(VoteRecord),
}

#[derive(Serialize, Deserialize)]
struct VoteRequestRecord {
    vote: VoteRecord,
    last: Option<LogIdRecord>,
    leadership_transfer: bool,
}

#[derive(Serialize, Deserialize)]
struct VoteResponseRecord {
    vote: VoteRecord,
    granted: bool,
    last: Option<LogIdRecord>,
}

#[derive(Serialize, Deserialize)]
struct SnapshotRequestRecord {
    vote: VoteRecord,
    /// The record that lies on disk, with a version byte of its own.
    #[serde(with = "serde_bytes")]
    snapshot: Vec<u8>,
}

#[derive(Serialize, Deserialize)]
struct TransferRecord {
    from: VoteRecord,
    to: NodeId,
    last: Option<LogIdRecord>,
}

#[derive(Serialize, Deserialize)]
enum TransferredRecord {
    Accepted,
    VoteChanged { expected: VoteRecord, actual: VoteRecord },
    LogNotFlushed { expected: Option<LogIdRecord>, actual: Option<LogIdRecord> },
}

impl Message for AppendEntriesRequest<TypeConfig> {
    fn encode(&self) -> Vec<u8> {
        seal(&AppendRecord {
            vote: (&self.vote).into(),
            previous: record(self.prev_log_id.as_ref()),
            commit: record(self.leader_commit.as_ref()),
            entries: self.entries.iter().map(Into::into).collect(),
        })
    }

    fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        let AppendRecord { vote, previous, commit, entries } = unseal(bytes)?;
        Ok(Self {
            vote: vote.into(),
            prev_log_id: previous.map(Into::into),
            entries: entries.into_iter().map(EntryRecord::entry).collect::<Result<_, _>>()?,
            leader_commit: commit.map(Into::into),
        })
    }
}

impl Message for AppendEntriesResponse<TypeConfig> {
    fn encode(&self) -> Vec<u8> {
        seal(&match self {
            Self::Success => AppendedRecord::Success,
            Self::PartialSuccess(matching) => AppendedRecord::PartialSuccess(record(matching.as_ref())),
            Self::Conflict => AppendedRecord::Conflict,
            Self::HigherVote(vote) => AppendedRecord::HigherVote(vote.into()),
        })
    }

    fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        Ok(match unseal(bytes)? {
            AppendedRecord::Success => Self::Success,
            AppendedRecord::PartialSuccess(matching) => Self::PartialSuccess(matching.map(Into::into)),
            AppendedRecord::Conflict => Self::Conflict,
            AppendedRecord::HigherVote(vote) => Self::HigherVote(vote.into()),
        })
    }
}

impl Message for VoteRequest<TypeConfig> {
    fn encode(&self) -> Vec<u8> {
        let Self { vote, last_log_id, leadership_transfer } = self;
        let last = record(last_log_id.as_ref());
        seal(&VoteRequestRecord { vote: vote.into(), last, leadership_transfer: *leadership_transfer })
    }

    fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        let VoteRequestRecord { vote, last, leadership_transfer } = unseal(bytes)?;
        Ok(Self { vote: vote.into(), last_log_id: last.map(Into::into), leadership_transfer })
    }
}

impl Message for VoteResponse<TypeConfig> {
    fn encode(&self) -> Vec<u8> {
        let Self { vote, vote_granted, last_log_id } = self;
        seal(&VoteResponseRecord { vote: vote.into(), granted: *vote_granted, last: record(last_log_id.as_ref()) })
    }

    fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        let VoteResponseRecord { vote, granted, last } = unseal(bytes)?;
        Ok(Self { vote: vote.into(), vote_granted: granted, last_log_id: last.map(Into::into) })
    }
}

impl Message for SnapshotRequest {
    fn encode(&self) -> Vec<u8> {
        let snapshot = codec::encode_snapshot(&self.snapshot.meta, self.snapshot.snapshot.clone());
        seal(&SnapshotRequestRecord { vote: (&self.vote).into(), snapshot })
    }

    fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        let SnapshotRequestRecord { vote, snapshot } = unseal(bytes)?;
        let (meta, snapshot) = codec::decode_snapshot(&snapshot)?;
        Ok(Self { vote: vote.into(), snapshot: Snapshot { meta, snapshot } })
    }
}

impl Message for SnapshotResponse<TypeConfig> {
    fn encode(&self) -> Vec<u8> {
        codec::encode_vote(&self.vote)
    }

    fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        codec::decode_vote(bytes).map(|vote| Self { vote })
    }
}

impl Message for TransferLeaderRequest<TypeConfig> {
    fn encode(&self) -> Vec<u8> {
        let last = record(self.last_log_id());
        seal(&TransferRecord { from: self.from_leader().into(), to: *self.to_node_id(), last })
    }

    fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        let TransferRecord { from, to, last } = unseal(bytes)?;
        Ok(Self::new(from.into(), to, last.map(Into::into)))
    }
}

impl Message for TransferLeaderResponse<TypeConfig> {
    fn encode(&self) -> Vec<u8> {
        seal(&match self {
            Ok(()) => TransferredRecord::Accepted,
            Err(TransferLeaderError::VoteChanged { expected, actual }) => {
                TransferredRecord::VoteChanged { expected: expected.into(), actual: actual.into() }
            }
            Err(TransferLeaderError::LogNotFlushed { expected, actual }) => TransferredRecord::LogNotFlushed {
                expected: record(expected.as_ref()),
                actual: record(actual.as_ref()),
            },
        })
    }

    fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        Ok(match unseal(bytes)? {
            TransferredRecord::Accepted => Ok(()),
            TransferredRecord::VoteChanged { expected, actual } => {
                Err(TransferLeaderError::VoteChanged { expected: expected.into(), actual: actual.into() })
            }
            TransferredRecord::LogNotFlushed { expected, actual } => Err(TransferLeaderError::LogNotFlushed {
                expected: expected.map(Into::into),
                actual: actual.map(Into::into),
            }),
        })
    }
}

fn record(id: Option<&LogId>) -> Option<LogIdRecord> {
    id.map(Into::into)
}

#[cfg(test)]
mod tests;
