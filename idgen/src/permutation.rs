//! The keyed permutation of each code length: FF1 of NIST SP 800-38G with AES-128, radix 62 and an empty tweak.
//!
//! Keys are sequential, so their codes would be too; permuted, codes can neither be guessed nor counted. The
//! permutation decides which code a link has: it must never change.

mod numerals;

use std::sync::Arc;

use aes::Aes128Enc;
use fpe::ff1::FF1;

use crate::CodeKey;
use crate::base62::{self, power};
use numerals::Numerals;

const RADIX: u32 = 62;
const _: () = assert!(RADIX as u64 == base62::RADIX);

/// The permutations of `[0, 62^length)` for the lengths 7 to 10 under one key. Cloning is cheap.
///
/// FF1 only ever encrypts blocks, and copies the cipher each round: the encrypting half alone is half the copy.
#[derive(Clone)]
pub(crate) struct Permutation {
    ff1: Arc<FF1<Aes128Enc>>,
}

impl Permutation {
    pub(crate) fn new(key: &CodeKey) -> Self {
        let ff1 = FF1::new(key.as_bytes(), RADIX).expect("62 is a radix that FF1 allows");
        Self { ff1: Arc::new(ff1) }
    }

    /// The value of the code at `position`.
    ///
    /// The caller keeps `position` below `62^length` and `length` within 7 to 10.
    pub(crate) fn permute(&self, length: u32, position: u64) -> u64 {
        let plain = split(length, position);
        let permuted = self.ff1.encrypt(&[], &plain).expect("both halves are in range and long enough for FF1");
        join(length, &permuted)
    }

    /// The position of the code of `value`: the inverse of [`Permutation::permute`], under the same conditions.
    pub(crate) fn invert(&self, length: u32, value: u64) -> u64 {
        let permuted = split(length, value);
        let plain = self.ff1.decrypt(&[], &permuted).expect("both halves are in range and long enough for FF1");
        join(length, &plain)
    }
}

/// Cuts the big-endian digits of `value` as FF1 does: the shorter half is the higher one.
fn split(length: u32, value: u64) -> Numerals {
    let low_length = length.div_ceil(2);
    let low_span = power(low_length);
    Numerals::new((value / low_span, length - low_length), (value % low_span, low_length))
}

fn join(length: u32, numerals: &Numerals) -> u64 {
    let (high, low) = numerals.values();
    high * power(length.div_ceil(2)) + low
}

#[cfg(test)]
mod tests;
