//! The database's own memory of its code key and of what each lane's source has issued, and blocks that it vouches for.
//!
//! A promotion may lose the last commits, and with them marks. The first block on a new timeline therefore begins far
//! above the mark: further than sources get within any lag that a replica may have.

use async_trait::async_trait;
use sqlx::postgres::PgPool;
use stint_idgen::{IdRange, Lane};

use super::PgStore;
use crate::ports::block_store::BlockStore;
use crate::ports::link_store::{FenceStore, LaneMark, StoreError};

/// `$1` lane, `$2` source, `$3` start, `$4` end, `$5` timeline, `$6` jump. A refused block raises the mark by the jump all
/// the same, so that whoever looks at the mark next sees where ids begin.
const FENCE: &str = "
    WITH held AS (
        SELECT lane, mark + CASE WHEN timeline < $5 THEN $6 ELSE 0 END AS mark FROM lanes
        WHERE lane = $1 AND source = $2 FOR UPDATE
    ), raised AS (
        UPDATE lanes SET mark = CASE WHEN held.mark <= $3 THEN $4 ELSE held.mark END, timeline = greatest(timeline, $5)
        FROM held WHERE lanes.lane = held.lane
    )
    SELECT mark <= $3 FROM held";

/// `$3` ids wanted, `$4` timeline, `$5` jump.
const TAKE: &str = "
    UPDATE lanes SET mark = mark + CASE WHEN timeline < $4 THEN $5 ELSE 0 END + $3, timeline = greatest(timeline, $4)
    WHERE lane = $1 AND source = $2 RETURNING mark";

/// How far marks jump on a new timeline: 2^28 ids, which is 30 s (the largest lag of a replica that is read) at nine
/// million ids a second.
const PROMOTION_JUMP: i64 = 1 << 28;

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
        let timeline = self.timeline()?;
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
        let (start, end, timeline) = (counter(block.start())?, counter(block.end())?, self.timeline()?);
        let fence = |pool: PgPool| async move {
            let fence = sqlx::query_scalar(FENCE).bind(number(lane)).bind(source).bind(start).bind(end);
            fence.bind(timeline).bind(PROMOTION_JUMP).fetch_optional(&pool).await
        };
        let raised: Option<bool> = self.repeatable("fence a block of ids", fence).await?;
        Ok(raised.unwrap_or(false))
    }

    async fn take_block(&self, lane: Lane, source: &str, want: u64) -> Result<Option<IdRange>, StoreError> {
        let (want, timeline) = (counter(want.max(1))?, self.timeline()?);
        let take = |pool: PgPool| async move {
            let take = sqlx::query_scalar(TAKE).bind(number(lane)).bind(source).bind(want);
            take.bind(timeline).bind(PROMOTION_JUMP).fetch_optional(&pool).await
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

impl PgStore {
    /// The primary's timeline. If it changes before a block is taken the mark doesn't jump yet, and the next block's does:
    /// whoever took the block drops it, as all blocks from before.
    fn timeline(&self) -> Result<i32, StoreError> {
        let timeline = self.servers.primary()?.timeline;
        i32::try_from(timeline).map_err(|_| StoreError::Corrupt { what: "a timeline past 2^31" })
    }
}

fn lane_mark((source, mark): (String, i64)) -> Result<LaneMark, StoreError> {
    Ok(LaneMark { source, mark: u64::try_from(mark).map_err(|_| CORRUPT_MARK)? })
}

fn counter(counter: u64) -> Result<i64, StoreError> {
    i64::try_from(counter).map_err(|_| StoreError::Corrupt { what: "a lane mark past 2^63" })
}

fn number(lane: Lane) -> i16 {
    i16::from(lane.number())
}
