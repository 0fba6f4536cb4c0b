//! One message, sealed or opened segment by segment through a shared reference: any order, any number of threads.

use std::sync::{Mutex, MutexGuard, PoisonError};

use aws_lc_rs::constant_time;

use crate::error::{Error, Result};
use crate::evp::Text;
use crate::gcm::{OpenEngine, SegmentCipher};
use crate::ghash::BLOCK_BYTES;
use crate::index::{IndexMasks, SegmentOpener, Segmentation, fold};
use crate::keys::ContentKey;
use crate::ledger::Ledger;
use crate::self_test::open_engine;
use crate::suite::MAX_GCM_CONTENT_BYTES;

/// Bytes of the tag behind the content.
pub const TAG_BYTES: usize = 16;

/// Seals the segments of one message.
///
/// Borders between segments lie at multiples of 16 bytes. A segment is claimed before it is sealed and stays claimed even
/// if sealing fails: one key stream, one plaintext. Hence only one process seals: a forked child has a ledger of its own.
pub struct MessageSealer {
    cipher: SegmentCipher,
    ledger: Mutex<Ledger>,
    process: u32,
}

/// Opens the segments of one message. What it opens is **not proven** until [`MessageOpener::finish`] has said so; who
/// holds the bytes keeps them from everyone until then, and wipes them if it refuses.
pub struct MessageOpener {
    cipher: SegmentCipher,
    ledger: Mutex<Ledger>,
    proven: Mutex<bool>,
}

/// Decrypts the content of a message at any place, and proves nothing of it.
pub struct UnauthenticatedOpener(SegmentCipher);

impl MessageSealer {
    /// A sealer for one message under a key that serves no other.
    ///
    /// # Errors
    /// [`Error::KeyToOpenOnly`], [`Error::WeakKey`], [`Error::Cipher`].
    pub fn new(key: ContentKey) -> Result<Self> {
        let cipher = SegmentCipher::for_known_tags(key.not_to_open_only()?)?;
        Ok(Self { cipher, ledger: Mutex::default(), process: std::process::id() })
    }

    /// Seals the segment at `offset` in place.
    ///
    /// # Errors
    /// [`Error::OtherProcess`], [`Error::Overlap`], [`Error::Misaligned`], [`Error::TooLong`], [`Error::Finished`], all
    /// before a byte is touched; [`Error::Cipher`].
    pub fn seal_in_place(&self, offset: u64, segment: &mut [u8]) -> Result<()> {
        self.seal(offset, Text::InPlace(segment))
    }

    /// Seals the segment at `offset` into another buffer of the same length.
    ///
    /// # Errors
    /// Those of [`MessageSealer::seal_in_place`] and [`Error::LengthMismatch`].
    pub fn seal_into(&self, offset: u64, segment: &[u8], sealed: &mut [u8]) -> Result<()> {
        if segment.len() != sealed.len() {
            return Err(Error::LengthMismatch);
        }
        self.seal(offset, Text::Into(segment, sealed))
    }

    /// The tag of the message, once all segments from 0 to the last one are sealed. Nothing is sealed after it.
    ///
    /// # Errors
    /// [`Error::Incomplete`], [`Error::Finished`].
    pub fn finish(&self) -> Result<[u8; TAG_BYTES]> {
        let mut ledger = lock(&self.ledger);
        ledger.finish()?;
        Ok(*self.cipher.tag(ledger.segments())?.as_bytes())
    }

    /// How much was sealed.
    #[must_use]
    pub fn content_bytes(&self) -> u64 {
        lock(&self.ledger).segments().map(|(length, _)| length).sum()
    }

    /// The index of the finished message. Whatever was sealed at once lies within one segment of it.
    ///
    /// # Errors
    /// [`Error::Incomplete`] before [`MessageSealer::finish`]; [`Error::LengthMismatch`] for masks of a message of
    /// another length; [`Error::Misaligned`] if a piece crossed the border of a segment.
    pub fn index(&self, masks: &IndexMasks) -> Result<Vec<u8>> {
        let ledger = lock(&self.ledger);
        if !ledger.finished() {
            return Err(Error::Incomplete);
        }
        let (segmentation, content) = (masks.segmentation(), ledger.segments().map(|(length, _)| length).sum());
        if segmentation.content_bytes != content {
            return Err(Error::LengthMismatch);
        }
        Ok(masks.index(&self.cipher, &fold(&self.cipher, segmentation, ledger.segments())?))
    }

