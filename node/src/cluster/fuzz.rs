//! The way in for fuzzing (`node/fuzz`) and for the property beside the messages' tests: every decoder of what comes
//! over the network, on any bytes.
//!
//! Guarantees checked: no decoder panics; what one accepts comes back the same after it was encoded again.

use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest, TransferLeaderResponse,
    VoteRequest, VoteResponse,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use stint_idgen::allocator::{AuditRecord, Command, IdOrigin, Reply, Stamped, State};

use super::bootstrap::Hello;
use super::codec::{decode_entry, decode_founders, decode_log_id, seal, unseal};
use super::message::{Message, SnapshotRequest};
use super::rpc::{AnswerFrame, AuditQuestion, CallFrame, Incarnation, JoinRequest, OriginQuestion, SubmitAnswer};
use super::types::TypeConfig;
use crate::ports::coordination::{ClusterStatus, MemberChange};

/// Puts `bytes` to every decoder.
///
/// # Panics
/// If a decoder does, or if what one accepts doesn't come back the same.
pub fn decode_rpc(bytes: &[u8]) {
    message::<AppendEntriesRequest<TypeConfig>>(bytes);
    message::<AppendEntriesResponse<TypeConfig>>(bytes);
    message::<VoteRequest<TypeConfig>>(bytes);
    message::<VoteResponse<TypeConfig>>(bytes);
    message::<SnapshotResponse<TypeConfig>>(bytes);
    message::<TransferLeaderRequest<TypeConfig>>(bytes);
    message::<TransferLeaderResponse<TypeConfig>>(bytes);
    message::<SnapshotRequest>(bytes);
    if let Ok(SnapshotRequest { snapshot, .. }) = Message::decode(bytes) {
        again(&snapshot.snapshot, State::decode, State::encode);
    }
    again(bytes, Command::decode, Command::encode);
    again(bytes, Stamped::decode, Stamped::encode);
    again(bytes, Reply::decode, Reply::encode);
    let _ = (decode_entry(bytes), decode_founders(bytes), decode_log_id(bytes));
    sealed::<CallFrame>(bytes);
    sealed::<AnswerFrame>(bytes);
    sealed::<AuditQuestion>(bytes);
    sealed::<OriginQuestion>(bytes);
    sealed::<Option<IdOrigin>>(bytes);
    sealed::<AuditRecord>(bytes);
    if let Some(SubmitAnswer { reply, .. }) = sealed(bytes) {
        again(&reply, Reply::decode, Reply::encode);
    }
    json::<Hello>(bytes);
    json::<JoinRequest>(bytes);
    json::<MemberChange>(bytes);
    json::<ClusterStatus>(bytes);
    if let Ok(text) = str::from_utf8(bytes)
        && let Some(incarnation) = Incarnation::parse(text)
    {
        assert_eq!(Incarnation::parse(&incarnation.text()), Some(incarnation));
    }
}

/// What is accepted may be written in another form than it came in, but then it stays the same.
fn again<T, E: std::fmt::Debug>(bytes: &[u8], decode: fn(&[u8]) -> Result<T, E>, encode: fn(&T) -> Vec<u8>) {
    let Ok(accepted) = decode(bytes) else { return };
    let encoded = encode(&accepted);
    let decoded = decode(&encoded).expect("what is encoded can be decoded");
    assert_eq!(encode(&decoded), encoded, "what was encoded came back as something else");
}

fn message<M: Message>(bytes: &[u8]) {
    again(bytes, M::decode, M::encode);
}

fn sealed<T: Serialize + DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    again(bytes, unseal::<T>, seal);
    unseal(bytes).ok()
}

fn json<T: Serialize + DeserializeOwned>(bytes: &[u8]) {
    let encode = |value: &T| serde_json::to_vec(value).expect("a value in memory always has a JSON form");
    again(bytes, |bytes| serde_json::from_slice::<T>(bytes), encode);
}
