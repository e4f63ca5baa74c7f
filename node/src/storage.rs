//! Adapters of the storage ports. Nothing outside this module knows a database.

#[cfg(test)]
mod conformance;
pub mod sqlite;
