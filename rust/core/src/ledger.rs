//! Which segments of a message are claimed, and the partials of those that are done.

use std::collections::BTreeMap;

use crate::error::{Error, Result};
use crate::gcm::Partial;
use crate::ghash::BLOCK_BYTES;
use crate::ranges::DisjointRanges;
use crate::suite::MAX_GCM_CONTENT_BYTES;

/// Partials that one allocation holds: those of 16 MiB in segments of 64 KiB.
const CHUNK_PARTIALS: usize = 256;

/// The segments of one message. They are claimed before any byte is touched, and for good, whatever fails then: once a
/// key stream has covered a plaintext it must never cover another one.
#[derive(Default)]
pub(crate) struct Ledger {
    claimed: DisjointRanges,
    done: BTreeMap<u64, Done>,
    /// Partials are secrets and must not be moved, which would leave copies: chunks never grow beyond their capacity.
    partials: Vec<Vec<Partial>>,
    /// Length of the content, where it is known from the start.
    content: Option<u64>,
    /// End of the segment that does not fill its last block, hence of the message.
    ragged_end: Option<u64>,
    finished: bool,
}

#[derive(Clone, Copy)]
struct Done {
    length: u64,
    chunk: usize,
    slot: usize,
}

impl Ledger {
    pub(crate) fn of_length(content: u64) -> Result<Self> {
        if content > MAX_GCM_CONTENT_BYTES {
            return Err(Error::TooLong);
        }
        Ok(Self { content: Some(content), ..Self::default() })
    }

    pub(crate) fn claim(&mut self, offset: u64, length: usize) -> Result<()> {
        let length = u64::try_from(length).map_err(|_| Error::TooLong)?;
        let end = offset.checked_add(length).ok_or(Error::TooLong)?;
        let limit = self.content.or(self.ragged_end).unwrap_or(MAX_GCM_CONTENT_BYTES);
        let ragged = !length.is_multiple_of(BLOCK_BYTES as u64);
        // A ragged segment is the last one: of a known length, or else behind all that was claimed so far.
        let in_the_middle = self.content.map_or(self.claimed.end() > offset, |content| end != content);
        if self.finished {
            return Err(Error::Finished);
        }
        if end > limit {
            return Err(Error::TooLong);
        }
        if !offset.is_multiple_of(BLOCK_BYTES as u64) || (ragged && in_the_middle) {
            return Err(Error::Misaligned);
        }
        self.claimed.claim(offset, length)?;
        if ragged {
            self.ragged_end = Some(end);
        }
        Ok(())
    }

    /// Whether the message was closed.
    pub(crate) fn finished(&self) -> bool {
        self.finished
    }

    pub(crate) fn keep(&mut self, offset: u64, length: usize, partial: Partial) {
        if length == 0 {
            return;
        }
        if self.partials.last().is_none_or(|chunk| chunk.len() == chunk.capacity()) {
            self.partials.push(Vec::with_capacity(CHUNK_PARTIALS));
        }
        let chunk = self.partials.len().saturating_sub(1);
        if let Some(partials) = self.partials.last_mut() {
            self.done.insert(offset, Done { length: length as u64, chunk, slot: partials.len() });
            partials.push(partial);
        }
    }

    /// Closes the message if nothing is missing and nothing under way.
    pub(crate) fn finish(&mut self) -> Result<()> {
        if self.finished {
            return Err(Error::Finished);
        }
        let end = self.content.unwrap_or_else(|| self.claimed.end());
        // What is done was claimed, hence disjoint and before the end: as many bytes as that are all of them.
        if self.done.values().map(|done| done.length).sum::<u64>() != end {
            return Err(Error::Incomplete);
        }
        self.finished = true;
        Ok(())
    }

    /// Lengths and partials in the order of the message.
    pub(crate) fn segments(&self) -> impl Iterator<Item = (u64, &Partial)> {
        self.done.values().filter_map(|done| Some((done.length, self.partial(*done)?)))
    }

    fn partial(&self, done: Done) -> Option<&Partial> {
        self.partials.get(done.chunk)?.get(done.slot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_that_is_under_way_keeps_the_message_open() {
        let mut ledger = Ledger::default();
        assert_eq!((ledger.claim(0, 16), ledger.claim(16, 16)), (Ok(()), Ok(())));
        ledger.keep(16, 16, Partial::zero());
        assert_eq!(ledger.finish(), Err(Error::Incomplete));
        ledger.keep(0, 16, Partial::zero());
        assert_eq!(ledger.finish(), Ok(()));
    }

    #[test]
    fn partials_stay_where_they_are_however_many_come() {
        let mut ledger = Ledger::default();
        let places = |ledger: &Ledger| ledger.segments().map(|(_, partial)| &raw const *partial).collect::<Vec<_>>();
        let mut before = vec![];
        for at in 0..4 * CHUNK_PARTIALS as u64 {
            ledger.keep(16 * at, 16, Partial::zero());
            let after = places(&ledger);
            assert_eq!(before, after[..after.len() - 1]);
            before = after;
        }
    }
}
