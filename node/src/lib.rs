//! The `stint` node.

pub mod ports;
