//! The segment index: what proves a range of an object on its own, without the rest of it.
//!
//! Bytes of an index, all numbers big-endian (design: `segmented GCM`, section 4):
//!
//! ```text
//! offset  bytes
//!      0      8  magic "ASEALIDX"
//!      8      2  version, 1
//!     10      2  id of the algorithm suite, 0x0072 or 0x0073
//!     12      4  S, the size of a segment: a power of two from 2^15 to 2^22
//!     16      8  n, the length of the content: the stored object without its tag
//!     24     28  what names the object: its message id (V3), or its IV and 16 zeros (V2)
//!     52     12  zeros
//!     64  16·ceil(n/S)  one entry a segment
//! ```
//!
//! An entry is the partial `P_i` of a segment, its GHASH from state zero, under a mask of its own, which makes it a
//! Carter-Wegman MAC of that segment. Bare partials would give the hash key away:
//!
//! ```text
//! K_idx   = HKDF-SHA512(IKM = data key, salt = message id or IV,
//!                       info = "arrowseal segment index v1" || suite id || BE64(S) || BE64(n)), 32 bytes
//! entry_i = P_i ^ E_K_idx(BE128(i))
//! ```
//!
//! An index is made only of a message that was sealed here, or that its tag has proven: a second ciphertext under the
//! same masks would give the hash key away.

use crate::error::{Error, Result};
use crate::evp::{BlockCipher, wipe};
use crate::gcm::{Partial, SegmentCipher};
use crate::ghash::{BLOCK_BYTES, Element};
use crate::keys::{DataKey, MessageId};
use crate::suite::MAX_GCM_CONTENT_BYTES;

/// The size of a segment unless somebody chose another: two column chunks of 1 MB cost 7 % more bytes, and a gibibyte
/// 256 KiB of index.
pub const SEGMENT_BYTES: u64 = 64 << 10;
/// Bytes before the first entry.
pub const HEADER_BYTES: usize = 64;

const MAGIC: &[u8; 8] = b"ASEALIDX";
const VERSION: [u8; 2] = [0, 1];
const MIN_SEGMENT_BYTES: u64 = 1 << 15;
const MAX_SEGMENT_BYTES: u64 = 1 << 22;
const ID_BYTES: usize = 28;

/// The size of an object's segments and how many there are, as an index announces them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segmentation {
    /// Bytes of a segment; the last one may be shorter.
    pub segment_bytes: u64,
    /// Bytes of content.
    pub content_bytes: u64,
}

/// The masks of the entries of one index.
pub struct IndexMasks {
    segmentation: Segmentation,
    header: [u8; HEADER_BYTES],
    block: BlockCipher,
}

/// Opens segments of a message in any order, each proven on its own. Shared by threads.
pub struct SegmentOpener {
    cipher: SegmentCipher,
    segmentation: Segmentation,
    expected: Expected,
}

/// What segments have to come to.
enum Expected {
    /// The partials of a message that its tag has proven.
    Proven(Vec<Partial>),
    /// The entries of an index, unmasked when they are asked for: of a large object most never are.
    Indexed(IndexMasks, Box<[[u8; BLOCK_BYTES]]>),
}

impl Segmentation {
    /// # Errors
    /// [`Error::SegmentSize`] unless it is a power of two from 2^15 to 2^22; [`Error::TooLong`].
    pub fn new(segment_bytes: u64, content_bytes: u64) -> Result<Self> {
        if !segment_bytes.is_power_of_two() || !(MIN_SEGMENT_BYTES..=MAX_SEGMENT_BYTES).contains(&segment_bytes) {
            return Err(Error::SegmentSize);
        }
        if content_bytes > MAX_GCM_CONTENT_BYTES {
            return Err(Error::TooLong);
        }
        Ok(Self { segment_bytes, content_bytes })
    }

    /// How many segments there are.
    #[must_use]
    pub fn count(self) -> u64 {
        self.content_bytes.div_ceil(self.segment_bytes)
    }

    /// How long the segment is that begins at `offset`.
    fn length_at(self, offset: u64) -> u64 {
        self.segment_bytes.min(self.content_bytes.saturating_sub(offset))
    }
}

