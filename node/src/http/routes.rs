//! One module per resource.

pub(super) mod cluster;
pub(super) mod follow;
pub(super) mod health;
pub(super) mod home;
pub(super) mod ids;
pub(super) mod keys;
pub(super) mod links;
pub(super) mod namespaces;
pub(super) mod problems;
