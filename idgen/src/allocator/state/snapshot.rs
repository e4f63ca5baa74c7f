//! The state as bytes: a version byte, then postcard.
//!
//! Reading checks every rule that `apply` keeps, so a damaged snapshot is an error and never a state that grants an id
//! twice or panics later.

mod v1;

use super::holders::label_is_bounded;
use super::{MAX_NAMESPACES, State};
use crate::allocator::Reply;
use crate::allocator::wire::{self, DecodeError};
use v1::StateV1;

/// The version of snapshots. It rises with each change of the state's fields; older versions are read for ever.
const STATE_VERSION: u8 = 2;

impl State {
    /// The snapshot of this state: equal states have equal bytes.
    pub fn encode(&self) -> Vec<u8> {
        wire::encode(STATE_VERSION, self)
    }

    /// The state in a snapshot.
    ///
    /// # Errors
    /// [`DecodeError::Newer`] if a newer version wrote it, [`DecodeError::Corrupt`] if it is damaged or breaks a rule.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let (version, body) = wire::version(STATE_VERSION, bytes)?;
        let (mut state, again) = if version == v1::VERSION {
            let old: StateV1 = wire::decode_body(body)?;
            let again = wire::encode(v1::VERSION, &old);
            (Self::from(old), again)
        } else {
            let state: Self = wire::decode_body(body)?;
            let again = state.encode();
            (state, again)
        };
        // Maps with an entry twice, and numbers with needless bytes, read well but are not what was written.
        if again != bytes {
            return Err(DecodeError::corrupt("it is not written as it would be"));
        }
        state.records.index().ok_or_else(|| DecodeError::corrupt("two grants have one number or one start"))?;
        state.holders.index(state.records.held()).ok_or_else(|| DecodeError::corrupt("a live grant has no holder"))?;
        state.check().map_err(DecodeError::corrupt)?;
        Ok(state)
    }

    /// Checks the rules that `apply` keeps; the error says which is broken.
    fn check(&self) -> Result<(), &'static str> {
        if self.namespaces.len() > MAX_NAMESPACES as usize {
            return Err("there are too many namespaces");
        }
        self.check_namespaces()?;
        self.records.check(self)?;
        self.check_holders()?;
        self.workers.check(self.clock_ms)?;
        self.members.check()
    }

    fn check_namespaces(&self) -> Result<(), &'static str> {
        for (name, namespace) in &self.namespaces {
            let (spec, totals) = (&namespace.spec, &namespace.totals);
            if !spec.is_servable() || !namespace.made_with.is_servable(*spec) {
                return Err("a namespace's spec can't be served");
            }
            if namespace.floor < spec.start || namespace.floor > spec.counter_limit() {
                return Err("a namespace's floor lies outside its span");
            }
            let sum = [totals.live, totals.used, totals.returned, totals.lost]
                .iter()
                .try_fold(0_u64, |sum, &part| sum.checked_add(part));
            if sum != Some(totals.granted) || totals.granted > namespace.floor - spec.start {
                return Err("a namespace's totals do not add up");
            }
            if totals.live > 0 && self.records.book(name).is_none() {
                return Err("a namespace's live grants are missing");
            }
        }
        Ok(())
    }

    fn check_holders(&self) -> Result<(), &'static str> {
        for (&id, holder) in self.holders.iter() {
            if holder.request == 0 || holder.seen_ms > self.clock_ms || !label_is_bounded(&holder.label) {
                return Err("a holder's request, time or label is out of bounds");
            }
            let is_answer = match &holder.reply {
                Reply::Granted(grant) => {
                    grant.holder == id && grant.id.0 <= self.last_grant && grant.granted_at_ms <= self.clock_ms
                }
                Reply::Refused(_) => true,
                _ => false,
            };
            if !is_answer {
                return Err("a holder's last answer is no answer to it");
            }
        }
        Ok(())
    }
}
