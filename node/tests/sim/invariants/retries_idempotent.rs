//! A request has one answer, however often it is sent; once a later one was sent, it may be refused as stale.

use std::collections::BTreeMap;
use std::time::Duration;

use stint_idgen::allocator::{HolderId, Refusal, Reply};

use super::Invariant;
use crate::history::Event;

#[derive(Default)]
pub(crate) struct RetriesIdempotent {
    answers: BTreeMap<(HolderId, u64), Reply>,
    /// The last request that was begun.
    last: BTreeMap<HolderId, u64>,
}

impl Invariant for RetriesIdempotent {
    fn name(&self) -> &'static str {
        "retries_idempotent"
    }

    fn event(&mut self, _now: Duration, event: &Event) -> Result<(), String> {
        match event {
            Event::Asked { holder, request, .. } => {
                self.last.insert(*holder, *request);
                Ok(())
            }
            Event::Answered { holder, request, reply } => self.answered(*holder, *request, reply),
            _ => Ok(()),
        }
    }
}

impl RetriesIdempotent {
    fn answered(&mut self, holder: HolderId, request: u64, reply: &Reply) -> Result<(), String> {
        let last = self.last.get(&holder).copied().unwrap_or_default();
        if let Reply::Refused(Refusal::StaleRequest { last: seen }) = reply {
            return if request < *seen && *seen <= last {
                Ok(())
            } else {
                Err(format!("request {request} of {holder:?} is called older than {seen}, and the last was {last}"))
            };
        }
        let first = self.answers.entry((holder, request)).or_insert_with(|| reply.clone());
        if first == reply {
            return Ok(());
        }
        Err(format!("request {request} of {holder:?} was answered with {first:?}, and then with {reply:?}"))
    }
}
