//! The `stint` node.

pub mod cli;
pub mod client;
pub mod config;
pub mod ports;
pub mod telemetry;
