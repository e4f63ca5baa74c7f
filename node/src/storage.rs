//! Adapters of the storage ports. Nothing outside this module knows a database.

pub mod sqlite;
