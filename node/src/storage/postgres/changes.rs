//! The record of changes: what every node reads twice a second.

use async_trait::async_trait;

use super::row::key;
use super::{PgStore, failed};
use crate::ports::change_feed::{Change, ChangeFeed, ChangePage};
use crate::ports::link_store::StoreError;

/// The missing ones have numbers below `after`: the others are in the second part anyway.
const READ: &str = "
    (SELECT seq, key, version FROM changes WHERE seq = ANY($2) AND seq <= $1)
    UNION ALL
    (SELECT seq, key, version FROM changes WHERE seq > $1 ORDER BY seq LIMIT $3)
    ORDER BY seq LIMIT $3";

/// Looks at the lowest numbers only, which are the oldest but for a few: no index by age is needed.
const FORGET: &str = "
    DELETE FROM changes
    WHERE seq IN (SELECT seq FROM changes ORDER BY seq LIMIT 10000) AND at < now() - interval '1 hour'";

#[async_trait]
impl ChangeFeed for PgStore {
    async fn read(&self, after: i64, missing: &[i64], limit: usize) -> Result<ChangePage, StoreError> {
        let primary = self.servers.primary()?;
        let query = sqlx::query_as(READ).bind(after).bind(missing).bind(i64::try_from(limit).unwrap_or(i64::MAX));
        let rows: Result<Vec<(i64, i64, i32)>, _> = self.once(&primary, query.fetch_all(&primary.pool)).await;
        let changes = rows
            .map_err(failed("read changes"))?
            .into_iter()
            .map(|(seq, of, version)| Ok(Change { seq, key: key(of)?, version: i64::from(version) }));
        Ok(ChangePage { timeline: primary.timeline, changes: changes.collect::<Result<_, StoreError>>()? })
    }

    async fn forget_old_changes(&self) -> Result<u64, StoreError> {
        let forget = |pool| async move { sqlx::query(FORGET).execute(&pool).await };
        Ok(self.repeatable("forget old changes", forget).await?.rows_affected())
    }
}
