//! The public port: routes, errors, and what every request passes through. The only module (with `admin`) that knows
//! axum.

pub mod error;
mod extract;
mod layers;
pub mod limits;
mod openapi;
mod pages;
mod router;
mod routes;
pub mod server;
pub mod state;

pub use openapi::document;
pub use router::router;
