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

    /// Whether all bits are zero, without a branch on a single one.
    pub(crate) fn is_zero(&self) -> bool {
        u128::from_ne_bytes(self.0) == 0
    }
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
pub(crate) fn power(base: &Element, exponent: u128) -> Element {
    let factor = Factor::new(base);
    let mut result = Element(base.0);
    for bit in (0..exponent.checked_ilog2().unwrap_or(0)).rev() {
        result = Factor::new(&result).times(&result);
        if exponent >> bit & 1 == 1 {
            result = factor.times(&result);
        }
    }
    result
}

/// The inverse of an element that is not zero: the multiplicative group has 2^128 - 1 elements.
pub(crate) fn inverse(element: &Element) -> Element {
    power(element, u128::MAX - 1)
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
        fn a_power_is_that_many_products(x: [u8; 16], exponent in 1_u8..50) {
            let mut expected = x;
            for _ in 1..exponent {
                expected = reference(expected, x);
            }
            prop_assert_eq!(power(&Element(x), u128::from(exponent)).0, expected);
        }
    }
}
