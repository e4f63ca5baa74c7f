//! What must be true of answers, codes, ids and counts. Nothing here talks to a server.

pub(crate) mod aliases;
pub(crate) mod answer;
pub(crate) mod counts;
pub(crate) mod fault;
pub(crate) mod id_set;
pub(crate) mod ledger;
pub(crate) mod metrics;
pub(crate) mod thresholds;
