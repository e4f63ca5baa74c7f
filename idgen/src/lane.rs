//! Lanes: each source of ids draws from its own quarter of every code length, so two sources never issue one key.
//!
//! The positions of length `L` (7 to 10) are cut into 4 equal parts: `p = lane·62^L/4 + c_L`, where `c_L` is the lane's
//! counter less what the shorter lengths held. Past the last length there is nothing: no counter wraps.

use crate::base62::power;
use crate::key::{Key, KeyPlace, PERMUTED_LENGTHS};

const LANES: u64 = 4;

/// A source's share of the keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Lane {
    /// Ranges of the Raft-coordinated allocator.
    Raft = 0,
    /// Blocks counted in Redis, fenced by Postgres.
    Redis = 1,
    /// Blocks counted in Postgres.
    Postgres = 2,
    /// Kept for a source to come.
    Reserved = 3,
}

impl Lane {
    /// Every lane, by number.
    pub const ALL: [Self; 4] = [Self::Raft, Self::Redis, Self::Postgres, Self::Reserved];

    /// How many ids a lane holds; its counters are `0..CAPACITY`.
    pub const CAPACITY: u64 = share(7) + share(8) + share(9) + share(10);

    /// The lane's number, as it is stored.
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// The lane of a stored number.
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }

    /// The key of the lane's id number `counter`, from 0; `None` past the lane's last id.
    pub fn key(self, counter: u64) -> Option<Key> {
        let mut rest = counter;
        for length in PERMUTED_LENGTHS {
            if rest < share(length) {
                return Some(Key::at(length, u64::from(self.number()) * share(length) + rest));
            }
            rest -= share(length);
        }
        None
    }

    /// The lane and counter that give `key`; `None` for a key that no lane gives (short, or a Snowflake id).
    pub fn locate(key: Key) -> Option<(Self, u64)> {
        let KeyPlace::Positive { length, position } = key.place() else { return None };
        if !PERMUTED_LENGTHS.contains(&length) {
            return None;
        }
        let lane = usize::try_from(position / share(length)).ok()?;
        let shorter: u64 = (*PERMUTED_LENGTHS.start()..length).map(share).sum();
        Some((Self::ALL[lane], shorter + position % share(length)))
    }

    /// How much of the lane's 7-character part lies below `counter`: 0.0 to 1.0. At 1.0 codes have grown longer.
    #[expect(clippy::cast_precision_loss, reason = "both numbers are below 2^40, far from the 53 bits of an f64")]
    pub fn used_ratio(counter: u64) -> f64 {
        counter.min(share(7)) as f64 / share(7) as f64
    }
}

/// How many ids a lane has among the codes of `length`.
const fn share(length: u32) -> u64 {
    power(length) / LANES
}

const _: () = {
    let mut length = *PERMUTED_LENGTHS.start();
    while length <= *PERMUTED_LENGTHS.end() {
        assert!(power(length).is_multiple_of(LANES), "lanes must be equal and fill their length");
        length += 1;
    }
    assert!(Lane::ALL.len() as u64 == LANES);
    assert!(*PERMUTED_LENGTHS.start() == 7 && *PERMUTED_LENGTHS.end() == 10, "CAPACITY adds up these lengths");
    assert!(share(7) < 1 << 40);
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lane_sizes_are_pinned() {
        assert_eq!(share(7), 880_403_651_552);
        assert_eq!(Lane::CAPACITY, 213_264_578_533_698_720);
    }

    #[test]
    fn each_lane_begins_at_its_quarter_of_seven_characters() {
        let first: Vec<_> = Lane::ALL.iter().map(|lane| lane.key(0).unwrap().get()).collect();
        assert_eq!(first, [57_731_386_987, 938_135_038_539, 1_818_538_690_091, 2_698_942_341_643]);
    }

    #[test]
    fn a_counter_past_the_last_id_has_no_key() {
        for lane in Lane::ALL {
            assert!(lane.key(Lane::CAPACITY - 1).is_some());
            assert_eq!(lane.key(Lane::CAPACITY), None);
            assert_eq!(lane.key(u64::MAX), None);
        }
        assert_eq!(Lane::Reserved.key(Lane::CAPACITY - 1), Some(Key::MAX));
    }

    #[test]
    fn short_and_snowflake_keys_lie_in_no_lane() {
        for number in [1, 57_731_386_986, -1, -i64::MAX] {
            assert_eq!(Lane::locate(Key::new(number).unwrap()), None);
        }
    }

    #[test]
    fn the_used_ratio_runs_from_nothing_to_all_of_the_seven_character_part() {
        let percents = [0, share(7) / 4, share(7), Lane::CAPACITY, u64::MAX]
            .map(|counter| format!("{:.3} %", Lane::used_ratio(counter) * 100.0));
        assert_eq!(percents, ["0.000 %", "25.000 %", "100.000 %", "100.000 %", "100.000 %"]);
    }

    #[test]
    fn numbers_name_lanes() {
        for lane in Lane::ALL {
            assert_eq!(Lane::from_number(lane.number()), Some(lane));
        }
        assert_eq!(Lane::from_number(4), None);
    }
}
