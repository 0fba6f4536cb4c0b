//! Ranges of a message that are taken, so that none is taken twice.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::error::{Error, Result};

/// Disjoint, non-empty ranges of bytes.
#[derive(Default)]
pub struct DisjointRanges(BTreeMap<u64, u64>);

impl DisjointRanges {
    /// Takes `[offset, offset + length)`. An empty range takes nothing.
    ///
    /// # Errors
    /// [`Error::Overlap`] if any byte of it is taken already, [`Error::TooLong`] if its end is no 64-bit number.
    pub fn claim(&mut self, offset: u64, length: u64) -> Result<()> {
        let end = offset.checked_add(length).ok_or(Error::TooLong)?;
        // The ranges are disjoint: only the last one that begins before our end can reach into ours.
        let last_before = self.0.range(..end).next_back();
        if length == 0 {
            return Ok(());
        }
        if last_before.is_some_and(|(_, taken_end)| *taken_end > offset) {
            return Err(Error::Overlap);
        }
        self.0.insert(offset, end);
        Ok(())
    }

    /// Gives back the range that begins at `offset`.
    pub fn release(&mut self, offset: u64) {
        self.0.remove(&offset);
    }

    /// The ranges, in their order.
    pub fn iter(&self) -> impl Iterator<Item = Range<u64>> {
        self.0.iter().map(|(offset, end)| *offset..*end)
    }

    /// The end of the last range.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.0.last_key_value().map_or(0, |(_, end)| *end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_that_touches_another_is_fine_and_one_that_overlaps_is_refused() {
        let mut ranges = DisjointRanges::default();
        assert_eq!(ranges.claim(16, 16), Ok(()));
        assert_eq!(ranges.claim(0, 16), Ok(()));
        assert_eq!(ranges.claim(32, 1), Ok(()));
        for (offset, length) in [(0, 1), (15, 2), (31, 1), (0, 100), (17, 3), (32, 5), (20, u64::MAX - 20)] {
            assert_eq!(ranges.claim(offset, length), Err(Error::Overlap), "{offset} {length}");
        }
        assert_eq!(ranges.claim(u64::MAX, 1), Err(Error::TooLong));
    }

    #[test]
    fn a_range_that_was_given_back_can_be_taken_again() {
        let mut ranges = DisjointRanges::default();
        assert_eq!(ranges.claim(0, 32), Ok(()));
        ranges.release(0);
        assert_eq!(ranges.claim(16, 16), Ok(()));
    }

    #[test]
    fn ranges_come_in_their_order_and_empty_ones_are_none() {
        let mut ranges = DisjointRanges::default();
        assert_eq!(ranges.end(), 0);
        for (offset, length) in [(16, 16), (32, 0), (0, 16), (0, 0)] {
            assert_eq!(ranges.claim(offset, length), Ok(()));
        }
        assert_eq!((ranges.iter().collect::<Vec<_>>(), ranges.end()), (vec![0..16, 16..32], 32));
    }
}
