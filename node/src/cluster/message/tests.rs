//! Messages come back as they were sent, and anything else is an error.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use openraft::{EntryPayload, Membership};
use proptest::prelude::*;
use stint_idgen::allocator::Stamped;

use super::super::fuzz::decode_rpc;
use super::super::testing::grant;
use super::super::types::{Entry, Member, Proposal, SnapshotMeta, StoredMembership, log_id};
use super::*;

fn entries() -> Vec<Entry> {
    let member = |address: &str| Member { address: address.to_owned(), incarnation: "ab".repeat(16) };
    let nodes = BTreeMap::from([(1, member("a:1")), (2, member("b:2"))]);
    let membership = Membership::new(vec![BTreeSet::from([1, 2])], nodes).unwrap();
    let stamped = Stamped { at_ms: 7, command: grant(3, 4) };
    vec![
        Entry { log_id: log_id(1, 1), payload: EntryPayload::Blank },
        Entry { log_id: log_id(1, 2), payload: EntryPayload::Normal(Proposal(Arc::new(vec![stamped.clone()]))) },
        Entry { log_id: log_id(2, 3), payload: EntryPayload::Membership(membership) },
        Entry {
            log_id: log_id(2, 4),
            payload: EntryPayload::Normal(Proposal(Arc::new(vec![stamped.clone(), stamped]))),
        },
    ]
}

fn append() -> AppendEntriesRequest<TypeConfig> {
    AppendEntriesRequest {
        vote: Vote::new_committed(2, 1),
        prev_log_id: Some(log_id(1, 0)),
        entries: entries(),
        leader_commit: None,
    }
}

#[test]
fn every_message_comes_back_as_it_was_sent() {
    let (sent, vote) = (append(), Vote::new(3, 2));
    let AppendEntriesRequest { vote: by, prev_log_id, entries, leader_commit } =
        Message::decode(&sent.encode()).unwrap();
    assert_eq!((by, prev_log_id, entries, leader_commit), (sent.vote, sent.prev_log_id, sent.entries, None));
    for answer in [
        AppendEntriesResponse::Success,
        AppendEntriesResponse::PartialSuccess(Some(log_id(1, 2))),
        AppendEntriesResponse::Conflict,
        AppendEntriesResponse::HigherVote(vote),
    ] {
        assert_eq!(AppendEntriesResponse::decode(&answer.encode()).unwrap(), answer);
    }
    let request = VoteRequest { vote, last_log_id: Some(log_id(2, 9)), leadership_transfer: true };
    assert_eq!(VoteRequest::decode(&request.encode()).unwrap(), request);
    let response = VoteResponse { vote, vote_granted: true, last_log_id: None };
    assert_eq!(VoteResponse::decode(&response.encode()).unwrap(), response);
    let request = TransferLeaderRequest::new(vote, 2, Some(log_id(2, 9)));
    assert_eq!(TransferLeaderRequest::decode(&request.encode()).unwrap(), request);
    let changed = TransferLeaderError::VoteChanged { expected: vote, actual: Vote::new(4, 1) };
    let behind = TransferLeaderError::LogNotFlushed { expected: Some(log_id(2, 9)), actual: None };
    for answer in [Ok(()), Err(changed), Err(behind)] {
        assert_eq!(TransferLeaderResponse::decode(&answer.encode()).unwrap(), answer);
    }
}

#[test]
fn a_snapshot_comes_back_as_it_was_sent() {
    let meta = SnapshotMeta { last_log_id: Some(log_id(2, 9)), last_membership: StoredMembership::default() };
    let request = SnapshotRequest {
        vote: Vote::new_committed(2, 1),
        snapshot: Snapshot { meta: meta.clone(), snapshot: vec![1, 2, 3] },
    };
    let SnapshotRequest { vote, snapshot } = Message::decode(&request.encode()).unwrap();
    assert_eq!((vote, snapshot.meta, snapshot.snapshot), (request.vote, meta, vec![1, 2, 3]));
}

#[test]
fn an_entry_of_the_first_format_is_still_read() {
    // What it did not have yet are entries of several commands.
    for entry in entries().into_iter().take(3) {
        let mut bytes = codec::encode_entry(&entry);
        assert_eq!(std::mem::replace(&mut bytes[0], 1), codec::FORMAT);
        assert_eq!(codec::decode_entry(&bytes).unwrap(), entry);
    }
}

#[test]
fn a_message_that_is_cut_off_or_too_long_or_newer_is_refused() {
    let bytes = append().encode();
    for length in 0..bytes.len() {
        assert!(AppendEntriesRequest::<TypeConfig>::decode(&bytes[..length]).is_err(), "{length} bytes");
    }
    let longer = [&bytes[..], &[0]].concat();
    assert!(AppendEntriesRequest::<TypeConfig>::decode(&longer).is_err());
    let mut newer = bytes;
    newer[0] = codec::FORMAT + 1;
    let refused = AppendEntriesRequest::<TypeConfig>::decode(&newer).unwrap_err();
    assert!(matches!(refused, CodecError::Newer { .. }), "{refused:?}");
}

proptest! {
    #[test]
    fn no_bytes_make_a_decoder_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), at in any::<usize>()) {
        decode_rpc(&bytes);
        // Damage close to what is valid reaches further than noise does.
        let mut damaged = append().encode();
        let at = at % damaged.len();
        let end = damaged.len().min(at + bytes.len() % 8);
        damaged[at..end].copy_from_slice(&bytes[..end - at]);
        decode_rpc(&damaged);
    }
}
