//! Arithmetic in GF(2^128) with GCM's bit order, on the constant-time multiplication of the `ghash` crate.
//!
//! Exponents and lengths are public; elements are not: they are wiped when dropped.

use ghash::{GHash, universal_hash::UniversalHash};
use zeroize::{Zeroize, ZeroizeOnDrop};

/// Bytes of a block of AES and of an element of the field.
pub(crate) const BLOCK_BYTES: usize = 16;

/// An element of the field.
#[derive(Zeroize, ZeroizeOnDrop)]
pub(crate) struct Element([u8; BLOCK_BYTES]);

/// A fixed factor, made ready for many multiplications.
pub(crate) struct Factor(GHash);

impl Element {
    pub(crate) const fn zero() -> Self {
        Self([0; BLOCK_BYTES])
    }

    pub(crate) const fn from_bytes(bytes: [u8; BLOCK_BYTES]) -> Self {
        Self(bytes)
    }

    /// The block of lengths that closes GHASH, both in bytes here and in bits there.
    pub(crate) fn from_lengths(additional_data: u64, content: u64) -> Self {
        Self((u128::from(additional_data) << 67 | u128::from(content) << 3).to_be_bytes())
    }

    pub(crate) fn as_bytes(&self) -> &[u8; BLOCK_BYTES] {
        &self.0
    }

    pub(crate) fn as_mut_bytes(&mut self) -> &mut [u8; BLOCK_BYTES] {
        &mut self.0
    }

    /// Addition, which is subtraction too.
    pub(crate) fn plus(&self, other: &Self) -> Self {
        Self((u128::from_ne_bytes(self.0) ^ u128::from_ne_bytes(other.0)).to_ne_bytes())
    }

    /// Squared that many times. Squaring is linear: a zero between any two coefficients, then the reduction by
    /// x^128 = x^7 + x^2 + x + 1.
    fn squared(&self, times: u32) -> Self {
        // Lowest coefficient in the lowest bit.
        let mut square = u128::from_be_bytes(self.0).reverse_bits();
        for _ in 0..times {
            let (low, high) = (spread(square as u64), spread((square >> 64) as u64));
            let beyond = high >> 127 ^ high >> 126 ^ high >> 121;
            square = low ^ high ^ high << 1 ^ high << 2 ^ high << 7;
            square ^= beyond ^ beyond << 1 ^ beyond << 2 ^ beyond << 7;
        }
        Self(square.reverse_bits().to_be_bytes())
    }

    /// Whether all bits are zero, without a branch on a single one.
    pub(crate) fn is_zero(&self) -> bool {
        u128::from_ne_bytes(self.0) == 0
    }
}

/// A zero bit before every bit.
fn spread(bits: u64) -> u128 {
    let mut spread = u128::from(bits);
    for (shift, mask) in [
        (32, 0x0000_0000_ffff_ffff_0000_0000_ffff_ffff),
        (16, 0x0000_ffff_0000_ffff_0000_ffff_0000_ffff),
        (8, 0x00ff_00ff_00ff_00ff_00ff_00ff_00ff_00ff),
        (4, 0x0f0f_0f0f_0f0f_0f0f_0f0f_0f0f_0f0f_0f0f),
        (2, 0x3333_3333_3333_3333_3333_3333_3333_3333),
        (1, 0x5555_5555_5555_5555_5555_5555_5555_5555),
    ] {
        spread = (spread | spread << shift) & mask;
    }
    spread
}

impl Factor {
    pub(crate) fn new(element: &Element) -> Self {
        Self(GHash::new(&element.0.into()))
    }

    pub(crate) fn times(&self, element: &Element) -> Element {
        self.hash(&element.0)
    }

    /// GHASH from state zero over `data`, the last block padded with zeros.
    pub(crate) fn hash(&self, data: &[u8]) -> Element {
        let mut hash = self.0.clone();
        hash.update_padded(data);
        let mut state = hash.finalize();
        let element = Element(state.into());
        state.as_mut_slice().zeroize();
        element
    }
}

/// `base` to the power of `exponent`, which must not be 0: squarings and multiplications, most significant bit first.
pub(crate) fn power(base: &Element, exponent: u64) -> Element {
    let factor = Factor::new(base);
    let mut result = Element(base.0);
    for bit in (0..exponent.checked_ilog2().unwrap_or(0)).rev() {
        result = result.squared(1);
        if exponent >> bit & 1 == 1 {
            result = factor.times(&result);
        }
    }
    result
}

/// The inverse of an element that is not zero, `element^(2^128 - 2)`: the chain of Itoh and Tsujii, which doubles
/// `n` in `element^(2^n - 1)` up to 64 and adds what is missing to 127.
pub(crate) fn inverse(element: &Element) -> Element {
    let (mut ones, mut result) = (Element(element.0), Element(element.0));
    for exponent in [1, 2, 4, 8, 16, 32] {
        // ones = element^(2^exponent - 1), result = element^(2^(2 * exponent - 1) - 1).
        ones = Factor::new(&ones.squared(exponent)).times(&ones);
        result = Factor::new(&result.squared(2 * exponent)).times(&ones);
    }
    result.squared(1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Multiplication bit by bit, as NIST SP 800-38D, 6.3, writes it down.
    fn reference(x: [u8; 16], y: [u8; 16]) -> [u8; 16] {
        let (x, mut v, mut z) = (u128::from_be_bytes(x), u128::from_be_bytes(y), 0);
        for bit in (0..128).rev() {
            if x >> bit & 1 == 1 {
                z ^= v;
            }
            v = if v & 1 == 1 { v >> 1 ^ 0xe1 << 120 } else { v >> 1 };
        }
        z.to_be_bytes()
    }

    const ONE: [u8; 16] = (1_u128 << 127).to_be_bytes();

    proptest! {
        #[test]
        fn a_product_is_the_one_of_the_standard(x: [u8; 16], y: [u8; 16]) {
            prop_assert_eq!(Factor::new(&Element(x)).times(&Element(y)).0, reference(x, y));
        }

        #[test]
        fn an_element_times_its_inverse_is_one(x: [u8; 16]) {
            prop_assume!(x != [0; 16]);
            let element = Element(x);
            prop_assert_eq!(Factor::new(&element).times(&inverse(&element)).0, ONE);
        }

        #[test]
        fn a_square_is_the_product_with_itself(x: [u8; 16]) {
            prop_assert_eq!(Element(x).squared(1).0, reference(x, x));
            prop_assert_eq!(Element(x).squared(2).0, reference(reference(x, x), reference(x, x)));
        }

        #[test]
        fn a_power_is_that_many_products(x: [u8; 16], exponent in 1_u8..50) {
            let mut expected = x;
            for _ in 1..exponent {
                expected = reference(expected, x);
            }
            prop_assert_eq!(power(&Element(x), u64::from(exponent)).0, expected);
        }
    }
}
