//! The faults, one after the other, each under load.

mod clock;
mod disk;

use std::time::Duration;

use anyhow::Context as _;
use rustix::process::Signal;

use crate::cluster::SEATS;
use crate::network::Cut;
use crate::pace::{hold, until};
use crate::world::{Quorum, World};
use crate::{Options, say};

/// How long holders must go on without any allocator before their headroom is used up on purpose.
const WITHOUT_ALLOCATORS: Duration = Duration::from_secs(4);
/// How long using up the headroom, or drawing again, may take.
const NOTICED_WITHIN: Duration = Duration::from_secs(30);

/// How the run goes.
#[derive(Debug)]
struct Plan<'a> {
    only: Option<&'a str>,
    /// How often what is about time is repeated.
    times: u32,
    /// How often the rest is.
    others: u32,
    /// How long a fault lasts: longer than a leader's lease, shorter than the holders' headroom.
    lasts: Duration,
}

impl Plan<'_> {
    fn has(&self, fault: &str) -> bool {
        self.only.is_none_or(|text| fault.contains(text))
    }
}

/// Runs all faults.
pub(crate) async fn run(world: &mut World, options: &Options) -> anyhow::Result<()> {
    let times = options.times();
    let lasts = Duration::from_secs(if options.short { 2 } else { 5 });
    let plan = Plan { only: options.only.as_deref(), times, others: times.div_ceil(2), lasts };
    for _ in 0..plan.others {
        quiet(world, &plan).await?;
    }
    if world.cluster.network.is_separate() {
        // While the log is young and its file must grow: later it lives on the space that it has.
        disk::full(world, &plan).await?;
    }
    for _ in 0..plan.times {
        kill_leader(world, &plan).await?;
        rolling_restart(world, &plan).await?;
    }
    for _ in 0..plan.others {
        kill_follower(world, &plan).await?;
        pause_leader(world, &plan).await?;
    }
    if world.cluster.network.is_separate() {
        for _ in 0..plan.others {
            cuts(world, &plan).await?;
        }
    } else {
        say("skipped: cuts, and a full disk");
    }
    clock::jumps(world, &plan).await?;
    disk::wiped(world, &plan).await?;
    no_quorum(world, &plan).await?;
    world.well().await?;
    world.close().await
}

/// Nothing happens: what the machine itself does to the times.
async fn quiet(world: &mut World, plan: &Plan<'_>) -> anyhow::Result<()> {
    const FAULT: &str = "none";
    if !plan.has(FAULT) {
        return Ok(());
    }
    world
        .episode(FAULT, Quorum::Kept, async |_| {
            hold(plan.lasts).await;
            Ok(())
        })
        .await
}

async fn kill_leader(world: &mut World, plan: &Plan<'_>) -> anyhow::Result<()> {
    const FAULT: &str = "leader killed (SIGKILL)";
    if !plan.has(FAULT) {
        return Ok(());
    }
    let leader = world.cluster.leader().await?;
    world.episode(FAULT, Quorum::Kept, async |world| kill(world, leader).await).await
}

async fn kill_follower(world: &mut World, plan: &Plan<'_>) -> anyhow::Result<()> {
    const FAULT: &str = "follower killed (SIGKILL)";
    if !plan.has(FAULT) {
        return Ok(());
    }
    let follower = world.cluster.follower().await?;
    world.episode(FAULT, Quorum::Kept, async |world| kill(world, follower).await).await
}

/// Kills a member, lets the others do without it for a moment, and starts it again.
async fn kill(world: &mut World, seat: usize) -> anyhow::Result<()> {
    world.cluster.take(seat)?.kill().await?;
    hold(Duration::from_secs(2)).await;
    world.cluster.start(seat, false)
}

async fn pause_leader(world: &mut World, plan: &Plan<'_>) -> anyhow::Result<()> {
    const FAULT: &str = "leader paused (SIGSTOP)";
    if !plan.has(FAULT) {
        return Ok(());
    }
    let leader = world.cluster.leader().await?;
    world
        .episode(FAULT, Quorum::Kept, async |world| {
            world.cluster.signal(leader, Signal::STOP)?;
            hold(plan.lasts).await;
            world.cluster.signal(leader, Signal::CONT)
        })
        .await
}

async fn cuts(world: &mut World, plan: &Plan<'_>) -> anyhow::Result<()> {
    let faults = [
        ("leader cut off", true, Cut::Both),
        ("leader can't receive", true, Cut::Receiving),
        ("leader can't send", true, Cut::Sending),
        ("follower cut off", false, Cut::Both),
    ];
    for (fault, leads, cut) in faults {
        if !plan.has(fault) {
            continue;
        }
        let seat = if leads { world.cluster.leader().await? } else { world.cluster.follower().await? };
        let host = world.cluster.seats[seat].host;
        world
            .episode(fault, Quorum::Kept, async |world| {
                world.cluster.network.cut(host, cut).await?;
                hold(plan.lasts).await;
                world.cluster.network.heal(host).await
            })
            .await?;
    }
    Ok(())
}

async fn rolling_restart(world: &mut World, plan: &Plan<'_>) -> anyhow::Result<()> {
    const FAULT: &str = "rolling restart (SIGTERM)";
    if !plan.has(FAULT) {
        return Ok(());
    }
    world
        .episode(FAULT, Quorum::Kept, async |world| {
            for seat in 0..SEATS {
                world.cluster.take(seat)?.terminate().await?;
                world.cluster.start(seat, false)?;
                world.cluster.whole().await?;
            }
            Ok(())
        })
        .await
}

/// All allocators are gone: draws go on with the ids at hand, are refused in order once those are used up, and go on by
/// themselves when the allocators are back.
async fn no_quorum(world: &mut World, plan: &Plan<'_>) -> anyhow::Result<()> {
    const FAULT: &str = "all allocators gone";
    if !plan.has(FAULT) {
        return Ok(());
    }
    world
        .episode(FAULT, Quorum::Lost, async |world| {
            for seat in 0..SEATS {
                world.cluster.take(seat)?.kill().await?;
            }
            let failed = world.ledger.failed();
            hold(WITHOUT_ALLOCATORS).await;
            let failures = world.ledger.failures(failed);
            if let Some(failure) = failures.first() {
                world.blame(format!("a draw failed although there was headroom: {}", failure.said));
            }
            world.load.hurry(true);
            until("every holder has used up its headroom", NOTICED_WITHIN, async || {
                let failures = world.ledger.failures(failed);
                (0..world.load.drawn().len()).all(|holder| failures.iter().any(|failure| failure.holder == holder))
            })
            .await?;
            world.load.hurry(false);
            for seat in 0..SEATS {
                world.cluster.start(seat, false)?;
            }
            let drawn = world.load.drawn();
            let recovered = until("every holder draws again", NOTICED_WITHIN, async || {
                world.load.drawn().iter().zip(&drawn).all(|(now, before)| now > before)
            });
            let recovered = recovered.await.context("the allocators are back")?;
            say(&format!(
                "         every holder drew again {} ms after the allocators were started",
                recovered.as_millis()
            ));
            Ok(())
        })
        .await
}
