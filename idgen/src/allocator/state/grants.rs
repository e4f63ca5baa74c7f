//! Granting ranges and accounting for them.

use super::holders::{Asked, Holder};
use super::records::RecordedGrant;
use super::{HOLDER_TTL, MAX_HOLDERS, MAX_LIVE_GRANTS, Namespace, State};
use crate::allocator::{Grant, GrantId, HolderId, NamespaceName, Refusal, Reply};

/// How many grants and holders one entry may forget, so that no entry takes long to apply.
const MAX_FORGOTTEN_PER_ENTRY: u32 = 64;

const HOLDER_TTL_MS: u64 = HOLDER_TTL.as_secs() * 1_000;

impl State {
    /// Answers a request for ids: a new number is decided, the last number is answered as before, lower ones are stale.
    ///
    /// A refusal is an answer too and is remembered: whoever asks twice under one number hears one thing. What may
    /// change (no ids left, no such namespace) is asked again under the next number.
    pub(super) fn grant(
        &mut self,
        (namespace, want): (&NamespaceName, u64),
        holder: HolderId,
        label: &str,
        request: u64,
    ) -> Result<Reply, Refusal> {
        let asked = Asked { namespace: namespace.clone(), want };
        let known = self.holders.see(holder, self.clock_ms);
        let last = known.map_or(0, |known| known.request);
        if request < last || request == 0 {
            return Err(Refusal::StaleRequest { last });
        }
        if let Some(known) = known.filter(|known| known.request == request) {
            return if known.asked == asked { Ok(known.reply.clone()) } else { Err(Refusal::RequestReused(request)) };
        }
        let reply = self.take(namespace, want, holder).map_or_else(Reply::Refused, Reply::Granted);
        self.holders.answer(holder, self.clock_ms, Holder::new(label, request, asked, reply.clone()));
        if let Reply::Granted(grant) = &reply {
            self.holders.hold(holder, grant.id);
        }
        Ok(reply)
    }

    /// Cuts the next range off a namespace.
    fn take(&mut self, name: &NamespaceName, want: u64, holder: HolderId) -> Result<Grant, Refusal> {
        let namespace = self.namespaces.get_mut(name).ok_or_else(|| Refusal::UnknownNamespace(name.clone()))?;
        if want == 0 {
            return Err(Refusal::NothingWanted);
        }
        let range = namespace.cut(name, want)?;
        self.last_grant += 1;
        let id = GrantId(self.last_grant);
        let granted_at_ms = self.clock_ms;
        self.records.add(name, id, RecordedGrant { range, holder, granted_at_ms });
        Ok(Grant { id, namespace: name.clone(), range, holder, granted_at_ms })
    }

    /// Accounts for a grant that is done with. Nothing is ever granted again.
    pub(super) fn take_back(&mut self, holder: HolderId, id: GrantId, used_to: u64) -> Result<Reply, Refusal> {
        self.holders.see(holder, self.clock_ms);
        let grant = self.records.find_live(id).ok_or(Refusal::GrantNotLive(id))?;
        if grant.holder != holder {
            return Err(Refusal::ForeignGrant);
        }
        let range = grant.range;
        if used_to < range.start() || used_to > range.end() {
            return Err(Refusal::OutsideGrant { used_to });
        }
        let unused = range.end() - used_to;
        let totals = &mut self.end(id, Some(used_to)).totals;
        totals.used += used_to - range.start();
        totals.returned += unused;
        Ok(Reply::Returned { unused })
    }

    /// Forgets what is out of time or over the bounds, the longest silent holder and the oldest grant first.
    pub(super) fn forget(&mut self) {
        for _ in 0..MAX_FORGOTTEN_PER_ENTRY {
            let gone = self.holders.longest_silent().filter(|&(seen_ms, _)| {
                self.clock_ms.saturating_sub(seen_ms) >= HOLDER_TTL_MS || self.holders.len() > MAX_HOLDERS
            });
            let oldest = || self.records.oldest_live().filter(|_| self.records.live_len() > MAX_LIVE_GRANTS);
            if let Some((_, holder)) = gone {
                match self.holders.first_held(holder) {
                    Some(grant) => self.lose(grant),
                    None => self.holders.forget(holder),
                }
            } else if let Some(grant) = oldest() {
                self.lose(grant);
            } else {
                return;
            }
        }
    }

    fn lose(&mut self, id: GrantId) {
        let Some(len) = self.records.find_live(id).map(|grant| grant.range.len()) else { return };
        self.end(id, None).totals.lost += len;
    }

    /// Ends a live grant; the caller books its ids.
    fn end(&mut self, id: GrantId, used_to: Option<u64>) -> &mut Namespace {
        let (name, grant) = self.records.end(id, used_to).expect("the caller found the grant live");
        self.holders.release(grant.holder, id);
        let namespace = self.namespaces.get_mut(&name).expect("namespaces are never removed");
        namespace.totals.live -= grant.range.len();
        namespace
    }
}