    fn seal(&self, offset: u64, text: Text<'_>) -> Result<()> {
        if self.process != std::process::id() {
            return Err(Error::OtherProcess);
        }
        let length = text.len();
        lock(&self.ledger).claim(offset, length)?;
        let partial = self.cipher.seal(offset, text)?;
        lock(&self.ledger).keep(offset, length, partial);
        Ok(())
    }
}

impl MessageOpener {
    /// An opener for a message of `content` bytes, tag not counted.
    ///
    /// # Errors
    /// [`Error::TooLong`], [`Error::WeakKey`], [`Error::Cipher`].
    pub fn new(key: ContentKey, content: u64) -> Result<Self> {
        Self::with_engine(key, content, open_engine())
    }

    /// The same with a chosen engine, to compare the two.
    ///
    /// # Errors
    /// Those of [`MessageOpener::new`].
    pub fn with_engine(key: ContentKey, content: u64, engine: OpenEngine) -> Result<Self> {
        let ledger = Mutex::new(Ledger::of_length(content)?);
        Ok(Self { cipher: SegmentCipher::new(key, engine)?, ledger, proven: Mutex::new(false) })
    }

    /// Opens the segment at `offset` in place, unproven. After a failure the message stays incomplete.
    ///
    /// # Errors
    /// Those of [`MessageSealer::seal_in_place`].
    pub fn open_in_place(&self, offset: u64, segment: &mut [u8]) -> Result<()> {
        lock(&self.ledger).claim(offset, segment.len())?;
        let partial = self.cipher.open(offset, segment)?;
        lock(&self.ledger).keep(offset, segment.len(), partial);
        Ok(())
    }

    /// Proves everything that was opened by the tag of the message, compared in constant time.
    ///
    /// # Errors
    /// [`Error::Authentication`], then or for ever; [`Error::Incomplete`], [`Error::Finished`].
    pub fn finish(&self, tag: &[u8; TAG_BYTES]) -> Result<()> {
        let mut ledger = lock(&self.ledger);
        ledger.finish()?;
        let computed = self.cipher.tag(ledger.segments())?;
        constant_time::verify_slices_are_equal(computed.as_bytes(), tag).map_err(|_| Error::Authentication)?;
        *lock(&self.proven) = true;
        Ok(())
    }

    /// What opens segments of the proven message once more, each proven by the partial of the first time: for a second
    /// pass over a message that is larger than memory.
    ///
    /// # Errors
    /// [`Error::Incomplete`] before [`MessageOpener::finish`] has proven it; [`Error::SegmentSize`];
    /// [`Error::Misaligned`] if a piece of the first pass crossed the border of a segment.
    pub fn into_segments(self, segment_bytes: u64) -> Result<SegmentOpener> {
        let ledger = self.ledger.into_inner().unwrap_or_else(PoisonError::into_inner);
        if !*lock(&self.proven) {
            return Err(Error::Incomplete);
        }
        let content = ledger.segments().map(|(length, _)| length).sum();
        let segmentation = Segmentation::new(segment_bytes, content)?;
        let partials = fold(&self.cipher, segmentation, ledger.segments())?;
        Ok(SegmentOpener::proven(self.cipher, segmentation, partials))
    }
}

impl UnauthenticatedOpener {
    /// # Errors
    /// [`Error::KeyToOpenOnly`], [`Error::WeakKey`], [`Error::Cipher`].
    pub fn new(key: ContentKey) -> Result<Self> {
        SegmentCipher::for_known_tags(key.not_to_open_only()?).map(Self)
    }

    /// Decrypts in place what lies at `offset`. Whoever could write to the object decides what comes out.
    ///
    /// # Errors
    /// [`Error::Misaligned`] unless the offset is a multiple of 16, [`Error::TooLong`].
    pub fn decrypt_unauthenticated(&self, offset: u64, content: &mut [u8]) -> Result<()> {
        if !offset.is_multiple_of(BLOCK_BYTES as u64) {
            return Err(Error::Misaligned);
        }
        let end = offset.checked_add(content.len() as u64).filter(|end| *end <= MAX_GCM_CONTENT_BYTES);
        end.ok_or(Error::TooLong)?;
        self.0.apply_keystream(offset, content)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What the lock guards is changed in single steps: it is whole even if a thread ended in between.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
