//! The `stint` node.

pub mod cli;
pub mod config;
pub mod ports;
pub mod telemetry;
