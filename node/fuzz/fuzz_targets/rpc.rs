//! Any bytes as each of the messages between allocators, holders and operators.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| stint::cluster::fuzz::decode_rpc(bytes));
