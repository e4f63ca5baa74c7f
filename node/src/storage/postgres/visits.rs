//! Counting visits of limited links, many in one statement.

use std::collections::BTreeMap;

use stint_idgen::Key;

use super::PgStore;
use crate::ports::link_store::{StoreError, VisitOutcome};

/// Locks the links in the order of their keys, then gives each as many visits as are wanted and left. What a lock waited
/// for is seen: both parts go by the row as it is once it is locked.
const COUNT: &str = "
    WITH held AS (
        SELECT links.key, greatest(0, least(wanted.visits, links.max_visits - links.visits)) AS granted
        FROM unnest($1::bigint[], $2::bigint[]) AS wanted (key, visits) JOIN links USING (key)
        WHERE links.max_visits IS NOT NULL
        ORDER BY links.key FOR UPDATE OF links
    ), counted AS (
        UPDATE links SET visits = links.visits + held.granted FROM held WHERE links.key = held.key AND held.granted > 0
    )
    SELECT key, granted FROM held";

impl PgStore {
    pub(super) async fn count_batch(&self, keys: Vec<Key>) -> Result<Vec<VisitOutcome>, StoreError> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let mut wanted: BTreeMap<i64, i64> = BTreeMap::new();
        for key in &keys {
            *wanted.entry(key.get()).or_default() += 1;
        }
        let (wanted, visits): (Vec<i64>, Vec<i64>) = wanted.into_iter().unzip();
        let count = |pool| {
            let query = sqlx::query_as(COUNT).bind(&wanted).bind(&visits);
            async move { query.fetch_all(&pool).await }
        };
        let granted: Vec<(i64, i64)> = self.unrepeatable("count visits", count).await?;
        // The first of those who want a visit of one link get what is left.
        let mut left: BTreeMap<i64, i64> = granted.into_iter().collect();
        let outcomes = keys.into_iter().map(|key| match left.get_mut(&key.get()) {
            None => VisitOutcome::NotLimited,
            Some(0) => VisitOutcome::UsedUp,
            Some(visits) => {
                *visits -= 1;
                VisitOutcome::Counted
            }
        });
        Ok(outcomes.collect())
    }
}
