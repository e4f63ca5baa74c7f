//! FF1 against its published vectors, and the permutation of each length.

use super::*;

/// NIST's FF1 samples 1 to 3 (AES-128): radix, tweak, plain text, cipher text.
/// <https://csrc.nist.gov/CSRC/media/Projects/Cryptographic-Standards-and-Guidelines/documents/examples/FF1samples.pdf>
const NIST_KEY: &str = "2B7E151628AED2A6ABF7158809CF4F3C";
const NIST_SAMPLES: [(u32, &[u8], &str, &str); 3] = [
    (10, b"", "0123456789", "2433477484"),
    (10, b"9876543210", "0123456789", "6124200773"),
    (36, b"7777pqrs777", "0123456789abcdefghi", "a9tv40mll9kdu509eum"),
];

fn numerals(text: &str, radix: u32) -> Numerals {
    let (high, low) = text.split_at(text.len() / 2);
    let half = |text: &str| (u64::from_str_radix(text, radix).unwrap(), u32::try_from(text.len()).unwrap());
    Numerals::new(half(high), half(low))
}

fn key(text: &str) -> CodeKey {
    text.parse().unwrap()
}

#[test]
fn the_published_ff1_samples_hold_in_both_directions() {
    for (radix, tweak, plain, cipher) in NIST_SAMPLES {
        let ff1 = FF1::<Aes128Enc>::new(key(NIST_KEY).as_bytes(), radix).unwrap();
        let plain = numerals(plain, radix);
        let cipher = numerals(cipher, radix);
        assert_eq!(ff1.encrypt(tweak, &plain).unwrap().values(), cipher.values());
        assert_eq!(ff1.decrypt(tweak, &cipher).unwrap().values(), plain.values());
    }
}

#[test]
fn our_halves_give_what_the_crates_own_strings_give() {
    let code_key = key(NIST_KEY);
    let permutation = Permutation::new(&code_key);
    let ff1 = FF1::<Aes128Enc>::new(code_key.as_bytes(), RADIX).unwrap();
    for length in 7..=10 {
        for position in [0, 1, 61, 62, 123_456_789, power(length) / 4, power(length) - 1] {
            let mut digits = vec![0; length as usize];
            let mut rest = position;
            for digit in digits.iter_mut().rev() {
                *digit = u16::try_from(rest % 62).unwrap();
                rest /= 62;
            }
            let theirs: Vec<u16> = ff1.encrypt(&[], &fpe::ff1::FlexibleNumeralString::from(digits)).unwrap().into();
            let theirs = theirs.iter().fold(0, |value, &digit| value * 62 + u64::from(digit));
            assert_eq!(permutation.permute(length, position), theirs);
            assert_eq!(permutation.invert(length, theirs), position);
        }
    }
}

#[test]
fn another_key_gives_other_values() {
    let one = Permutation::new(&key(NIST_KEY));
    let other = Permutation::new(&key(&NIST_KEY.replace('F', "E")));
    let same = (0..100).filter(|&position| one.permute(7, position) == other.permute(7, position)).count();
    assert_eq!(same, 0);
}
