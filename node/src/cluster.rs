//! The allocator's consensus group: openraft around `idgen`'s state machine, over a redb log.
//!
//! openraft is named nowhere else. What leaves this module is [`group::Group`], an implementation of
//! [`crate::ports::coordination::Allocator`].

mod codec;
pub mod group;
pub mod log_store;
pub mod network;
pub mod state_machine;
pub mod types;

#[cfg(test)]
mod testing;
