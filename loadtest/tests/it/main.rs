//! The built program against a small server that lies on purpose, and against none: what it must find, it finds.

#![expect(clippy::unwrap_used, reason = "a test that panics is a test that fails")]

mod honest;
mod liar;
mod lies;
mod mistakes;
mod program;
