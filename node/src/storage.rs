//! Adapters of the storage ports. Nothing outside this module knows a database.

pub mod absent;
mod click_sums;
#[cfg(test)]
mod conformance;
pub mod postgres;
pub mod sqlite;
#[cfg(test)]
#[path = "../tests/it/support/postgres.rs"]
pub(crate) mod test_postgres;
