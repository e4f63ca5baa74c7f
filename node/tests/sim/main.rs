//! Deterministic simulation of the allocators' cluster: a seed decides everything that goes wrong, and a failure is
//! replayed by its seed.
//!
//! The real members, RPC, holders and state machine run over a simulated network, disk and clock. `docs/testing.md` says
//! what is left out.

mod allocators;
mod clock;
mod disk;
mod history;
mod holders;
mod invariants;
mod nemesis;
mod network;
mod operator;
mod plan;
mod random;
mod raw;
mod seeds;
mod world;

/// How many seeds are run unless `STINT_SIM_SEEDS` says otherwise.
const SEEDS: u64 = 50;
/// How many seeds are run twice.
const REPLAYED: u64 = 2;

#[test]
fn every_seed_keeps_every_invariant() {
    if let Some(seed) = seeds::this_one() {
        println!("\n{}", seeds::run_here(seed));
        return;
    }
    seeds::all(1..=seeds::wanted().unwrap_or(SEEDS), |seed| {
        println!("{}", seeds::run_apart(seed)?);
        Ok(())
    });
}

#[test]
fn a_seed_has_one_trace() {
    // Other seeds than above: each run counts.
    seeds::all(1_000_001..=1_000_000 + REPLAYED, |seed| {
        let (first, second) = (seeds::run_apart(seed)?, seeds::run_apart(seed)?);
        if first == second { Ok(()) } else { Err(format!("one run says {first:?}, the next {second:?}")) }
    });
}
