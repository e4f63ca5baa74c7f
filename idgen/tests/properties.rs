//! Properties: what must hold for every key, every text and every sequence of commands.

#[path = "properties/allocator.rs"]
mod allocator;
#[path = "properties/audit.rs"]
mod audit;
#[path = "properties/codes.rs"]
mod codes;
#[path = "properties/lanes.rs"]
mod lanes;
#[path = "properties/workers.rs"]
mod workers;
