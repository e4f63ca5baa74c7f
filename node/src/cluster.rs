//! The allocator's consensus group: openraft around `idgen`'s state machine, over a redb log.
//!
//! openraft is named nowhere else. What leaves this module is [`group::Group`], an implementation of
//! [`crate::ports::coordination::Allocator`].

pub mod audit;
mod bootstrap;
mod codec;
pub mod disk;
#[doc(hidden)]
pub mod fuzz;
pub mod group;
pub mod log_store;
pub mod member;
mod message;
pub mod network;
pub mod remote;
pub mod rpc;
pub mod state_machine;
mod timeline;
pub mod transport;
pub mod types;

#[cfg(test)]
mod testing;