impl IndexMasks {
    /// The masks for the index of a message.
    ///
    /// # Errors
    /// [`Error::Cipher`].
    pub fn new(data_key: &DataKey, id: &MessageId, segmentation: Segmentation) -> Result<Self> {
        let key = data_key.index_key(id, segmentation.segment_bytes, segmentation.content_bytes)?;
        Ok(Self { segmentation, header: header(id, segmentation), block: BlockCipher::new(key.bytes())? })
    }

    /// How the message is cut.
    pub(crate) fn segmentation(&self) -> Segmentation {
        self.segmentation
    }

    /// The bytes of the index of a message with these partials, one for each of its segments.
    pub(crate) fn index(&self, cipher: &SegmentCipher, partials: &[Partial]) -> Vec<u8> {
        let mut index = Vec::with_capacity(HEADER_BYTES + BLOCK_BYTES * partials.len());
        index.extend_from_slice(&self.header);
        for (number, bare) in (0..).zip(cipher.bare(partials)) {
            index.extend_from_slice(bare.plus(&self.mask(number)).as_bytes());
        }
        index
    }

    /// The entries of an index of this very message; None for anything else.
    fn entries(&self, index: &[u8]) -> Option<Box<[[u8; BLOCK_BYTES]]>> {
        let (header, entries) = index.split_at_checked(HEADER_BYTES)?;
        let (entries, rest) = entries.as_chunks::<BLOCK_BYTES>();
        let fits = header == self.header && rest.is_empty() && entries.len() as u64 == self.segmentation.count();
        fits.then(|| entries.into())
    }

    /// The partial of the segment of that number, by its entry.
    fn partial(&self, cipher: &SegmentCipher, number: u64, entry: &[u8; BLOCK_BYTES]) -> Partial {
        cipher.partial_of_bare(&Element::from_bytes(*entry).plus(&self.mask(number)))
    }

    fn mask(&self, number: u64) -> Element {
        self.block.encrypt(&u128::from(number).to_be_bytes())
    }
}

impl SegmentOpener {
    /// The opener of a message of `content_bytes` by its index; None if the bytes are no index of this message: too
    /// short or too long, of another object, or of another length of it.
    ///
    /// # Errors
    /// [`Error::Authentication`] if the object commits to another key; those of [`DataKey::to_open`].
    pub fn from_index(
        data_key: &DataKey,
        id: &MessageId,
        commitment: Option<&[u8]>,
        content_bytes: u64,
        index: &[u8],
    ) -> Result<Option<Self>> {
        let cipher = SegmentCipher::for_known_tags(data_key.to_open(id, commitment)?)?.ready_to_fork();
        let Some(segment_bytes) = announced_segment_bytes(index) else { return Ok(None) };
        let Ok(segmentation) = Segmentation::new(segment_bytes, content_bytes) else { return Ok(None) };
        let masks = IndexMasks::new(data_key, id, segmentation)?;
        let entries = masks.entries(index);
        Ok(entries.map(|entries| Self { cipher, segmentation, expected: Expected::Indexed(masks, entries) }))
    }

    /// Of a message whose tag was proven, and its partials with it.
    pub(crate) fn proven(cipher: SegmentCipher, segmentation: Segmentation, partials: Vec<Partial>) -> Self {
        Self { cipher: cipher.ready_to_fork(), segmentation, expected: Expected::Proven(partials) }
    }

    /// How the message is cut.
    #[must_use]
    pub fn segmentation(&self) -> Segmentation {
        self.segmentation
    }

