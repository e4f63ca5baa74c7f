//! What a stream entry holds: one chunk, as versioned bytes. Anything else is told apart, never guessed at.

use serde::{Deserialize, Serialize};
use stint_idgen::Key;

use crate::ports::click_store::{ChunkId, ClickChunk, Day};

/// The version written, and the only one read.
const VERSION: u8 = 1;
/// Pairs of link and day in one chunk at most, so that an entry stays below 25 kB.
pub(super) const MAX_PAIRS: usize = 1024;
/// Clicks of one pair at most: more than any node redirects between two chunks.
const MAX_CLICKS: u64 = u32::MAX as u64;

/// A chunk in Postcard: varints, small where numbers are small.
#[derive(Debug, Serialize, Deserialize)]
struct Wire {
    process: u128,
    seq: u64,
    clicks: Vec<(i64, i32, u64)>,
}

/// Why bytes are no chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unreadable {
    /// They are damaged.
    Damaged,
    /// Another version of Stint wrote them.
    OtherVersion,
}

pub(super) fn encode(chunk: &ClickChunk) -> Vec<u8> {
    let clicks = chunk.clicks.iter().map(|(key, day, clicks)| (key.get(), day.0, *clicks)).collect();
    let wire = Wire { process: chunk.id.process, seq: chunk.id.seq, clicks };
    postcard::to_extend(&wire, vec![VERSION]).expect("numbers always fit into a growing vector")
}

pub(super) fn decode(bytes: &[u8]) -> Result<ClickChunk, Unreadable> {
    let (version, rest) = bytes.split_first().ok_or(Unreadable::Damaged)?;
    if *version != VERSION {
        return Err(Unreadable::OtherVersion);
    }
    let (wire, rest) = postcard::take_from_bytes::<Wire>(rest).map_err(|_| Unreadable::Damaged)?;
    let clicks: Option<Vec<_>> = wire.clicks.into_iter().map(pair).collect();
    let clicks = clicks.ok_or(Unreadable::Damaged)?;
    let sorted = clicks.is_sorted_by(|one, next| (one.0, one.1) < (next.0, next.1));
    let seq_fits = wire.seq >= 1 && i64::try_from(wire.seq).is_ok();
    if !rest.is_empty() || clicks.len() > MAX_PAIRS || !sorted || !seq_fits {
        return Err(Unreadable::Damaged);
    }
    Ok(ClickChunk { id: ChunkId { process: wire.process, seq: wire.seq }, clicks })
}

fn pair((key, day, clicks): (i64, i32, u64)) -> Option<(Key, Day, u64)> {
    let clicks = (1..=MAX_CLICKS).contains(&clicks).then_some(clicks)?;
    Some((Key::new(key)?, Day::new(day)?, clicks))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(clicks: &[(i64, i32, u64)]) -> ClickChunk {
        let clicks = clicks.iter().map(|(key, day, clicks)| (Key::new(*key).unwrap(), Day(*day), *clicks)).collect();
        ClickChunk { id: ChunkId { process: u128::MAX - 5, seq: 77 }, clicks }
    }

    #[test]
    fn a_chunk_comes_back_as_it_was() {
        let pairs = [(Key::MIN.get(), 0, 1), (-1, 20_000, MAX_CLICKS), (1, 0, 1), (Key::MAX.get(), 2_932_896, 9)];
        for chunk in [chunk(&[]), chunk(&pairs), chunk(&pairs[1..2])] {
            assert_eq!(decode(&encode(&chunk)), Ok(chunk));
        }
    }

    #[test]
    fn what_is_cut_off_or_goes_on_is_damaged() {
        let mut bytes = encode(&chunk(&[(5, 20_000, 3), (6, 20_000, 1)]));
        for length in 0..bytes.len() {
            assert_eq!(decode(&bytes[..length]), Err(Unreadable::Damaged), "{length} bytes");
        }
        bytes.push(0);
        assert_eq!(decode(&bytes), Err(Unreadable::Damaged));
    }

    #[test]
    fn numbers_that_make_no_sense_are_damaged() {
        for wrong in [[(5, 1, 0); 1].as_slice(), &[(5, 1, MAX_CLICKS + 1)], &[(5, -1, 1)], &[(6, 1, 1), (5, 1, 1)]] {
            assert_eq!(decode(&encode(&chunk(wrong))), Err(Unreadable::Damaged), "{wrong:?}");
        }
        let repeated = encode(&chunk(&[(5, 1, 1), (5, 1, 1)]));
        assert_eq!(decode(&repeated), Err(Unreadable::Damaged));
        let unnumbered = ClickChunk { id: ChunkId { process: 1, seq: 0 }, clicks: Vec::new() };
        assert_eq!(decode(&encode(&unnumbered)), Err(Unreadable::Damaged));
    }

    #[test]
    fn another_version_is_told_from_damage() {
        let mut bytes = encode(&chunk(&[(5, 1, 1)]));
        bytes[0] = VERSION + 1;
        assert_eq!(decode(&bytes), Err(Unreadable::OtherVersion));
    }
}
