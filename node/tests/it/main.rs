//! Integration tests: the whole node, in process or as the real program, over real sockets, files and databases.

#![expect(clippy::unwrap_used, reason = "a test that panics is a test that fails")]

mod aliases;
mod api_keys;
mod bad_input;
mod bulk;
mod clicks;
mod cluster;
mod command_line;
mod crash;
mod create;
mod dashboards;
mod data_path;
mod decode;
mod documents;
mod fences;
mod follow;
mod ids;
mod limits;
mod links;
mod maelstrom;
mod namespaces;
mod operation;
mod qr;
mod real_urls;
mod roles;
mod snowflake;
mod startup;
mod support;
mod traces;