    /// Opens whole segments from `offset` on in place, each proven by its partial. If one is not, all are wiped.
    ///
    /// # Errors
    /// [`Error::Authentication`]; [`Error::Misaligned`] for borders inside of segments, [`Error::TooLong`] beyond the
    /// end; [`Error::Cipher`].
    pub fn open_in_place(&self, offset: u64, content: &mut [u8]) -> Result<()> {
        let Segmentation { segment_bytes, content_bytes } = self.segmentation;
        let end = offset.checked_add(content.len() as u64).filter(|end| *end <= content_bytes);
        let end = end.ok_or(Error::TooLong)?;
        if !offset.is_multiple_of(segment_bytes) || !(end.is_multiple_of(segment_bytes) || end == content_bytes) {
            return Err(Error::Misaligned);
        }
        let mut opened = || {
            let step = usize::try_from(segment_bytes).map_err(|_| Error::TooLong)?;
            for (at, segment) in (offset..).step_by(step).zip(content.chunks_mut(step)) {
                let number = usize::try_from(at / segment_bytes).map_err(|_| Error::TooLong)?;
                match &self.expected {
                    Expected::Proven(partials) => {
                        let partial = partials.get(number).ok_or(Error::Incomplete)?;
                        self.cipher.open_expecting(at, segment, partial)?;
                    }
                    Expected::Indexed(masks, entries) => {
                        let entry = entries.get(number).ok_or(Error::Incomplete)?;
                        let partial = masks.partial(&self.cipher, number as u64, entry);
                        self.cipher.open_expecting(at, segment, &partial)?;
                    }
                }
            }
            Ok(())
        };
        let outcome = opened();
        outcome.inspect_err(|_| wipe(content))
    }

    /// The index of the message, by its masks.
    ///
    /// # Errors
    /// [`Error::LengthMismatch`] for masks of another segmentation.
    pub fn index(&self, masks: &IndexMasks) -> Result<Vec<u8>> {
        if masks.segmentation != self.segmentation {
            return Err(Error::LengthMismatch);
        }
        match &self.expected {
            Expected::Proven(partials) => Ok(masks.index(&self.cipher, partials)),
            Expected::Indexed(own, entries) => {
                // Room for all of them first: a vector that grows leaves copies of secrets behind.
                let mut partials = Vec::with_capacity(entries.len());
                let numbered = (0..).zip(entries);
                partials.extend(numbered.map(|(number, entry)| own.partial(&self.cipher, number, entry)));
                Ok(masks.index(&self.cipher, &partials))
            }
        }
    }
}

/// Folds the partials of pieces, in the order of the message, to those of its segments. No piece crosses the border of a
/// segment.
pub(crate) fn fold<'a>(
    cipher: &SegmentCipher,
    segmentation: Segmentation,
    mut pieces: impl Iterator<Item = (u64, &'a Partial)>,
) -> Result<Vec<Partial>> {
    let count = usize::try_from(segmentation.count()).map_err(|_| Error::TooLong)?;
    let mut partials = Vec::with_capacity(count);
    for start in (0..segmentation.content_bytes).step_by(segmentation.segment_bytes as usize) {
        let length = segmentation.length_at(start);
        let (mut filled, mut folded) = (0, Partial::zero());
        while filled < length {
            let (piece, partial) = pieces.next().ok_or(Error::Incomplete)?;
            folded = cipher.fold(&folded, piece, partial);
            filled += piece;
        }
        if filled != length {
            return Err(Error::Misaligned);
        }
        partials.push(folded);
    }
    Ok(partials)
}

fn header(id: &MessageId, segmentation: Segmentation) -> [u8; HEADER_BYTES] {
    let mut name = [0; ID_BYTES];
    for (to, from) in name.iter_mut().zip(id.as_bytes()) {
        *to = *from;
    }
    let (suite, size) = (id.suite().id.to_be_bytes(), (segmentation.segment_bytes as u32).to_be_bytes());
    let content = segmentation.content_bytes.to_be_bytes();
    let parts: [&[u8]; 6] = [MAGIC, &VERSION, &suite, &size, &content, &name];
    let mut header = [0; HEADER_BYTES];
    for (to, from) in header.iter_mut().zip(parts.into_iter().flatten()) {
        *to = *from;
    }
    header
}

/// S, as the header says it.
fn announced_segment_bytes(index: &[u8]) -> Option<u64> {
    index.get(12..16)?.try_into().ok().map(|bytes: [u8; 4]| u64::from(u32::from_be_bytes(bytes)))
}
