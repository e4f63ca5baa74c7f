//! How votes, entries and snapshots lie on disk and travel: a version byte, then postcard.
//!
//! The records are our own, not openraft's serde forms: openraft may change its types between pre-releases, and the
//! data must outlive them (and a step back to its 0.9 line).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use openraft::EntryPayload;
use openraft::vote::RaftLeaderId;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_bytes::ByteBuf;
use stint_idgen::allocator::Stamped;

use super::types::{Entry, LogId, Member, Membership, NodeId, Proposal, SnapshotMeta, StoredMembership, Vote, log_id};

/// The version byte that is written, and the newest that is read.
pub(super) const FORMAT: u8 = 2;

/// Bytes that most records fit in.
const USUAL_SIZE: usize = 256;

/// Why bytes could not be read.
#[derive(Debug, thiserror::Error)]
pub enum CodecError {
    /// There is not even a version byte.
    #[error("a record is empty")]
    Empty,
    /// A newer program wrote them.
    #[error("a record has format {found}, written by a newer version of stint; this one reads up to {FORMAT}")]
    Newer {
        /// The version byte.
        found: u8,
    },
    /// The bytes are not the record they should be.
    #[error("a record can't be decoded")]
    Malformed(#[source] postcard::Error),
    /// The command inside an entry can't be read.
    #[error("the command of log entry {index} can't be decoded")]
    Command {
        /// Which entry.
        index: u64,
        /// What the command's own format said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The members and the voters contradict each other.
    #[error("a membership record names voters that are not members")]
    Membership,
}

impl From<CodecError> for std::io::Error {
    fn from(error: CodecError) -> Self {
        Self::new(std::io::ErrorKind::InvalidData, error)
    }
}

#[derive(Serialize, Deserialize)]
pub(super) struct LogIdRecord {
    term: u64,
    index: u64,
}

#[derive(Serialize, Deserialize)]
pub(super) struct VoteRecord {
    term: u64,
    candidate: NodeId,
    committed: bool,
}

#[derive(Serialize, Deserialize)]
pub(super) struct MembershipRecord {
    configs: Vec<BTreeSet<NodeId>>,
    nodes: BTreeMap<NodeId, Member>,
}

#[derive(Serialize, Deserialize)]
pub(super) enum PayloadRecord {
    Blank,
    /// The bytes of [`Stamped::encode`], with a version byte of their own.
    Command(ByteBuf),
    Membership(MembershipRecord),
    /// Several commands, each as above. Since format 2.
    Commands(Vec<ByteBuf>),
}

#[derive(Serialize, Deserialize)]
pub(super) struct EntryRecord {
    id: LogIdRecord,
    payload: PayloadRecord,
}

#[derive(Serialize, Deserialize)]
pub(super) struct SnapshotRecord {
    last: Option<LogIdRecord>,
    membership_set_by: Option<LogIdRecord>,
    membership: MembershipRecord,
    #[serde(with = "serde_bytes")]
    state: Vec<u8>,
}

impl From<&LogId> for LogIdRecord {
    fn from(id: &LogId) -> Self {
        Self { term: id.leader_id.term, index: id.index }
    }
}

impl From<LogIdRecord> for LogId {
    fn from(record: LogIdRecord) -> Self {
        log_id(record.term, record.index)
    }
}

impl From<&Membership> for MembershipRecord {
    fn from(membership: &Membership) -> Self {
        Self {
            configs: membership.get_joint_config().clone(),
            nodes: membership.nodes().map(|(id, member)| (*id, member.clone())).collect(),
        }
    }
}

impl TryFrom<MembershipRecord> for Membership {
    type Error = CodecError;

    fn try_from(record: MembershipRecord) -> Result<Self, CodecError> {
        if record.configs.is_empty() && record.nodes.is_empty() {
            return Ok(Self::default());
        }
        Self::new(record.configs, record.nodes).map_err(|_| CodecError::Membership)
    }
}

impl From<&Entry> for EntryRecord {
    fn from(entry: &Entry) -> Self {
        let payload = match &entry.payload {
            EntryPayload::Blank => PayloadRecord::Blank,
            EntryPayload::Normal(Proposal(commands)) => {
                let encoded = |command: &Stamped| ByteBuf::from(command.encode());
                match &commands[..] {
                    [command] => PayloadRecord::Command(encoded(command)),
                    commands => PayloadRecord::Commands(commands.iter().map(encoded).collect()),
                }
            }
            EntryPayload::Membership(membership) => PayloadRecord::Membership(membership.into()),
        };
        Self { id: (&entry.log_id).into(), payload }
    }
}

impl EntryRecord {
    /// The entry.
    pub(super) fn entry(self) -> Result<Entry, CodecError> {
        let Self { id, payload } = self;
        let stamped = |command: &ByteBuf| {
            Stamped::decode(command).map_err(|source| CodecError::Command { index: id.index, source: source.into() })
        };
        let payload = match payload {
            PayloadRecord::Blank => EntryPayload::Blank,
            PayloadRecord::Command(command) => EntryPayload::Normal(Proposal(Arc::new(vec![stamped(&command)?]))),
            PayloadRecord::Commands(commands) => {
                EntryPayload::Normal(Proposal(Arc::new(commands.iter().map(stamped).collect::<Result<_, _>>()?)))
            }
            PayloadRecord::Membership(membership) => EntryPayload::Membership(membership.try_into()?),
        };
        Ok(Entry { log_id: id.into(), payload })
    }
}

impl From<&Vote> for VoteRecord {
    fn from(vote: &Vote) -> Self {
        Self { term: vote.leader_id.term(), candidate: *vote.leader_id.node_id(), committed: vote.committed }
    }
}

impl From<VoteRecord> for Vote {
    fn from(VoteRecord { term, candidate, committed }: VoteRecord) -> Self {
        if committed { Self::new_committed(term, candidate) } else { Self::new(term, candidate) }
    }
}

/// Encodes a log entry.
pub(super) fn encode_entry(entry: &Entry) -> Vec<u8> {
    seal(&EntryRecord::from(entry))
}

/// Decodes a log entry.
pub(super) fn decode_entry(bytes: &[u8]) -> Result<Entry, CodecError> {
    unseal::<EntryRecord>(bytes)?.entry()
}

/// Encodes a vote.
pub(super) fn encode_vote(vote: &Vote) -> Vec<u8> {
    seal(&VoteRecord::from(vote))
}

/// Decodes a vote.
pub(super) fn decode_vote(bytes: &[u8]) -> Result<Vote, CodecError> {
    unseal::<VoteRecord>(bytes).map(Into::into)
}

/// Encodes the first members of a group.
pub(super) fn encode_founders(founders: &BTreeMap<NodeId, Member>) -> Vec<u8> {
    seal(founders)
}

/// Decodes the first members of a group.
pub(super) fn decode_founders(bytes: &[u8]) -> Result<BTreeMap<NodeId, Member>, CodecError> {
    unseal(bytes)
}

/// Encodes a log id.
pub(super) fn encode_log_id(id: &LogId) -> Vec<u8> {
    seal(&LogIdRecord::from(id))
}

/// Decodes a log id.
pub(super) fn decode_log_id(bytes: &[u8]) -> Result<LogId, CodecError> {
    unseal::<LogIdRecord>(bytes).map(Into::into)
}

/// Encodes a snapshot: what it covers, and the state's own encoding.
pub(super) fn encode_snapshot(meta: &SnapshotMeta, state: Vec<u8>) -> Vec<u8> {
    seal(&SnapshotRecord {
        last: meta.last_log_id.as_ref().map(Into::into),
        membership_set_by: meta.last_membership.log_id().as_ref().map(Into::into),
        membership: meta.last_membership.membership().into(),
        state,
    })
}

/// Decodes a snapshot into what it covers and the state's own encoding.
pub(super) fn decode_snapshot(bytes: &[u8]) -> Result<(SnapshotMeta, Vec<u8>), CodecError> {
    let record: SnapshotRecord = unseal(bytes)?;
    let membership = StoredMembership::new(record.membership_set_by.map(Into::into), record.membership.try_into()?);
    Ok((SnapshotMeta { last_log_id: record.last.map(Into::into), last_membership: membership }, record.state))
}

/// A record as bytes: the version byte, then postcard.
pub(super) fn seal<T: Serialize>(record: &T) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(USUAL_SIZE);
    bytes.push(FORMAT);
    postcard::to_extend(record, bytes).expect("a record in memory always has a postcard form")
}

/// The record that is exactly these bytes.
pub(super) fn unseal<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
    match bytes.split_first() {
        None => Err(CodecError::Empty),
        Some((&found, _)) if found > FORMAT => Err(CodecError::Newer { found }),
        Some((_, record)) => match postcard::take_from_bytes(record).map_err(CodecError::Malformed)? {
            (record, []) => Ok(record),
            _ => Err(CodecError::Malformed(postcard::Error::DeserializeBadEncoding)),
        },
    }
}
