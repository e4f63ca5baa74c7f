//! What happens to the data of one member: its disk is full, or its volume is gone.

use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;

use super::Plan;
use crate::cluster::SMALL_DISK;
use crate::network::run;
use crate::pace::{hold, until};
use crate::world::{Quorum, World};

/// How long a member may take to step aside.
const ASIDE_WITHIN: Duration = Duration::from_secs(20);

/// The leader's disk is full: it steps aside and says why, and comes back once there is space.
pub(super) async fn full(world: &mut World, plan: &Plan<'_>) -> anyhow::Result<()> {
    const FAULT: &str = "leader's disk full";
    if !plan.has(FAULT) {
        return Ok(());
    }
    world.well().await?;
    world.cluster.lead(SMALL_DISK).await?;
    world
        .episode(FAULT, Quorum::Kept, async |world| {
            let disk = world.cluster.seats[SMALL_DISK].data.parent().context("it has a disk")?.to_owned();
            let filler = disk.join("filler");
            fill(&filler)?;
            let mut member = world.cluster.take(SMALL_DISK)?;
            until("the member with the full disk ends", ASIDE_WITHIN, async || member.has_ended()).await?;
            let log = std::fs::read_to_string(&world.cluster.seats[SMALL_DISK].log)?;
            if !log.contains("No space left on device") {
                world.blame(format!("{FAULT}: the log does not say so"));
            }
            hold(plan.lasts).await;
            std::fs::remove_file(&filler)?;
            world.cluster.start(SMALL_DISK, false)
        })
        .await
}

/// Writes until the disk takes no more.
fn fill(filler: &Path) -> anyhow::Result<()> {
    let mut file = std::fs::File::create(filler)?;
    for size in [1 << 16, 1] {
        let zeros = vec![0; size];
        while file.write_all(&zeros).is_ok() {}
    }
    Ok(())
}

/// A member's volume is gone: founding a group again is refused with what to do instead, and that works.
pub(super) async fn wiped(world: &mut World, plan: &Plan<'_>) -> anyhow::Result<()> {
    const FAULT: &str = "follower's volume wiped";
    if !plan.has(FAULT) {
        return Ok(());
    }
    let seat = world.cluster.follower().await?;
    world
        .episode(FAULT, Quorum::Kept, async |world| {
            world.cluster.take(seat)?.kill().await?;
            let data = world.cluster.seats[seat].data.clone();
            std::fs::remove_dir_all(&data)?;
            world.cluster.start(seat, true)?;
            let status = world.cluster.take(seat)?.ended().await?;
            let lost = world.cluster.seats[seat].node_id;
            let log = std::fs::read_to_string(&world.cluster.seats[seat].log)?;
            let told =
                format!("run `stint cluster remove {lost}`, start this node with a --node-id that was never used");
            if status.success() || !log.contains(&told) {
                world.blame(format!("{FAULT}: --bootstrap was not refused with what to do ({status})"));
            }
            // As it was told.
            ask(world, &format!("remove {lost}")).await?;
            std::fs::remove_dir_all(&data)?;
            let node_id = world.cluster.new_number();
            world.cluster.seats[seat].node_id = node_id;
            world.cluster.start(seat, false)?;
            let address = world.cluster.address(seat);
            let added = format!("add {node_id}={address}");
            until("the new member is there", ASIDE_WITHIN, async || ask(world, &added).await.is_ok()).await.map(drop)
        })
        .await
}

/// `stint cluster …`, as an operator asks it.
async fn ask(world: &World, words: &str) -> anyhow::Result<String> {
    let (variable, secret) = crate::cluster::Cluster::secret();
    let stint = world.cluster.program().display();
    let allocators = world.cluster.addresses();
    run(&format!("env {variable}={secret} {stint} cluster {words} --allocators {allocators}")).await
}
