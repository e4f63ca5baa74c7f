//! The composition root: the only place that names concrete adapters.
//!
//! Each role has a file of its own; what they share is in `api` (the use cases behind a public port), `frontend` (ports
//! and the order of stopping) and `coordination` (the way to the allocators).

mod allocator;
mod api;
mod coordination;
mod dev;
mod frontend;
mod limits;
mod migrate;
mod serve;

use std::sync::Arc;
use std::time::Duration;

use crate::ports::clock::Clock;
use crate::ports::entropy::Entropy;
use crate::telemetry::LogLevel;
use crate::telemetry::traces::Traces;

pub use allocator::{AllocatorNode, start_allocator};
pub use coordination::allocators_client;
pub use dev::{DevNode, start_dev};
pub use migrate::migrate_database;
pub use serve::{ServeNode, start_serve};

pub use crate::storage::postgres::MigrateReport;

/// How long the stores may take to close.
const CLOSED_WITHIN: Duration = Duration::from_secs(5);

/// What a node is made of, besides its configuration.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
    /// The log filter, for the admin port.
    pub log_level: LogLevel,
    /// Where the spans of requests go.
    pub traces: Traces,
}
