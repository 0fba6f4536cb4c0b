//! Ranges of an object on their way in, window by window, and what is done with them when they have arrived.

use std::sync::{Arc, Mutex, PoisonError};

use arrowseal_core::error::Error;
use arrowseal_core::index::{SEGMENT_BYTES, SegmentOpener};
use arrowseal_core::legacy::CbcOpener;
use arrowseal_core::message::{MessageOpener, TAG_BYTES, UnauthenticatedOpener};
use arrowseal_core::wipe;
use pyo3::prelude::*;

use crate::content::detached;
use crate::error::{count, exception, stays_here};
use crate::memory::{Claim, Landing, Memory, Source};
use crate::pool::Trace;

/// A window is opened in pieces of this size, each a segment: few enough to cost nothing, small enough to stay in cache.
const PIECE_BYTES: usize = 256 << 10;

/// A range of an object that arrives in memory of its own: window by window, or at once.
pub(crate) struct Receiver {
    landing: Arc<Landing>,
    /// Where the range begins in the object.
    base: u64,
    arrival: Arrival,
}

/// A piece of such a range on its way in.
#[pyclass(frozen, module = "arrowseal._core")]
pub(crate) struct Window {
    claim: Claim,
    /// Where the landing of the claim begins in the object.
    base: u64,
    /// None once it was received: errors that keep frames alive keep windows too, and must not keep the message.
    arrival: Mutex<Option<Arrival>>,
}

/// What is done with bytes that have arrived, where they lie.
#[derive(Clone)]
pub(crate) enum Arrival {
    /// They are not client-side encrypted.
    Keep,
    /// They are opened, and proven together with all the others.
    Open(Arc<OpenMessage>),
    /// They are opened and proven segment by segment.
    Prove(Arc<SegmentOpener>),
    /// They are hashed, to be proven with all the others, and given up.
    Survey(Arc<SurveyedMessage>),
    /// They are decrypted, and nothing is proven.
    Decrypt(Arc<UnauthenticatedOpener>),
    /// They are decrypted as pieces of CBC, and nothing is proven.
    Chain(Arc<CbcOpener>),
}

/// A message whose content stays here until its tag has proven it.
pub(crate) struct OpenMessage {
    pub(crate) opener: MessageOpener,
    pub(crate) content_bytes: u64,
}

/// A message whose content is looked at once, and whose partials are kept.
pub(crate) struct SurveyedMessage {
    pub(crate) opener: MessageOpener,
    pub(crate) content_bytes: u64,
    pub(crate) tag: Mutex<[u8; TAG_BYTES]>,
}

impl Receiver {
    /// Of `length` bytes from `base` on.
    pub(crate) fn new(base: u64, length: u64, trace: Trace, arrival: Arrival) -> PyResult<Self> {
        Ok(Self { landing: Arc::new(Landing::new(length, trace)?), base, arrival })
    }

    /// The window over `[offset, offset + length)` of the object.
    pub(crate) fn window(&self, offset: i64, length: i64) -> PyResult<Window> {
        let (offset, length) = (count(offset, "offset")?, count(length, "length")?);
        let within = offset.checked_sub(self.base).ok_or_else(|| exception(Error::TooLong))?;
        let arrival = Mutex::new(Some(self.arrival.clone()));
        Ok(Window { claim: self.landing.claim(within, length)?, base: self.base, arrival })
    }

    /// Takes in all of it, which is there already.
    pub(crate) fn receive(&self, py: Python<'_>, content: &Bound<'_, PyAny>) -> PyResult<()> {
        let work = |source: &Source, bytes: &mut [u8]| self.arrival.fill(py, self.base, source, bytes);
        self.landing.claim_all()?.filled(content, work)?.map_err(exception)
    }

    /// The memory, once all of it was received.
    pub(crate) fn finish(&self) -> PyResult<Memory> {
        self.landing.finish()
    }
}

impl Window {
    pub(crate) fn claim(&self) -> &Claim {
        &self.claim
    }
}

#[pymethods]
impl Window {
    fn __len__(&self) -> usize {
        self.claim.length()
    }

