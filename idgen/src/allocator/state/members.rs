//! Which data directory each member number was given to: for ever, so no number ever means two of them.
//!
//! A member that comes back empty under its old number would vote again where it voted before, and a quorum could
//! forget what it granted. So an empty data directory needs a number that no other ever had.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::State;
use crate::allocator::{Refusal, Reply};

/// How many member numbers may ever be given.
pub const MAX_MEMBERS: u32 = 10_000;

/// The incarnation of the data directory that each member number was given to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Members(BTreeMap<u64, u128>);

impl State {
    /// Every member number that was ever given, and the incarnation of the data directory it was given to.
    pub fn members(&self) -> impl Iterator<Item = (u64, u128)> {
        self.members.0.iter().map(|(&node_id, &incarnation)| (node_id, incarnation))
    }

    pub(super) fn admit_member(&mut self, node_id: u64, incarnation: u128) -> Result<Reply, Refusal> {
        let members = &mut self.members.0;
        match members.get(&node_id) {
            Some(&given_to) if given_to != incarnation => return Err(Refusal::MemberNumberUsed { node_id }),
            Some(_) => {}
            None if members.len() >= MAX_MEMBERS as usize => return Err(Refusal::TooManyMembers(MAX_MEMBERS)),
            None => drop(members.insert(node_id, incarnation)),
        }
        Ok(Reply::MemberAdmitted)
    }
}

impl Members {
    /// Checks the rules that the commands keep; the error says which is broken.
    pub(super) fn check(&self) -> Result<(), &'static str> {
        if self.0.len() > MAX_MEMBERS as usize {
            return Err("there are too many members");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::allocator::{Command, DecodeError, Stamped};

    fn admit(state: &mut State, node_id: u64, incarnation: u128) -> Reply {
        state.apply(&Stamped { at_ms: 0, command: Command::AdmitMember { node_id, incarnation } })
    }

    #[test]
    fn a_member_number_belongs_to_one_data_directory_for_ever() {
        let mut state = State::default();
        let used = Reply::Refused(Refusal::MemberNumberUsed { node_id: 1 });
        let replies = [(1, 7), (1, 7), (1, 8), (2, 8), (1, 7)].map(|(node, it)| admit(&mut state, node, it));
        let admitted = || Reply::MemberAdmitted;
        assert_eq!(replies, [admitted(), admitted(), used.clone(), admitted(), admitted()]);
        let mut state = State::decode(&state.encode()).unwrap();
        assert_eq!(state.members().collect::<Vec<_>>(), [(1, 7), (2, 8)]);
        assert_eq!(admit(&mut state, 1, 8), used);
        let text = Refusal::MemberNumberUsed { node_id: 1 }.to_string();
        assert_eq!(text, "the member number 1 was given to another data directory before; choose a new one");
    }

    #[test]
    fn the_number_of_members_is_bounded() {
        let mut state = State::default();
        for node_id in 0..u64::from(MAX_MEMBERS) {
            assert_eq!(admit(&mut state, node_id, 1), Reply::MemberAdmitted);
        }
        let refused = Reply::Refused(Refusal::TooManyMembers(MAX_MEMBERS));
        assert_eq!([admit(&mut state, u64::MAX, 1), admit(&mut state, 0, 1)], [refused, Reply::MemberAdmitted]);
        assert_eq!(State::decode(&state.encode()), Ok(state.clone()));
        state.members.0.insert(u64::MAX, 1);
        assert!(matches!(State::decode(&state.encode()), Err(DecodeError::Corrupt { .. })));
    }
}
