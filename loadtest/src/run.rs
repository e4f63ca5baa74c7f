//! What all users of a run share: where to ask, what was given, how long it took, what failed.

mod times;

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use tokio::sync::{Barrier, Semaphore};

pub(crate) use self::times::{Times, percentile};
use crate::cli::{Options, ScenarioName};
use crate::verify::aliases::AliasBook;
use crate::verify::answer::{self, Link, Row};
use crate::verify::counts::{Count, Counts};
use crate::verify::fault::{Fault, Kind};
use crate::verify::id_set::IdSet;
use crate::verify::ledger::{Ledger, Outcome, Wish};
use crate::wire::{Api, BulkForm, IdForm, Reply};
use crate::zipf::Zipf;

/// The most bulk requests at a time to one target: as many as a node works on, more are `overloaded`.
const BULK_AT_A_TIME: usize = 4;

/// The most requests for one alias.
const MOST_BIDS: u32 = 8;

/// What all users of a run share.
#[derive(Debug)]
pub(crate) struct Run {
    /// What they do.
    pub(crate) scenario: ScenarioName,
    /// How it is done.
    pub(crate) options: Options,
    /// Makes requests.
    pub(crate) api: Api,
    /// Base URLs without a slash at the end.
    pub(crate) targets: Vec<String>,
    /// Links to follow, the most popular first.
    pub(crate) links: Vec<Link>,
    /// The URLs of the scenario `urls`.
    pub(crate) lines: Vec<String>,
    /// The next of [`Self::lines`].
    pub(crate) next_line: AtomicUsize,
    /// Who asks for which alias.
    pub(crate) aliases: Mutex<AliasBook>,
    /// All users begin at once.
    pub(crate) start: Barrier,
    /// Bulk requests at a time, for each target.
    pub(crate) bulk_slots: Vec<Semaphore>,
    finished_users: AtomicUsize,
    zipf: Option<Zipf>,
    /// Part of every URL and alias of this run, so that runs don't meet.
    token: String,
    next_user: AtomicUsize,
    next_url: AtomicU64,
    ledger: Mutex<Ledger>,
    ids: Mutex<IdSet>,
    counts: Mutex<Counts>,
    times: Mutex<Times>,
    requests: AtomicU64,
    failed: AtomicU64,
    duplicates: AtomicU64,
}

impl Run {
    /// A run that has not begun.
    pub(crate) fn new(
        scenario: ScenarioName,
        options: Options,
        api: Api,
        targets: Vec<String>,
        lines: Vec<String>,
    ) -> Self {
        let users = options.users;
        Self {
            aliases: Mutex::new(AliasBook::new(users.min(MOST_BIDS).into())),
            start: Barrier::new(usize::try_from(users).unwrap_or(usize::MAX)),
            bulk_slots: targets.iter().map(|_| Semaphore::new(BULK_AT_A_TIME)).collect(),
            times: Mutex::new(Times::new(options.duration)),
            scenario,
            options,
            api,
            targets,
            links: Vec::new(),
            lines,
            next_line: AtomicUsize::new(0),
            finished_users: AtomicUsize::new(0),
            zipf: None,
            token: token(8),
            next_user: AtomicUsize::new(0),
            next_url: AtomicU64::new(0),
            ledger: Mutex::default(),
            ids: Mutex::default(),
            counts: Mutex::default(),
            requests: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            duplicates: AtomicU64::new(0),
        }
    }

    /// These are there to be followed.
    pub(crate) fn set_links(&mut self, links: Vec<Link>) {
        self.zipf = Zipf::new(links.len(), self.options.zipf);
        self.links = links;
    }

    /// One of the links, the first ones most often.
    pub(crate) fn popular_link(&self, rng: &mut impl Rng) -> Option<&Link> {
        self.links.get(self.zipf.as_ref()?.sample(rng))
    }

    /// The number of the next user.
    pub(crate) fn next_user(&self) -> usize {
        self.next_user.fetch_add(1, Ordering::Relaxed)
    }

    /// The target after this one; the same if there is but one.
    pub(crate) fn other(&self, target: usize) -> &str {
        &self.targets[(target + 1) % self.targets.len()]
    }

    /// One more user has nothing left to do; whether it was the last.
    pub(crate) fn finish_user(&self) -> bool {
        self.finished_users.fetch_add(1, Ordering::Relaxed);
        self.is_finished()
    }

    /// Whether no user has anything left to do. Only in `urls` that happens.
    pub(crate) fn is_finished(&self) -> bool {
        self.finished_users.load(Ordering::Relaxed) >= usize::try_from(self.options.users).unwrap_or(usize::MAX)
    }

    /// A URL that nobody has shortened yet.
    pub(crate) fn new_url(&self) -> String {
        let number = self.next_url.fetch_add(1, Ordering::Relaxed);
        format!("https://example.com/loadtest/{}/{number}?q={number}#top", self.token)
    }

