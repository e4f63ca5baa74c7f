//! Clicks, counted into the same file as the links.

use std::collections::BTreeMap;

use async_trait::async_trait;
use sqlx::{Sqlite, Transaction};
use stint_idgen::Key;

use super::{SqliteStore, begin, failed};
use crate::domain::timestamp::UnixMs;
use crate::ports::click_store::{ClickChunk, ClickStore, ClickTotals, Day};
use crate::ports::link_store::StoreError;
use crate::storage::click_sums::{ClickSums, Span, spans, stored, sums};

#[async_trait]
impl ClickStore for SqliteStore {
    async fn add_chunks(&self, chunks: &[ClickChunk], now: UnixMs) -> Result<u64, StoreError> {
        let mut writer = self.writer().await?;
        let mut transaction = begin!(writer, "begin counting clicks");
        let mut fresh = BTreeMap::new();
        for (span, bits) in spans(chunks) {
            fresh.insert(span, note_chunks(&mut transaction, span, bits, now).await?);
        }
        let sums = sums(chunks, fresh);
        add(&mut transaction, &sums).await?;
        transaction.commit().await.map_err(failed("commit clicks"))?;
        writer.done();
        Ok(sums.clicks)
    }

    async fn clicks(&self, key: Key, since: Day) -> Result<ClickTotals, StoreError> {
        // One statement, so that total and days are of the same moment.
        let rows: Vec<(Option<i32>, i64)> = sqlx::query_as(
            "SELECT NULL AS day, clicks FROM click_totals WHERE key = ?1
             UNION ALL SELECT day, clicks FROM click_days WHERE key = ?1 AND day >= ?2",
        )
        .bind(key.get())
        .bind(since.0)
        .fetch_all(&self.readers)
        .await
        .map_err(failed("read a link's clicks"))?;
        ClickTotals::from_rows(rows)
    }

    async fn forget_chunks_before(&self, moment: UnixMs) -> Result<u64, StoreError> {
        let mut writer = self.writer().await?;
        let done = sqlx::query(
            "DELETE FROM click_chunks WHERE (process, span) IN
             (SELECT process, span FROM click_chunks WHERE at < ? LIMIT 1000)",
        )
        .bind(moment.get())
        .execute(&mut *writer)
        .await
        .map_err(failed("forget chunks of clicks"))?;
        writer.done();
        Ok(done.rows_affected())
    }
}

/// Notes that chunks are counted; answers which of them were not noted before.
async fn note_chunks(
    transaction: &mut Transaction<'_, Sqlite>,
    (process, span): Span,
    bits: i64,
    now: UnixMs,
) -> Result<i64, StoreError> {
    let (fresh,): (i64,) = sqlx::query_as(
        "INSERT INTO click_chunks (process, span, seen, fresh, at) VALUES (?1, ?2, ?3, ?3, ?4)
         ON CONFLICT (process, span) DO UPDATE SET
             fresh = excluded.seen & ~seen, seen = seen | excluded.seen, at = max(at, excluded.at)
         RETURNING fresh",
    )
    .bind(process.to_be_bytes().to_vec())
    .bind(span)
    .bind(bits)
    .bind(now.get())
    .fetch_one(&mut **transaction)
    .await
    .map_err(failed("note chunks of clicks"))?;
    Ok(fresh)
}

async fn add(transaction: &mut Transaction<'_, Sqlite>, sums: &ClickSums) -> Result<(), StoreError> {
    let totals: Vec<_> = sums.totals.iter().map(|(key, clicks)| (key.get(), stored(*clicks))).collect();
    let days: Vec<_> = sums.days.iter().map(|((key, day), clicks)| (key.get(), day.0, stored(*clicks))).collect();
    // "WHERE true" keeps the parser from taking ON CONFLICT for a join's ON.
    let statements = [
        (
            "INSERT INTO click_totals (key, clicks)
             SELECT value ->> 0, value ->> 1 FROM json_each(?) WHERE true
             ON CONFLICT (key) DO UPDATE SET clicks = clicks + excluded.clicks",
            serde_json::to_string(&totals),
        ),
        (
            "INSERT INTO click_days (key, day, clicks)
             SELECT value ->> 0, value ->> 1, value ->> 2 FROM json_each(?) WHERE true
             ON CONFLICT (key, day) DO UPDATE SET clicks = clicks + excluded.clicks",
            serde_json::to_string(&days),
        ),
    ];
    for (statement, rows) in statements {
        sqlx::query(statement)
            .bind(rows.expect("numbers are always valid JSON"))
            .execute(&mut **transaction)
            .await
            .map_err(failed("add clicks"))?;
    }
    Ok(())
}
