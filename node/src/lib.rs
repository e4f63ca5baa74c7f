//! The `stint` node.

pub mod cluster;
pub mod ports;
