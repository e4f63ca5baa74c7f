//! Clicks, counted in Postgres. Several nodes add at the same time: rows are locked in one order, and a chunk that two of
//! them add waits for the first to commit.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use sqlx::{Postgres, Transaction};
use stint_idgen::Key;

use super::failed;
use super::servers::Servers;
use crate::domain::timestamp::UnixMs;
use crate::ports::click_store::{ClickChunk, ClickStore, ClickTotals, Day};
use crate::ports::link_store::StoreError;
use crate::storage::click_sums::{ClickSums, Span, spans, stored, sums};

/// Tries of a transaction that Postgres gave up in favour of another.
const ATTEMPTS: usize = 5;

/// Counts clicks in Postgres.
#[derive(Debug)]
pub struct PgClickStore {
    servers: Arc<Servers>,
}

impl PgClickStore {
    /// Counts on the primary, and reads from wherever may be read.
    pub const fn new(servers: Arc<Servers>) -> Self {
        Self { servers }
    }

    async fn try_to_add(&self, chunks: &[ClickChunk], now: UnixMs) -> Result<u64, Refused> {
        let primary = self.servers.primary().map_err(Refused::Store)?;
        let adding = async {
            let mut transaction = primary.pool.begin().await?;
            let fresh = note_chunks(&mut transaction, &spans(chunks), now).await?;
            let sums = sums(chunks, fresh);
            add(&mut transaction, &sums).await?;
            transaction.commit().await?;
            Ok(sums.clicks)
        };
        adding.await.map_err(|error: sqlx::Error| {
            if gave_way(&error) {
                return Refused::GaveWay(error);
            }
            self.servers.doubt(&primary, &error);
            Refused::Store(failed("count clicks")(error))
        })
    }
}

/// Why a transaction wasn't made.
enum Refused {
    /// Another one was in its way: nothing was done, the next try may succeed.
    GaveWay(sqlx::Error),
    Store(StoreError),
}

#[async_trait]
impl ClickStore for PgClickStore {
    async fn add_chunks(&self, chunks: &[ClickChunk], now: UnixMs) -> Result<u64, StoreError> {
        let mut attempt = 1;
        loop {
            match self.try_to_add(chunks, now).await {
                Ok(counted) => return Ok(counted),
                Err(Refused::Store(error)) => return Err(error),
                Err(Refused::GaveWay(error)) if attempt == ATTEMPTS => return Err(failed("count clicks")(error)),
                Err(Refused::GaveWay(_)) => attempt += 1,
            }
        }
    }

    async fn clicks(&self, key: Key, since: Day) -> Result<ClickTotals, StoreError> {
        let pool = match self.servers.replica() {
            Some(replica) => replica,
            None => self.servers.primary()?.pool.clone(),
        };
        // One statement, so that total and days are of the same moment.
        let rows: Vec<(Option<i32>, i64)> = sqlx::query_as(
            "SELECT NULL::integer AS day, clicks FROM click_totals WHERE key = $1
             UNION ALL SELECT day, clicks FROM click_days WHERE key = $1 AND day >= $2",
        )
        .bind(key.get())
        .bind(since.0)
        .fetch_all(&pool)
        .await
        .map_err(failed("read a link's clicks"))?;
        ClickTotals::from_rows(rows)
    }

    async fn forget_chunks_before(&self, moment: UnixMs) -> Result<u64, StoreError> {
        let primary = self.servers.primary()?;
        let done = sqlx::query(
            "DELETE FROM click_chunks WHERE (process, span) IN
             (SELECT process, span FROM click_chunks WHERE at < $1 ORDER BY process, span LIMIT 1000
              FOR UPDATE SKIP LOCKED)",
        )
        .bind(moment.get())
        .execute(&primary.pool)
        .await
        .map_err(|error| {
            self.servers.doubt(&primary, &error);
            failed("forget chunks of clicks")(error)
        })?;
        Ok(done.rows_affected())
    }
}

/// Notes that chunks are counted; answers which of them were not noted before.
async fn note_chunks(
    transaction: &mut Transaction<'_, Postgres>,
    spans: &BTreeMap<Span, i64>,
    now: UnixMs,
) -> Result<BTreeMap<Span, i64>, sqlx::Error> {
    let processes: Vec<String> = spans.keys().map(|(process, _)| format!("{process:032x}")).collect();
    let numbers: Vec<i64> = spans.keys().map(|(_, span)| *span).collect();
    let bits: Vec<i64> = spans.values().copied().collect();
    let rows: Vec<(String, i64, i64)> = sqlx::query_as(
        "INSERT INTO click_chunks AS held (process, span, seen, fresh, at)
         SELECT process, span, seen, seen, $4
         FROM unnest($1::text[]::uuid[], $2::bigint[], $3::bigint[]) AS given (process, span, seen)
         ORDER BY process, span
         ON CONFLICT (process, span) DO UPDATE SET
             fresh = excluded.seen & ~held.seen, seen = held.seen | excluded.seen, at = greatest(held.at, excluded.at)
         RETURNING replace(process::text, '-', ''), span, fresh",
    )
    .bind(processes)
    .bind(numbers)
    .bind(bits)
    .bind(now.get())
    .fetch_all(&mut **transaction)
    .await?;
    let fresh = rows.into_iter().map(|(process, span, fresh)| {
        let process = u128::from_str_radix(&process, 16).map_err(|error| sqlx::Error::Decode(error.into()))?;
        Ok(((process, span), fresh))
    });
    fresh.collect()
}

async fn add(transaction: &mut Transaction<'_, Postgres>, sums: &ClickSums) -> Result<(), sqlx::Error> {
    if sums.totals.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "INSERT INTO click_totals AS held (key, clicks)
         SELECT key, clicks FROM unnest($1::bigint[], $2::bigint[]) AS added (key, clicks) ORDER BY key
         ON CONFLICT (key) DO UPDATE SET clicks = held.clicks + excluded.clicks",
    )
    .bind(sums.totals.keys().map(|key| key.get()).collect::<Vec<_>>())
    .bind(sums.totals.values().map(|clicks| stored(*clicks)).collect::<Vec<_>>())
    .execute(&mut **transaction)
    .await?;
    sqlx::query(
        "INSERT INTO click_days AS held (key, day, clicks)
         SELECT key, day, clicks FROM unnest($1::bigint[], $2::integer[], $3::bigint[]) AS added (key, day, clicks)
         ORDER BY key, day
         ON CONFLICT (key, day) DO UPDATE SET clicks = held.clicks + excluded.clicks",
    )
    .bind(sums.days.keys().map(|(key, _)| key.get()).collect::<Vec<_>>())
    .bind(sums.days.keys().map(|(_, day)| day.0).collect::<Vec<_>>())
    .bind(sums.days.values().map(|clicks| stored(*clicks)).collect::<Vec<_>>())
    .execute(&mut **transaction)
    .await?;
    Ok(())
}

/// Whether Postgres ended the transaction for the good of another: a deadlock (40P01) or a conflict (40001).
fn gave_way(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
    matches!(code.as_deref(), Some("40P01" | "40001"))
}
