//! One message, sealed or opened segment by segment through a shared reference: any order, any number of threads.

use std::sync::{Mutex, MutexGuard, PoisonError};

use aws_lc_rs::constant_time;

use crate::error::{Error, Result};
use crate::evp::{Text, wipe};
use crate::gcm::{OpenEngine, Partial, SegmentCipher};
use crate::keys::ContentKey;
use crate::ledger::Ledger;
use crate::self_test::open_engine;

/// Bytes of the tag behind the content.
pub const TAG_BYTES: usize = 16;

/// Seals the segments of one message.
///
/// Borders between segments lie at multiples of 16 bytes. A segment is claimed before it is sealed and stays claimed even
/// if sealing fails: one key stream, one plaintext.
pub struct MessageSealer {
    cipher: SegmentCipher,
    ledger: Mutex<Ledger>,
}

/// Opens the segments of one message. What it opens is **not proven** until [`MessageOpener::finish`] has said so; who
/// holds the bytes keeps them from everyone until then, and wipes them if it refuses.
pub struct MessageOpener {
    cipher: SegmentCipher,
    ledger: Mutex<Ledger>,
    proven: Mutex<bool>,
}

impl MessageSealer {
    /// A sealer for one message under a key that serves no other.
    ///
    /// # Errors
    /// [`Error::WeakKey`], [`Error::Cipher`].
    pub fn new(key: ContentKey) -> Result<Self> {
        // Sealing knows its tags: how content is opened does not matter here.
        Ok(Self { cipher: SegmentCipher::new(key, OpenEngine::TwoPass)?, ledger: Mutex::default() })
    }

    /// Seals the segment at `offset` in place.
    ///
    /// # Errors
    /// [`Error::Overlap`], [`Error::Misaligned`], [`Error::TooLong`], [`Error::Finished`], all before a byte is touched;
    /// [`Error::Cipher`].
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

    fn seal(&self, offset: u64, text: Text<'_>) -> Result<()> {
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

    /// Opens the segment at `offset` in place, unproven. After a failure its range may be claimed again.
    ///
    /// # Errors
    /// Those of [`MessageSealer::seal_in_place`].
    pub fn open_in_place(&self, offset: u64, segment: &mut [u8]) -> Result<()> {
        lock(&self.ledger).claim(offset, segment.len())?;
        let partial = self.cipher.open(offset, segment).inspect_err(|_| lock(&self.ledger).release(offset))?;
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

    /// Opens a segment once more after the message was proven, for a second pass over one that is larger than memory.
    /// The partial of the first pass proves it on its own; bytes that do not fit are wiped.
    ///
    /// # Errors
    /// [`Error::Authentication`]; [`Error::Incomplete`] before [`MessageOpener::finish`] or for other borders than the
    /// first pass had; [`Error::Cipher`].
    pub fn reopen_in_place(&self, offset: u64, segment: &mut [u8]) -> Result<()> {
        if !*lock(&self.proven) {
            return Err(Error::Incomplete);
        }
        let partial = lock(&self.ledger).segment(offset, segment.len()).map(Partial::copy).ok_or(Error::Incomplete)?;
        self.cipher.open_expecting(offset, segment, &partial).inspect_err(|_| wipe(segment))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What the lock guards is changed in single steps: it is whole even if a thread ended in between.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
