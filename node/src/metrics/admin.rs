//! What the admin port says of the node as a whole.

use metrics::{Gauge, Unit};

use super::Registry;

/// Metrics of the node as a whole.
#[derive(Clone, Debug)]
pub struct AdminMetrics {
    /// `stint_ready`
    pub ready: Gauge,
}

impl AdminMetrics {
    /// Registers them.
    pub fn new(registry: &Registry) -> Self {
        let help = "1 while requests are welcome, as /readyz says, which also says what is missing.";
        Self { ready: registry.plain_gauge("stint_ready", Unit::Count, help) }
    }
}
