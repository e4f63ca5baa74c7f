//! The database's own memory of its code key and of what each lane's source has issued.

use async_trait::async_trait;
use stint_idgen::Lane;

use super::{SqliteStore, failed};
use crate::ports::link_store::{FenceStore, LaneMark, StoreError};

#[async_trait]
impl FenceStore for SqliteStore {
    async fn claim_code_key(&self, fingerprint: &str) -> Result<String, StoreError> {
        let mut writer = self.writer().await?;
        let (stored,): (String,) = sqlx::query_as(
            "INSERT INTO settings (name, value) VALUES ('code_key', ?)
             ON CONFLICT (name) DO UPDATE SET value = value RETURNING value",
        )
        .bind(fingerprint)
        .fetch_one(&mut *writer)
        .await
        .map_err(failed("claim the code key"))?;
        writer.done();
        Ok(stored)
    }

    async fn find_lane(&self, lane: Lane) -> Result<Option<LaneMark>, StoreError> {
        // Through the writer: it sees every claim.
        let mut writer = self.writer().await?;
        let row: Option<(String, i64)> = sqlx::query_as("SELECT source, mark FROM lanes WHERE lane = ?")
            .bind(number(lane))
            .fetch_optional(&mut *writer)
            .await
            .map_err(failed("look at an id lane"))?;
        writer.done();
        row.map(lane_mark).transpose()
    }

    async fn claim_lane(&self, lane: Lane, source: &str) -> Result<LaneMark, StoreError> {
        let mut writer = self.writer().await?;
        let row: (String, i64) = sqlx::query_as(
            "INSERT INTO lanes (lane, source, mark) VALUES (?, ?, 0)
             ON CONFLICT (lane) DO UPDATE SET source = source RETURNING source, mark",
        )
        .bind(number(lane))
        .bind(source)
        .fetch_one(&mut *writer)
        .await
        .map_err(failed("claim an id lane"))?;
        writer.done();
        lane_mark(row)
    }

    async fn replace_lane_source(&self, lane: Lane, source: &str) -> Result<(), StoreError> {
        let mut writer = self.writer().await?;
        sqlx::query("UPDATE lanes SET source = ? WHERE lane = ?")
            .bind(source)
            .bind(number(lane))
            .execute(&mut *writer)
            .await
            .map_err(failed("replace a lane's source"))?;
        writer.done();
        Ok(())
    }

    async fn raise_mark(&self, lane: Lane, source: &str, mark: u64) -> Result<bool, StoreError> {
        let mut writer = self.writer().await?;
        let mark = i64::try_from(mark).map_err(|_| StoreError::Corrupt { what: "a lane mark past 2^63" })?;
        let done = sqlx::query("UPDATE lanes SET mark = max(mark, ?) WHERE lane = ? AND source = ?")
            .bind(mark)
            .bind(number(lane))
            .bind(source)
            .execute(&mut *writer)
            .await
            .map_err(failed("raise a lane's mark"))?;
        writer.done();
        Ok(done.rows_affected() == 1)
    }
}

fn lane_mark((source, mark): (String, i64)) -> Result<LaneMark, StoreError> {
    Ok(LaneMark { source, mark: u64::try_from(mark).map_err(|_| StoreError::Corrupt { what: "lanes.mark" })? })
}

fn number(lane: Lane) -> i64 {
    i64::from(lane as u8)
}
