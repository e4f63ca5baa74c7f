//! Keys and codes at their edges, and the codes that pin the layout.

use super::*;
use crate::CodeKey;

fn codec() -> KeyCodec {
    KeyCodec::new(&CodeKey::from_bytes(*b"pinned code key!"))
}

/// The code of each key under the test key, pinned: a change here means that every stored link changes its code.
/// Those of 7 and more characters were computed by another implementation of FF1, over OpenSSL.
const PINNED: &[(i64, &str)] = &[
    (1, "0"),
    (62, "z"),
    (63, "00"),
    (931_151_403, "000000"),
    (57_731_386_986, "zzzzzz"),
    (57_731_386_987, "0CwvAOB"),
    (57_731_386_988, "vkxjQ5g"),
    (3_579_345_993_194, "F0nPWzz"),
    (3_579_345_993_195, "wL8nnSPj"),
    (221_919_451_578_091, "uggYOuTTt"),
    (3_606_191_088_143_979, "YO2pONtSw"),
    (13_759_005_997_841_643, "Vkayy5ZZzj"),
    (853_058_371_866_181_866, "7tRbMj3MeX"),
    (-1, "00000000001"),
    (-62, "00000000010"),
    (-i64::MAX, "AzL8n0Y58m7"),
];

#[test]
fn codes_are_pinned() {
    for &(number, code) in PINNED {
        let key = Key::new(number).unwrap();
        assert_eq!(codec().code(key).as_str(), code, "{number}");
        assert_eq!(codec().key(code), Some(key), "{code}");
    }
}

#[test]
fn numbers_outside_the_domain_are_no_keys() {
    for number in [0, i64::MIN, Key::MAX.get() + 1, i64::MAX] {
        assert_eq!(Key::new(number), None);
        assert_eq!(Key::try_from(number), Err(NotAKey(number)));
    }
    assert_eq!(Key::MAX.get(), 853_058_371_866_181_866);
    assert_eq!(Key::new(Key::MIN.get()), Some(Key::MIN));
}

#[test]
fn snowflake_ids_are_the_negative_keys() {
    assert_eq!(Key::from_snowflake(0), None);
    assert_eq!(Key::from_snowflake(1 << 63), None);
    assert_eq!(Key::from_snowflake(u64::MAX), None);
    assert_eq!(Key::from_snowflake(7).map(Key::get), Some(-7));
    assert_eq!(Key::from_snowflake(i64::MAX.unsigned_abs()), Some(Key::MIN));
}

#[test]
fn eleven_characters_are_a_key_up_to_the_largest_snowflake_id() {
    assert_eq!(codec().place_alias("AzL8n0Y58m7"), AliasPlace::Key(Key::MIN));
    for outside in ["00000000000", "AzL8n0Y58m8", "LygHa16AHYF", "LygHa16AHYG", "zzzzzzzzzzz"] {
        assert_eq!(codec().place_alias(outside), AliasPlace::Table, "{outside}");
        assert_eq!(outside.parse::<Code>(), Err(NotACode));
    }
}

#[test]
fn what_is_no_code_goes_to_the_table() {
    let long = "a".repeat(64);
    for alias in ["", "my-link", "a_b", "000000000000", "sümmer", " a", "a\0", long.as_str()] {
        assert_eq!(codec().place_alias(alias), AliasPlace::Table, "{alias:?}");
    }
}

#[test]
fn a_code_travels_as_a_string() {
    let code: Code = "summer1".parse().unwrap();
    let bytes = postcard::to_allocvec(&code).unwrap();
    assert_eq!(bytes, postcard::to_allocvec("summer1").unwrap());
    assert_eq!(postcard::from_bytes(&bytes), Ok(code));
    assert!(postcard::from_bytes::<Code>(&postcard::to_allocvec("my-link").unwrap()).is_err());
    assert_eq!(format!("{code} {code:?} {code:>9}"), "summer1 Code(summer1)   summer1");
}

#[test]
fn the_codec_shows_nothing_of_its_key() {
    assert_eq!(format!("{:?}", codec()), "KeyCodec { .. }");
}
