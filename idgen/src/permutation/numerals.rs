//! A numeral string as FF1 works on it, kept as the numbers of its two halves.
//!
//! `fpe` brings a string type of its own, which allocates big integers in each of the ten rounds; halves of up to
//! 64 bits need none.

use fpe::ff1::{NumeralString, Operations};

/// The two halves of a numeral string, most significant first.
pub(super) struct Numerals {
    high: Half,
    low: Half,
}

/// A number of `count` numerals.
#[derive(Clone, Copy)]
pub(super) struct Half {
    value: u64,
    count: u32,
}

/// The last `len` bytes of a big-endian number.
pub(super) struct Bytes {
    bytes: [u8; 8],
    len: usize,
}

impl Numerals {
    /// From the value and the number of numerals of each half.
    pub(super) const fn new(high: (u64, u32), low: (u64, u32)) -> Self {
        Self { high: Half { value: high.0, count: high.1 }, low: Half { value: low.0, count: low.1 } }
    }

    /// The values of the higher and the lower half.
    pub(super) const fn values(&self) -> (u64, u64) {
        (self.high.value, self.low.value)
    }
}

impl NumeralString for Numerals {
    type Ops = Half;

    fn is_valid(&self, radix: u32) -> bool {
        [self.high, self.low].iter().all(|half| half.value < half.span(radix))
    }

    fn numeral_count(&self) -> usize {
        (self.high.count + self.low.count) as usize
    }

    fn split(&self) -> (Half, Half) {
        (self.high, self.low)
    }

    fn concat(high: Half, low: Half) -> Self {
        Self { high, low }
    }
}

impl Half {
    /// How many numbers there are of this many numerals.
    const fn span(self, radix: u32) -> u64 {
        (radix as u64).pow(self.count)
    }
}

impl Operations for Half {
    type Bytes = Bytes;

    fn numeral_count(&self) -> usize {
        self.count as usize
    }

    fn to_be_bytes(&self, _radix: u32, b: usize) -> Bytes {
        Bytes { bytes: self.value.to_be_bytes(), len: b }
    }

    fn add_mod_exp(self, other: impl Iterator<Item = u8>, radix: u32, _m: usize) -> Self {
        let span = self.span(radix);
        Self { value: (self.value + reduce(other, span)) % span, ..self }
    }

    fn sub_mod_exp(self, other: impl Iterator<Item = u8>, radix: u32, _m: usize) -> Self {
        let span = self.span(radix);
        Self { value: (self.value + span - reduce(other, span)) % span, ..self }
    }
}

impl AsRef<[u8]> for Bytes {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[self.bytes.len() - self.len..]
    }
}

/// The big-endian number of `bytes`, modulo `span`. FF1 gives 8 bytes for our lengths, at most 16 for 64-bit halves.
fn reduce(bytes: impl Iterator<Item = u8>, span: u64) -> u64 {
    let number = bytes.fold(0_u128, |number, byte| number << 8 | u128::from(byte));
    u64::try_from(number % u128::from(span)).expect("a remainder is below its 64-bit divisor")
}
