//! The `stint` node.

pub mod config;
pub mod ports;
pub mod telemetry;
