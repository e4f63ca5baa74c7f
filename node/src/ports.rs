//! What the use cases need from the outside: traits and their errors. No port knows a backend.

pub mod clock;
pub mod coordination;
pub mod entropy;