    /// A URL with an international host and path that nobody has shortened yet.
    pub(crate) fn new_foreign_url(&self) -> String {
        let number = self.next_url.fetch_add(1, Ordering::Relaxed);
        format!("https://bücher.example/straße/{}/{number}", self.token)
    }

    /// The alias with this number: in turn one that is a code itself, and one that can't be.
    pub(crate) fn alias(&self, number: u64) -> String {
        if number.is_multiple_of(2) {
            format!("load-{}-{number}", self.token)
        } else {
            short_alias(&self.token, number)
        }
    }

    /// Checks and notes the answer to a create request.
    pub(crate) fn note_created(
        &self,
        url: &str,
        alias: Option<&str>,
        wish: Wish,
        reply: &Reply,
    ) -> Result<(Link, Outcome), Fault> {
        match reply.status {
            201 => locked(&self.counts).add(Count::Created, 1),
            200 => locked(&self.counts).add(Count::Reused, 1),
            _ => {}
        }
        let (link, outcome) = answer::created(url, alias, reply)?;
        locked(&self.ledger).note(&link.code, url, wish, outcome)?;
        Ok((link, outcome))
    }

    /// Checks and notes the answer to a bulk request for plain links to `urls`.
    pub(crate) fn note_bulk(&self, urls: &[String], form: BulkForm, reply: &Reply) -> Result<Vec<Row>, Fault> {
        let rows = answer::bulk(urls.len(), form, reply)?;
        let mut ledger = locked(&self.ledger);
        let mut counts = locked(&self.counts);
        for row in &rows {
            counts.add(if row.outcome == Outcome::New { Count::Created } else { Count::Reused }, 1);
        }
        drop(counts);
        for (row, url) in rows.iter().zip(urls) {
            ledger.note(&row.code, url, Wish::Plain, row.outcome)?;
        }
        Ok(rows)
    }

    /// Checks and notes the answer to following a link.
    pub(crate) fn note_redirect(&self, link: &Link, reply: &Reply) -> Result<(), Fault> {
        if matches!(reply.status, 301 | 302 | 307 | 308) {
            locked(&self.counts).add(Count::Followed, 1);
        }
        answer::redirected(link, self.options.redirect_status, reply)
    }

    /// Checks and notes the answer to drawing ids.
    pub(crate) fn note_ids(&self, count: u64, form: IdForm, reply: &Reply) -> Result<(), Fault> {
        let ranges = answer::drawn(count, form, reply)?;
        locked(&self.counts).add(Count::Ids, count);
        let mut ids = locked(&self.ids);
        for range in ranges {
            let twice = |id| Fault::new(Kind::Duplicate, format!("the id {id} was given twice"));
            ids.insert(range.start, range.end).map_err(twice)?;
        }
        Ok(())
    }

    /// A request was sent; it took so long to the head of its answer, if there was one.
    pub(crate) fn note_request(&self, took: Option<Duration>) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        locked(&self.times).record(took);
    }

    /// A request failed: a line on stderr. `doubt` is what the servers may count all the same.
    pub(crate) fn note_failure(&self, what: &str, fault: &Fault, doubt: &[(Count, u64)]) {
        self.failed.fetch_add(1, Ordering::Relaxed);
        if fault.kind == Kind::Duplicate {
            self.duplicates.fetch_add(1, Ordering::Relaxed);
        }
        if fault.may_be_done() {
            let mut counts = locked(&self.counts);
            for &(count, n) in doubt {
                counts.add_unknown(count, n);
            }
        }
        eprintln!("{what}: {fault}");
    }

    /// The load begins now.
    pub(crate) fn begin(&self) {
        locked(&self.times).begin();
    }

    /// What was counted so far.
    pub(crate) fn counts(&self) -> Counts {
        locked(&self.counts).clone()
    }

    /// How long requests took so far.
    pub(crate) fn times(&self) -> Times {
        locked(&self.times).clone()
    }

    /// Requests, failed ones, and codes or ids given twice.
    pub(crate) fn totals(&self) -> (u64, u64, u64) {
        let read = |number: &AtomicU64| number.load(Ordering::Relaxed);
        (read(&self.requests), read(&self.failed), read(&self.duplicates))
    }
}

/// A lock; what a panicking user left behind is still counted.
pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Random letters and digits.
fn token(length: usize) -> String {
    const LETTERS: &[u8] = b"abcdefghijkmnpqrstuvwxyz23456789";
    let mut rng = SmallRng::from_os_rng();
    (0..length).map(|_| char::from(LETTERS[rng.random_range(0..LETTERS.len())])).collect()
}

/// Ten Base62 characters, so that the alias is a code: five of the token, five of the number.
fn short_alias(token: &str, number: u64) -> String {
    let digits = stint_idgen::base62::shortest(number);
    format!("{}{digits:0>5}", &token[..5])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aliases_differ_and_those_of_ten_characters_stay_so() {
        assert_eq!(short_alias("abcdefgh", 1), "abcde00001");
        assert_eq!(short_alias("abcdefgh", 62 * 62), "abcde00100");
        assert_eq!(token(8).len(), 8);
        assert_ne!(token(8), token(8));
    }
}
