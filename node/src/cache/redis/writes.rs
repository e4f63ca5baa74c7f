//! The one task that writes: whatever waits goes together, what waited too long or is stale is dropped.

use std::sync::Arc;
use std::time::Duration;

use redis::RedisError;
use stint_idgen::Key;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::trust::Belief;
use super::value::{self, Stamp};
use super::{Shared, hints};
use crate::domain::link::Link;
use crate::ports::change_feed::FeedPosition;

/// Values stored by one call of the script.
const WRITTEN_AT_ONCE: usize = 128;
/// What waited longer isn't written: the floors that would stop a stale value are kept for a minute.
const CARRIED_FOR: Duration = Duration::from_secs(10);
/// How long a value lives, less or more a tenth, so that what was stored together doesn't expire together.
const TTL_SECS: u64 = 24 * 60 * 60;

/// Something to write.
#[derive(Debug)]
pub(super) enum Write {
    /// A link.
    Link(Arc<Link>, FeedPosition),
    /// What an alias or a target leads to, under its name.
    Key(Vec<u8>, Key, FeedPosition),
    /// That something changed.
    Announcement,
}

/// A write in the queue.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) write: Write,
    pub(super) since: Duration,
}

/// Writes what comes in until `stop` is cancelled.
pub(super) async fn write(shared: Arc<Shared>, mut waiting: mpsc::Receiver<Waiting>, stop: CancellationToken) {
    let mut batch = Vec::new();
    loop {
        let received = tokio::select! {
            received = waiting.recv_many(&mut batch, WRITTEN_AT_ONCE) => received,
            () = stop.cancelled() => return,
        };
        if received == 0 {
            return stop.cancelled().await;
        }
        shared.write(batch.drain(..)).await;
    }
}

impl Shared {
    async fn write(&self, batch: impl Iterator<Item = Waiting>) {
        let Some(belief) = self.trust.belief() else {
            self.metrics.dropped_untrusted.increment(batch.count() as u64);
            return;
        };
        let (mut values, mut is_announced) = (Vec::new(), false);
        for waiting in batch {
            match self.to_store(waiting, &belief) {
                Some(Stored::Value(name, bytes)) => values.push((name, bytes)),
                Some(Stored::Announcement) => is_announced = true,
                None => self.metrics.dropped_stale.increment(1),
            }
        }
        if let Err(error) = self.store(&belief, values, is_announced).await {
            self.failed(belief.ground, &error);
        }
    }

    fn to_store(&self, waiting: Waiting, belief: &Belief) -> Option<Stored> {
        let is_late = self.clock.monotonic() > waiting.since + CARRIED_FOR;
        match waiting.write {
            Write::Announcement => Some(Stored::Announcement),
            Write::Link(link, as_of) => {
                let stamp = Stamp { version: link.version, as_of };
                let is_stale = link.version < self.floors.floor(link.key);
                let name = self.names.link(link.key);
                (!is_late && !is_stale && stamp.fits(belief))
                    .then(|| Stored::Value(name.clone(), value::of_link(&name, &link, as_of)))
            }
            Write::Key(name, key, as_of) => {
                let bytes = value::of_key(&name, key, as_of);
                (!is_late && Stamp { version: 0, as_of }.fits(belief)).then_some(Stored::Value(name, bytes))
            }
        }
    }

    async fn store(
        &self,
        belief: &Belief,
        values: Vec<(Vec<u8>, Vec<u8>)>,
        is_announced: bool,
    ) -> Result<(), RedisError> {
        let (mut connection, generation) = self.server.line().await?;
        if generation != belief.ground.generation {
            self.lose(belief.ground);
            return Ok(());
        }
        if !values.is_empty() {
            let mut call = self.scripts.put.prepare_invoke();
            call.key(self.names.epoch()).arg(&belief.ground.epoch[..]);
            for (name, bytes) in values {
                call.arg(bytes).arg(ttl_secs(&name)).key(name);
            }
            let stored: i64 = call.invoke_async(&mut connection).await?;
            if stored < 0 {
                self.lose(belief.ground);
            }
        }
        if is_announced {
            redis::cmd("PUBLISH").arg(hints::CHANNEL).arg("1").exec_async(&mut connection).await?;
        }
        Ok(())
    }
}

enum Stored {
    Value(Vec<u8>, Vec<u8>),
    Announcement,
}

/// Between 90 and 110 % of a day, the same for the same name.
fn ttl_secs(name: &[u8]) -> u64 {
    // FNV-1a: any spread will do.
    let hash = name
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3));
    TTL_SECS * 9 / 10 + (hash >> 20) % (TTL_SECS / 5)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lives_are_spread_over_a_fifth_of_a_day() {
        let lives: Vec<_> = (0..1000_u64).map(|name| ttl_secs(&name.to_be_bytes())).collect();
        let (least, most) = (lives.iter().min().unwrap(), lives.iter().max().unwrap());
        assert!(*least >= TTL_SECS * 9 / 10 && *most < TTL_SECS * 11 / 10, "{least} {most}");
        assert!(most - least > TTL_SECS / 6, "{least} {most}");
    }
}
