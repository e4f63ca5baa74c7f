//! Lanes are disjoint, cover what they should, and end without wrapping.

use proptest::prelude::*;
use stint_idgen::{Key, Lane};

/// The counters at which a lane's codes become longer, and its end.
const ENDS: [u64; 4] = {
    let shares = [62_u64.pow(7) / 4, 62_u64.pow(8) / 4, 62_u64.pow(9) / 4, 62_u64.pow(10) / 4];
    let two = shares[0] + shares[1];
    [shares[0], two, two + shares[2], two + shares[2] + shares[3]]
};

fn any_lane() -> impl Strategy<Value = Lane> {
    prop::sample::select(Lane::ALL.to_vec())
}

fn any_counter() -> impl Strategy<Value = u64> {
    prop_oneof![0..ENDS[0], 0..ENDS[1], 0..Lane::CAPACITY, prop::sample::select(ENDS.to_vec()), any::<u64>()]
}

proptest! {
    #[test]
    fn a_counter_comes_back_from_its_key(lane in any_lane(), counter in any_counter()) {
        match lane.key(counter) {
            Some(key) => prop_assert_eq!(Lane::locate(key), Some((lane, counter))),
            None => prop_assert!(counter >= Lane::CAPACITY),
        }
    }

    #[test]
    fn a_key_of_seven_to_ten_characters_belongs_to_exactly_one_lane(number in 57_731_386_987..=Key::MAX.get()) {
        let key = Key::new(number).expect("the range is of keys");
        let (lane, counter) = Lane::locate(key).expect("longer keys lie in a lane");
        prop_assert_eq!(lane.key(counter), Some(key));
    }

    #[test]
    fn other_keys_belong_to_none(number in -i64::MAX..57_731_386_987_i64) {
        prop_assert_eq!(Key::new(number).and_then(Lane::locate), None);
    }

    #[test]
    fn keys_of_a_lane_rise_with_their_counters(lane in any_lane(), one in any_counter(), other in any_counter()) {
        if let (Some(key), Some(other_key)) = (lane.key(one), lane.key(other)) {
            prop_assert_eq!(key.cmp(&other_key), one.cmp(&other));
        }
    }
}

#[test]
fn lanes_end_without_wrapping() {
    assert_eq!(ENDS[3], Lane::CAPACITY);
    for lane in Lane::ALL {
        for end in ENDS {
            let last = lane.key(end - 1).expect("the end is within the lane");
            assert_eq!(Lane::locate(last), Some((lane, end - 1)));
            assert_eq!(lane.key(end).is_none(), end == Lane::CAPACITY);
        }
        assert_eq!(lane.key(u64::MAX), None);
    }
}

#[test]
fn the_four_lanes_fill_each_length_side_by_side() {
    for (index, end) in ENDS.into_iter().enumerate() {
        let start = if index == 0 { 0 } else { ENDS[index - 1] };
        for pair in Lane::ALL.windows(2) {
            let last = pair[0].key(end - 1).unwrap().get();
            assert_eq!(pair[1].key(start).unwrap().get(), last + 1);
        }
        let next_length = Lane::Raft.key(end).map_or(Key::MAX.get() + 1, Key::get);
        assert_eq!(Lane::Reserved.key(end - 1).unwrap().get() + 1, next_length);
    }
}
