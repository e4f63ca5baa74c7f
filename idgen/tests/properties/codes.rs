//! Keys and codes are one to one, and consecutive ids give codes without a visible order.

use proptest::prelude::*;
use stint_idgen::{AliasPlace, CodeKey, Key, KeyCodec, Lane};

fn codec() -> KeyCodec {
    KeyCodec::new(&CodeKey::from_bytes(*b"a key for tests!"))
}

fn key(number: i64) -> Key {
    Key::new(number).expect("the test's numbers are keys")
}

/// The first and the last key of each positive length.
fn edges() -> Vec<i64> {
    let starts = (1..=11).scan(1_i64, |start, length| {
        let this = *start;
        *start += if length <= 10 { 62_i64.pow(length) } else { 0 };
        Some(this)
    });
    starts.flat_map(|start| [start - 1, start, start + 1]).collect()
}

/// Keys of every length alike: a random number would nearly always be one of the longest.
fn any_key() -> impl Strategy<Value = Key> {
    let positive = (1_u32..=63, any::<u64>()).prop_map(|(bits, random)| (random >> (64 - bits)).cast_signed());
    let negative = positive.clone().prop_map(|number| -number);
    prop_oneof![positive, negative, prop::sample::select(edges())].prop_filter_map("no key", Key::new)
}

proptest! {
    #[test]
    fn a_key_comes_back_from_its_code(key in any_key()) {
        let code = codec().code(key);
        prop_assert_eq!(codec().key(code.as_str()), Some(key));
        prop_assert_eq!(code.as_str().parse(), Ok(code));
        prop_assert_eq!(codec().place_alias(code.as_str()), AliasPlace::Key(key));
    }

    #[test]
    fn a_text_of_base62_characters_comes_back_from_its_key(text in "[0-9A-Za-z]{1,11}") {
        match codec().key(&text) {
            Some(key) => prop_assert_eq!(codec().code(key).to_string(), text),
            None => prop_assert!(text.len() == 11 && text.as_str() > "AzL8n0Y58m7" || text == "00000000000"),
        }
    }

    #[test]
    fn eleven_characters_up_to_the_largest_id_are_snowflake_keys(id in 1..=i64::MAX.unsigned_abs()) {
        let key = Key::from_snowflake(id).expect("ids of up to 63 bits are keys");
        prop_assert_eq!(key.get(), -id.cast_signed());
        prop_assert_eq!(codec().key(codec().code(key).as_str()), Some(key));
        prop_assert_eq!(codec().code(key).as_str().len(), 11);
    }

    #[test]
    fn every_text_is_placed_and_only_codes_are_keys(alias in any::<String>()) {
        let is_key = codec().place_alias(&alias) != AliasPlace::Table;
        prop_assert!(!is_key || alias.bytes().all(|byte| byte.is_ascii_alphanumeric()) && alias.len() <= 11);
    }

    #[test]
    fn aliases_of_other_characters_or_more_of_them_go_to_the_table(alias in "[0-9A-Za-z]{0,31}[-_][0-9A-Za-z_-]{0,32}|[0-9A-Za-z]{12,64}") {
        prop_assert_eq!(codec().place_alias(&alias), AliasPlace::Table);
    }

    #[test]
    fn snowflake_codes_are_in_the_order_of_their_ids(one in 1..i64::MAX.unsigned_abs(), other in 1..i64::MAX.unsigned_abs()) {
        let code = |id| codec().code(Key::from_snowflake(id).expect("the id has 63 bits"));
        prop_assert_eq!(code(one).as_str().cmp(code(other).as_str()), one.cmp(&other));
    }
}

#[test]
fn every_edge_key_has_a_code_of_its_length() {
    for number in edges().into_iter().filter(|&number| (1..=Key::MAX.get()).contains(&number)) {
        let code = codec().code(key(number));
        let first_of_longer =
            (1..=code.as_str().len()).fold(1_i64, |sum, length| sum + 62_i64.pow(u32::try_from(length).unwrap()));
        assert!(number < first_of_longer, "{number} {code}");
        assert_eq!(codec().key(code.as_str()), Some(key(number)));
    }
}

/// 62·500 consecutive ids, as one node would issue them.
fn consecutive_codes() -> Vec<String> {
    (0..62 * 500)
        .map(|counter| codec().code(Lane::Raft.key(counter).expect("the lane holds more")).to_string())
        .collect()
}

#[test]
fn each_character_of_consecutive_codes_is_uniform() {
    let codes = consecutive_codes();
    for place in 0..7 {
        let mut counts = [0_i32; 256];
        for code in &codes {
            counts[usize::from(code.as_bytes()[place])] += 1;
        }
        let seen: Vec<f64> = counts.iter().filter(|&&count| count > 0).map(|&count| f64::from(count)).collect();
        let chi_square: f64 = seen.iter().map(|count| (count - 500.0).powi(2) / 500.0).sum();
        // 61 degrees of freedom: above 122 or below 25 with a chance of 1 in 100,000.
        assert!(seen.len() == 62 && (25.0..122.0).contains(&chi_square), "place {place}: {chi_square}");
    }
}

#[test]
fn neighbours_share_no_run_of_a_prefix() {
    let codes = consecutive_codes();
    let common = |pair: &[String]| pair[0].bytes().zip(pair[1].bytes()).take_while(|(one, other)| one == other).count();
    let runs: Vec<usize> = codes.windows(2).map(common).collect();
    // By chance: a first character in common once in 62 pairs (500 of 31,000), three about once in 8 such runs.
    let shared = runs.iter().filter(|&&run| run > 0).count();
    assert!((400..600).contains(&shared), "{shared} neighbours begin alike");
    assert!(runs.iter().all(|&run| run <= 3), "{:?} characters in common", runs.iter().max());
    let ascending = codes.windows(2).filter(|pair| pair[0] < pair[1]).count();
    assert!((15_000..16_000).contains(&ascending), "{ascending} neighbours ascend");
}
