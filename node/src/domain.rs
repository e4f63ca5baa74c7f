//! Validated values: what a link is made of. No I/O, no framework; only the standard library, `idgen` and parsers.

pub mod access;
pub mod alias;
pub mod label;
pub mod link;
pub mod rate;
pub mod target_url;
pub mod timestamp;
