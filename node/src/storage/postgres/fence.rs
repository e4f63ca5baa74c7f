//! The database's own memory of its code key and of what each lane's source has issued, and blocks that it vouches for.
//!
//! A promotion may lose the last commits, and with them marks: they jump when a primary on a new timeline is taken
//! ([`super::servers`]), before anything is asked of it here.

use async_trait::async_trait;
use sqlx::postgres::PgPool;
use stint_idgen::{IdRange, Lane};

use super::PgStore;
use crate::ports::block_store::BlockStore;
use crate::ports::link_store::{FenceStore, LaneMark, StoreError};

/// `$1` lane, `$2` source, `$3` start, `$4` end.
const FENCE: &str = "UPDATE lanes SET mark = $4 WHERE lane = $1 AND source = $2 AND mark <= $3";

/// `$3` ids wanted.
const TAKE: &str = "UPDATE lanes SET mark = mark + $3 WHERE lane = $1 AND source = $2 RETURNING mark";

#[async_trait]
impl FenceStore for PgStore {
    async fn claim_code_key(&self, fingerprint: &str) -> Result<String, StoreError> {
        let claim = |pool: PgPool| async move {
            let claim = "INSERT INTO settings (name, value) VALUES ('code_key', $1)
                         ON CONFLICT (name) DO UPDATE SET value = settings.value RETURNING value";
            sqlx::query_scalar(claim).bind(fingerprint).fetch_one(&pool).await
        };
        self.repeatable("claim the code key", claim).await
    }

    async fn find_lane(&self, lane: Lane) -> Result<Option<LaneMark>, StoreError> {
        let find = |pool: PgPool| async move {
            let find = sqlx::query_as("SELECT source, mark FROM lanes WHERE lane = $1");
            find.bind(number(lane)).fetch_optional(&pool).await
        };
        self.repeatable("look at an id lane", find).await?.map(lane_mark).transpose()
    }

    async fn claim_lane(&self, lane: Lane, source: &str) -> Result<LaneMark, StoreError> {
        let timeline = self.servers.primary()?.timeline;
        let timeline = i32::try_from(timeline).map_err(|_| StoreError::Corrupt { what: "a timeline past 2^31" })?;
        let claim = |pool: PgPool| async move {
            let claim = "INSERT INTO lanes (lane, source, mark, timeline) VALUES ($1, $2, 0, $3)
                         ON CONFLICT (lane) DO UPDATE SET source = lanes.source RETURNING source, mark";
            sqlx::query_as(claim).bind(number(lane)).bind(source).bind(timeline).fetch_one(&pool).await
        };
        lane_mark(self.repeatable("claim an id lane", claim).await?)
    }

    async fn replace_lane_source(&self, lane: Lane, source: &str) -> Result<(), StoreError> {
        let replace = |pool: PgPool| async move {
            let replace = sqlx::query("UPDATE lanes SET source = $2 WHERE lane = $1");
            replace.bind(number(lane)).bind(source).execute(&pool).await
        };
        self.repeatable("replace a lane's source", replace).await.map(drop)
    }

    async fn raise_mark(&self, lane: Lane, source: &str, mark: u64) -> Result<bool, StoreError> {
        let mark = counter(mark)?;
        let raise = |pool: PgPool| async move {
            let raise = "UPDATE lanes SET mark = greatest(mark, $3) WHERE lane = $1 AND source = $2";
            sqlx::query(raise).bind(number(lane)).bind(source).bind(mark).execute(&pool).await
        };
        Ok(self.repeatable("raise a lane's mark", raise).await?.rows_affected() == 1)
    }
}

/// A block whose commit is in doubt is asked for once more, and is a gap if it was made: its ids are served once or never.
#[async_trait]
impl BlockStore for PgStore {
    async fn fence_block(&self, lane: Lane, source: &str, block: IdRange) -> Result<bool, StoreError> {
        let (start, end) = (counter(block.start())?, counter(block.end())?);
        let fence = |pool: PgPool| async move {
            sqlx::query(FENCE).bind(number(lane)).bind(source).bind(start).bind(end).execute(&pool).await
        };
        Ok(self.repeatable("fence a block of ids", fence).await?.rows_affected() == 1)
    }

    async fn take_block(&self, lane: Lane, source: &str, want: u64) -> Result<Option<IdRange>, StoreError> {
        let want = counter(want.max(1))?;
        let take = |pool: PgPool| async move {
            sqlx::query_scalar(TAKE).bind(number(lane)).bind(source).bind(want).fetch_optional(&pool).await
        };
        let end: Option<i64> = self.repeatable("take a block of ids", take).await?;
        let block = |end: i64| {
            let end = u64::try_from(end).map_err(|_| CORRUPT_MARK)?;
            IdRange::new(end.saturating_sub(want.unsigned_abs()), end).map_err(|_| CORRUPT_MARK)
        };
        end.map(block).transpose()
    }
}

const CORRUPT_MARK: StoreError = StoreError::Corrupt { what: "lanes.mark" };

fn lane_mark((source, mark): (String, i64)) -> Result<LaneMark, StoreError> {
    Ok(LaneMark { source, mark: u64::try_from(mark).map_err(|_| CORRUPT_MARK)? })
}

fn counter(counter: u64) -> Result<i64, StoreError> {
    i64::try_from(counter).map_err(|_| StoreError::Corrupt { what: "a lane mark past 2^63" })
}

fn number(lane: Lane) -> i16 {
    i16::from(lane.number())
}