    fn received(&self, py: Python<'_>) -> PyResult<()> {
        let offset = self.base + self.claim.offset();
        let work = |bytes: &mut [u8]| {
            let arrival = self.arrival.lock().unwrap_or_else(PoisonError::into_inner).take();
            arrival.ok_or(Error::Finished)?.work(py, offset, bytes)
        };
        self.claim.received(work)?.map_err(exception)
    }

    fn __repr__(&self) -> String {
        format!("<Window of {} bytes>", self.claim.length())
    }

    fn __reduce__(&self) -> PyResult<()> {
        Err(stays_here("Window"))
    }
}

impl Arrival {
    /// Works on the stored bytes at `offset`, with the GIL released if there is enough to do.
    fn work(&self, py: Python<'_>, offset: u64, stored: &mut [u8]) -> Result<(), Error> {
        let bytes = if matches!(self, Self::Keep) { 0 } else { stored.len() };
        detached(py, bytes, || self.take(offset, stored))
    }

    /// Copies the bytes of the whole range to where they belong, and works on each piece while it is in cache.
    fn fill(&self, py: Python<'_>, offset: u64, source: &Source, stored: &mut [u8]) -> Result<(), Error> {
        if !source.is_frozen() {
            source.copy_to(stored, 0);
            return self.work(py, offset, stored);
        }
        let piece_bytes = match self {
            Self::Prove(opener) => PIECE_BYTES.max(opener.segmentation().segment_bytes as usize),
            _ => PIECE_BYTES,
        };
        detached(py, stored.len(), || {
            for (begin, piece) in (0..).step_by(piece_bytes).zip(stored.chunks_mut(piece_bytes)) {
                source.copy_to(piece, begin);
                self.take(offset + begin as u64, piece)?;
            }
            Ok(())
        })
    }

    fn take(&self, offset: u64, stored: &mut [u8]) -> Result<(), Error> {
        match self {
            Self::Keep => Ok(()),
            Self::Open(message) => message.open(offset, stored),
            Self::Prove(opener) => opener.open_in_place(offset, stored),
            Self::Survey(message) => message.look_at(offset, stored),
            Self::Decrypt(opener) => opener.decrypt_unauthenticated(offset, stored),
            Self::Chain(opener) => opener.decrypt_in_place(offset, stored),
        }
    }
}

impl OpenMessage {
    /// Opens the stored bytes at `offset`, except for those that are of the tag.
    fn open(&self, offset: u64, stored: &mut [u8]) -> Result<(), Error> {
        let (content, _) = stored.split_at_mut(content_within(self.content_bytes, offset, stored.len()));
        open_in_pieces(&self.opener, offset, content, PIECE_BYTES)
    }
}

impl SurveyedMessage {
    fn look_at(&self, offset: u64, stored: &mut [u8]) -> Result<(), Error> {
        let (content, tag) = stored.split_at_mut(content_within(self.content_bytes, offset, stored.len()));
        let begin = usize::try_from(offset.saturating_sub(self.content_bytes)).unwrap_or(TAG_BYTES);
        let mut kept = self.tag.lock().unwrap_or_else(PoisonError::into_inner);
        for (to, from) in kept.iter_mut().skip(begin).zip(tag) {
            *to = *from;
        }
        drop(kept);
        let outcome = open_in_pieces(&self.opener, offset, content, SEGMENT_BYTES as usize);
        wipe(content);
        outcome
    }
}

fn open_in_pieces(opener: &MessageOpener, offset: u64, content: &mut [u8], piece_bytes: usize) -> Result<(), Error> {
    let mut at = offset;
    for piece in content.chunks_mut(piece_bytes) {
        opener.open_in_place(at, piece)?;
        at += piece.len() as u64;
    }
    Ok(())
}

/// How many of `length` stored bytes at `offset` are content, and not of the tag.
fn content_within(content_bytes: u64, offset: u64, length: usize) -> usize {
    usize::try_from(content_bytes.saturating_sub(offset)).map_or(length, |content| content.min(length))
}
