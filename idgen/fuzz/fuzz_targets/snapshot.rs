//! Any bytes as a snapshot of the allocator's state, and as a command, its stamp and its reply.
//!
//! What is accepted keeps the state's rules, takes commands without a panic, and comes back the same.
#![no_main]

use stint_idgen::allocator::{Command, Reply, Stamped, State};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = (Command::decode(bytes), Reply::decode(bytes));
    if let Ok(mut state) = State::decode(bytes) {
        let encoded = state.encode();
        assert_eq!(State::decode(&encoded).expect("it was encoded").encode(), encoded);
        let at_ms = state.clock_ms();
        state.apply(&Stamped { at_ms, command: Command::RaiseTimeline { timeline: 1 } });
        State::decode(&state.encode()).expect("a state that was accepted stays one");
    }
    // The first half as a state, the second as a command for it.
    let (left, right) = bytes.split_at(bytes.len() / 2);
    if let (Ok(mut state), Ok(stamped)) = (State::decode(left), Stamped::decode(right)) {
        state.apply(&stamped);
        State::decode(&state.encode()).expect("a command leaves a state that can be read");
    }
});
