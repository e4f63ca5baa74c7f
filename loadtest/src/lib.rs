//! Load tests of Stint that check every answer, not only timings.
//!
//! - [`cli`]: the command line
//! - [`session`]: one run from the first check to the verdict, and the smoke test
//! - [`report`]: the verdict as JSON
//! - `targets`: where the servers are, and whether they can be used at all
//! - `wire`: requests and answers of the API, as bytes and JSON
//! - `run`: what all users of a run share: links, counts, times
//! - `scenarios`: what a user does
//! - `verify`: what must be true of answers, codes, ids and counts
//! - `look`: the servers' memory and headroom under load
//! - `attack`: the load itself, made by goose
//!
//! The wire is the contract: nothing of the server's code is used here, only the rules of `idgen`.

pub mod cli;
pub mod report;
pub mod session;

mod attack;
mod look;
mod run;
mod scenarios;
mod targets;
mod verify;
mod wire;
mod zipf;
