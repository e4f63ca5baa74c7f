//! Creating links, many at once: one statement, and one round trip, where nothing conflicts.
//!
//! Of entries that conflict with each other only the first goes with that statement, which inserts whatever meets no
//! conflict in the database either. The others are resolved after it, in order, by a transaction that reads everything
//! they could meet (`exact`). A statement whose connection broke may have been carried out: then all that has no
//! outcome goes to that transaction, which knows the batch's own links again.

mod exact;
mod insert;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use sqlx::postgres::PgPool;
use stint_idgen::Key;
use tokio::time::{Instant, sleep};

use self::insert::{Row, is_conflict};
use super::connection::{is_broken, is_contended, is_doubtful};
use super::row::place;
use super::{PgStore, RETRIED_FOR, RETRY_PAUSE, failed};
use crate::domain::access::OwnerId;
use crate::domain::link::{Link, LinkContent, VisitLimit};
use crate::ports::link_store::{CreateOutcome, NewLink, StoreError};

/// Something that only one link can have.
#[derive(PartialEq, Eq, Hash)]
enum Claim<'a> {
    Key(Key),
    Target(i64),
    Alias(&'a str),
    Request(OwnerId, &'a str),
}

/// A batch, and how far it has got.
struct Batch {
    new: Vec<NewLink>,
    outcomes: Vec<Option<CreateOutcome>>,
    /// Whether the fast statement has done what it can.
    tried: bool,
    /// Whether entries without an outcome may have been created all the same.
    in_doubt: bool,
}

impl PgStore {
    pub(super) async fn create_batch(&self, new: Vec<NewLink>) -> Result<Vec<CreateOutcome>, StoreError> {
        if new.is_empty() {
            return Ok(Vec::new());
        }
        let mut batch = Batch::of(new);
        let mut failing_since = None;
        for tries in 0.. {
            let error = match self.servers.primary() {
                Ok(primary) => match self.once(&primary, batch.advance(&primary.pool)).await {
                    Ok(()) => break,
                    Err(error) if batch.may_go_on_after(&error) => failed("create links")(error),
                    Err(error) => return Err(failed("create links")(error)),
                },
                // Nothing was begun yet: whoever waits may be told at once.
                Err(error) if failing_since.is_none() => return Err(error),
                Err(error) => error,
            };
            if failing_since.get_or_insert_with(Instant::now).elapsed() >= RETRIED_FOR {
                return Err(error);
            }
            sleep(RETRY_PAUSE.min(Duration::from_millis(5) * tries)).await;
        }
        Ok(batch.outcomes.into_iter().flatten().collect())
    }
}

impl Batch {
    fn of(new: Vec<NewLink>) -> Self {
        Self { outcomes: new.iter().map(|_| None).collect(), new, tried: false, in_doubt: false }
    }

    /// Goes on from wherever the batch is, until every entry has an outcome.
    async fn advance(&mut self, pool: &PgPool) -> Result<(), sqlx::Error> {
        if !self.tried {
            let first = self.without_conflicts();
            let rows = first.iter().map(|index| Row::of(&self.new[*index])).collect();
            match insert::run(&mut *pool.acquire().await?, rows).await {
                Ok(made) => self.settle(&first, &made),
                Err(error) if is_conflict(&error) => {}
                Err(error) => return Err(error),
            }
            self.tried = true;
        }
        let open: Vec<usize> = (0..self.new.len()).filter(|index| self.outcomes[*index].is_none()).collect();
        if !open.is_empty() {
            let entries: Vec<&NewLink> = open.iter().map(|index| &self.new[*index]).collect();
            let outcomes = exact::create(pool, &entries, self.in_doubt).await?;
            for (index, outcome) in open.into_iter().zip(outcomes) {
                self.outcomes[index] = Some(outcome);
            }
        }
        Ok(())
    }

    /// Whether the batch may be tried again after an error, which is remembered as far as it matters.
    fn may_go_on_after(&mut self, error: &sqlx::Error) -> bool {
        if is_broken(error) {
            self.in_doubt = true;
            self.tried = true;
        }
        is_doubtful(error) || is_contended(error) || is_conflict(error)
    }

    /// The entries that share nothing with one before them.
    fn without_conflicts(&self) -> Vec<usize> {
        let mut claims = HashSet::with_capacity(2 * self.new.len());
        let mut first = Vec::with_capacity(self.new.len());
        for (index, new) in self.new.iter().enumerate() {
            let mut free = claims.insert(Claim::Key(new.key));
            if new.reuse {
                free &= claims.insert(Claim::Target(place(new.owner, new.url.hash())));
            }
            if let Some(alias) = &new.alias {
                free &= claims.insert(Claim::Alias(alias.as_str()));
            }
            if let Some(request) = &new.idempotency {
                free &= claims.insert(Claim::Request(new.owner, &request.key));
            }
            if free {
                first.push(index);
            }
        }
        first
    }

    /// Notes which entries the fast statement made, and answers those that wanted just one of these.
    fn settle(&mut self, first: &[usize], made: &HashSet<Key>) {
        let mut reusable = HashMap::new();
        for index in first {
            let new = &self.new[*index];
            if made.contains(&new.key) {
                if new.reuse {
                    reusable.insert(place(new.owner, new.url.hash()), *index);
                }
                self.outcomes[*index] = Some(CreateOutcome::Created(created(new)));
            }
        }
        for (new, outcome) in self.new.iter().zip(&mut self.outcomes) {
            if outcome.is_none()
                && new.reuse
                && new.idempotency.is_none()
                && let Some(index) = reusable.get(&place(new.owner, new.url.hash()))
                && (self.new[*index].owner, &self.new[*index].url) == (new.owner, &new.url)
            {
                *outcome = Some(CreateOutcome::Reused(created(&self.new[*index])));
            }
        }
    }
}

/// The link that a new one becomes.
fn created(new: &NewLink) -> Link {
    Link {
        key: new.key,
        alias: new.alias.clone(),
        owner: new.owner,
        version: 1,
        created_at: new.created_at,
        content: Some(LinkContent {
            url: new.url.clone(),
            expires_at: new.expires_at,
            limit: new.max_visits.map(|max| VisitLimit { max, visits: 0 }),
            title: new.title.clone(),
            tags: new.tags.clone(),
        }),
    }
}
