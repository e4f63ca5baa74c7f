//! The `stint` node: everything around the pure rules of `stint_idgen`.
//!
//! - [`domain`]: validated values
//! - [`ports`]: what the use cases need from the outside
//! - [`service`]: the use cases, over ports
//! - [`storage`], [`cache`], [`ids`], [`clicks`], [`limits`], [`cluster`]: adapters of the ports, some over [`redis_server`]
//! - [`http`], [`admin`], [`tasks`]: the ways in
//! - [`client`]: the commands that talk to a server over HTTP
//! - [`config`], [`cli`], [`telemetry`], [`metrics`], [`lifecycle`], [`data_dir`]: the frame
//! - [`app`]: the composition root, the only place that names concrete adapters

pub mod admin;
pub mod app;
pub mod cache;
pub mod cli;
pub mod clicks;
pub mod client;
pub mod cluster;
pub mod config;
pub mod data_dir;
pub mod domain;
pub mod http;
pub mod ids;
pub mod lifecycle;
pub mod limits;
pub mod metrics;
pub mod ports;
pub mod redis_server;
pub mod service;
pub mod storage;
pub mod tasks;
pub mod telemetry;
