//! Shorteners on Postgres, replicas and Redis: what each failure of these may do, and what it must not.

mod changes;
mod clicks;
mod failover;
mod refusals;
mod shared_cache;
mod slow;
mod sources;
