//! Base62 numbers of a fixed width: `0-9A-Za-z`, the digit's value being its place in the alphabet, most significant
//! digit first.
//!
//! Strict in both directions: leading zeros count, nothing is trimmed, nothing wraps.

/// The digits in the order of their values.
pub const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// How many digits there are.
pub const RADIX: u64 = 62;

const NOT_A_DIGIT: u8 = u8::MAX;

/// The value of each byte as a digit.
const VALUES: [u8; 256] = {
    let mut values = [NOT_A_DIGIT; 256];
    let mut value = 0;
    while value < 62 {
        values[ALPHABET[value as usize] as usize] = value;
        value += 1;
    }
    values
};

/// A number needs more digits than there is room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{value} does not fit into {width} Base62 digits")]
pub struct TooWide {
    /// The number.
    pub value: u64,
    /// The room, in digits.
    pub width: usize,
}

/// Writes `value` over the whole of `out`, with leading zeros.
///
/// # Errors
/// [`TooWide`] if the value is `62^out.len()` or more; what `out` then holds is of no use.
pub fn encode(value: u64, out: &mut [u8]) -> Result<(), TooWide> {
    let width = out.len();
    let mut rest = value;
    for slot in out.iter_mut().rev() {
        *slot = ALPHABET[(rest % RADIX) as usize];
        rest /= RADIX;
    }
    if rest == 0 { Ok(()) } else { Err(TooWide { value, width }) }
}

/// `value` in as few digits as it takes, at least one.
pub fn shortest(mut value: u64) -> String {
    // 62^11 is above 2^64.
    let mut digits = [ALPHABET[0]; 11];
    let mut first = digits.len();
    loop {
        first -= 1;
        digits[first] = ALPHABET[(value % RADIX) as usize];
        value /= RADIX;
        if value == 0 {
            return digits[first..].iter().copied().map(char::from).collect();
        }
    }
}

/// The value of `digits`; `None` if they are none, if one is outside the alphabet, or past `u64::MAX`.
pub fn decode(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |value, &byte| value.checked_mul(RADIX)?.checked_add(u64::from(digit(byte)?)))
}

/// The value of one digit; `None` for a byte outside the alphabet.
pub const fn digit(byte: u8) -> Option<u8> {
    match VALUES[byte as usize] {
        NOT_A_DIGIT => None,
        value => Some(value),
    }
}

/// `62^exponent`: how many strings have that many digits. Exponents past 10 do not fit and fail to compile in constants.
pub(crate) const fn power(exponent: u32) -> u64 {
    RADIX.pow(exponent)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(value: u64, width: usize) -> String {
        let mut out = vec![0; width];
        encode(value, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn digits_are_valued_by_their_place_in_the_alphabet() {
        for (value, &byte) in ALPHABET.iter().enumerate() {
            assert_eq!(digit(byte).map(usize::from), Some(value));
        }
        assert_eq!((0..=u8::MAX).filter_map(digit).count(), ALPHABET.len());
    }

    #[test]
    fn numbers_are_written_big_endian_with_leading_zeros() {
        assert_eq!(encoded(0, 7), "0000000");
        assert_eq!(encoded(61, 2), "0z");
        assert_eq!(encoded(62, 2), "10");
        assert_eq!(encoded(u64::MAX, 11), "LygHa16AHYF");
    }

    #[test]
    fn a_number_with_too_many_digits_is_refused() {
        assert_eq!(encode(62, &mut [0; 1]), Err(TooWide { value: 62, width: 1 }));
        assert_eq!(encode(1, &mut []), Err(TooWide { value: 1, width: 0 }));
        assert!(encode(power(10) - 1, &mut [0; 10]).is_ok());
        assert!(encode(power(10), &mut [0; 10]).is_err());
    }

    #[test]
    fn what_is_no_number_is_refused() {
        for bad in ["", "-", "_", "a b", "é", "0\0", "LygHa16AHYG", "zzzzzzzzzzz", "1LygHa16AHYF"] {
            assert_eq!(decode(bad.as_bytes()), None, "{bad:?}");
        }
        assert_eq!(decode(b"LygHa16AHYF"), Some(u64::MAX));
        assert_eq!(decode(b"000000000000000000000000001"), Some(1));
    }
}
