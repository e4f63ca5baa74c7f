//! The leader's wall clock jumps by an hour, forth and back; its monotonic clock does not.

use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::Plan;
use crate::pace::hold;
use crate::say;
use crate::world::{Quorum, World};

/// What a leader says when its clock jumps further than stamps may.
const SAID: &str = "the wall clock jumped ahead";

pub(super) async fn jumps(world: &mut World, plan: &Plan<'_>) -> anyhow::Result<()> {
    let faults = [("leader's clock jumps ahead 1 h", "+1h"), ("leader's clock falls back 1 h", "-1h")];
    if !faults.iter().any(|(fault, _)| plan.has(fault)) {
        return Ok(());
    }
    let Some(library) = library() else {
        say("skipped: jumps of the clock, since libfaketime is not installed (`make tools`)");
        return Ok(());
    };
    // A follower gets a clock that can be turned, and then the lead.
    world.well().await?;
    let seat = world.cluster.follower().await?;
    let clock = world.dir.join("clock");
    turn(&clock, "+0")?;
    world.cluster.seats[seat].environment = vec![
        ("LD_PRELOAD".to_owned(), library.display().to_string()),
        ("FAKETIME_TIMESTAMP_FILE".to_owned(), clock.display().to_string()),
        ("FAKETIME_NO_CACHE".to_owned(), "1".to_owned()),
        ("FAKETIME_DONT_FAKE_MONOTONIC".to_owned(), "1".to_owned()),
    ];
    restart(world, seat).await?;
    for (fault, offset) in faults {
        if !plan.has(fault) {
            continue;
        }
        world.cluster.lead(seat).await?;
        world
            .episode(fault, Quorum::Kept, async |_| {
                turn(&clock, offset)?;
                hold(plan.lasts).await;
                turn(&clock, "+0")
            })
            .await?;
        let log = std::fs::read_to_string(&world.cluster.seats[seat].log)?;
        if offset.starts_with('+') && !log.contains(SAID) {
            world.blame(format!("{fault}: the log does not say so"));
        }
    }
    world.cluster.seats[seat].environment.clear();
    restart(world, seat).await
}

async fn restart(world: &mut World, seat: usize) -> anyhow::Result<()> {
    world.cluster.take(seat)?.terminate().await?;
    world.cluster.start(seat, false)?;
    world.cluster.whole().await
}

/// Turns the clock; it must never be seen half written.
fn turn(clock: &Path, offset: &str) -> anyhow::Result<()> {
    let written = clock.with_extension("new");
    std::fs::write(&written, offset)?;
    std::fs::rename(&written, clock).context("the clock can't be turned")
}

/// Where the distribution puts the library.
fn library() -> Option<PathBuf> {
    let mut folders: Vec<PathBuf> = ["/usr/lib", "/usr/lib64", "/usr/local/lib"].map(PathBuf::from).into();
    // Debian's are one deeper, by architecture.
    folders.extend(std::fs::read_dir("/usr/lib").ok()?.flatten().map(|entry| entry.path()));
    folders.iter().map(|folder| folder.join("faketime/libfaketime.so.1")).find(|file| file.is_file())
}
