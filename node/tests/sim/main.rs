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
    let seeds = match seeds::variable("STINT_SIM_SEED") {
        Some(seed) => seed..=seed,
        None => 1..=seeds::variable("STINT_SIM_SEEDS").unwrap_or(SEEDS),
    };
    seeds::run_all(seeds, |seed| {
        let outcome = seeds::hold(seed)?;
        println!("seed {seed}: {} events in {:.1} s, trace {:016x}", outcome.trace.0, outcome.elapsed.as_secs_f64(), outcome.trace.1);
        Ok(())
    });
}

#[test]
fn a_seed_has_one_trace() {
    // Other seeds than above: each run counts.
    seeds::run_all(1_000_001..=1_000_000 + REPLAYED, |seed| {
        let (first, second) = (seeds::hold(seed)?.trace, seeds::hold(seed)?.trace);
        if first == second { Ok(()) } else { Err(format!("one run is {first:?}, the next {second:?}")) }
    });
}
