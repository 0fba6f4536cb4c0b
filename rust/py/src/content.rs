//! Sealing and opening messages. The GIL is released for all work over some dozens of KiB.

use std::sync::{Arc, Mutex, PoisonError};

use arrowseal_core::error::Error;
use arrowseal_core::index::{IndexMasks, SEGMENT_BYTES, Segmentation};
use arrowseal_core::keys::{self, KeyCommitment, MessageId};
use arrowseal_core::message::{MessageOpener, MessageSealer, TAG_BYTES};
use arrowseal_core::parallel::{Plan, seal_in_place, seal_into};
use arrowseal_core::suite::{AlgorithmSuite, supported_suite};
use arrowseal_core::{OpenEngine, wipe};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyBytes};

use crate::buffer::{Frozen, PlaintextBuffer, SealedBuffer, UnauthenticatedBuffer, frozen};
use crate::checksum::Crc32;
use crate::error::{count, exception, stays_here};
use crate::memory::Memory;
use crate::part::PartBuffer;
use crate::pool::Trace;
use crate::window::{Arrival, OpenMessage, Receiver, Window};

/// Below this the work is over before another thread could have taken the GIL, and taking it back costs more.
const GIL_BYTES: usize = 64 << 10;

/// The plaintext data key of one object.
#[pyclass(frozen, module = "arrowseal._core")]
pub(crate) struct DataKey(pub(crate) keys::DataKey);

/// Seals one message, once.
#[pyclass(frozen, module = "arrowseal._core")]
pub(crate) struct Sealer {
    data_key: Py<DataKey>,
    message_id: MessageId,
    commitment: Option<KeyCommitment>,
    state: Mutex<Sealing>,
}

/// How far a message is. It is sealed at once or in parts, never both.
enum Sealing {
    Fresh(Box<MessageSealer>),
    InParts(Arc<MessageSealer>),
    /// It was sealed in parts and has its tag: it can still give its index.
    Finished(Arc<MessageSealer>),
    Done,
}

/// Opens one message, range by range.
#[pyclass(frozen, module = "arrowseal._core")]
pub(crate) struct Opener {
    receiver: Receiver,
    message: Arc<OpenMessage>,
    encryption: &'static str,
}

/// Takes in an object that is not client-side encrypted.
#[pyclass(frozen, module = "arrowseal._core")]
pub(crate) struct PlainReceiver {
    receiver: Receiver,
}

#[pymethods]
impl DataKey {
    #[new]
    #[pyo3(signature = (key, /))]
    fn new(key: &[u8]) -> PyResult<Self> {
        keys::DataKey::new(key).map(Self).map_err(exception)
    }

    #[staticmethod]
    fn generate() -> PyResult<Self> {
        keys::DataKey::generate().map(Self).map_err(exception)
    }

    fn expose_to_kms<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyByteArray>> {
        Ok(PyByteArray::new(py, self.0.to_wrap().map_err(exception)?))
    }

    fn __repr__(&self) -> &'static str {
        "<DataKey>"
    }

    fn __reduce__(&self) -> PyResult<()> {
        Err(stays_here("DataKey"))
    }
}

impl Sealer {
    fn for_message(data_key: Py<DataKey>, message_id: MessageId) -> Result<Self, Error> {
        let (key, commitment) = data_key.get().0.to_seal(&message_id)?;
        let state = Mutex::new(Sealing::Fresh(Box::new(MessageSealer::new(key)?)));
        Ok(Self { data_key, message_id, commitment, state })
    }

    /// The sealer of the message, to seal it at once.
    fn take(&self) -> PyResult<MessageSealer> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match std::mem::replace(&mut *state, Sealing::Done) {
            Sealing::Fresh(sealer) => Ok(*sealer),
            other => {
                *state = other;
                Err(exception(Error::Finished))
            }
        }
    }

    /// The sealer of the message for one of its parts; the last part ends the message.
    fn part(&self, last: bool) -> PyResult<Arc<MessageSealer>> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let sealer = match std::mem::replace(&mut *state, Sealing::Done) {
            Sealing::Fresh(sealer) => Arc::from(sealer),
            Sealing::InParts(sealer) => sealer,
            other => {
                *state = other;
                return Err(exception(Error::Finished));
            }
        };
        let kept = Arc::clone(&sealer);
        *state = if last { Sealing::Finished(kept) } else { Sealing::InParts(kept) };
        Ok(sealer)
    }

    fn memory(&self, content: usize) -> PyResult<Memory> {
        let (content, limit) = (content as u64, self.message_id.suite().max_content_bytes);
        if content > limit {
            Err(exception(Error::TooLong))
        } else {
            Memory::new(content + TAG_BYTES as u64, Trace::Encrypted)
        }
    }
}

#[pymethods]
impl Sealer {
    #[new]
    #[pyo3(signature = (data_key, suite_id, /))]
    fn new(data_key: Py<DataKey>, suite_id: u16) -> PyResult<Self> {
        let message_id = supported_suite(suite_id).and_then(MessageId::generate);
        message_id.and_then(|id| Self::for_message(data_key, id)).map_err(exception)
    }

    #[staticmethod]
    #[pyo3(signature = (data_key, suite_id, message_id, /))]
    fn with_fixed_message_id(data_key: Py<DataKey>, suite_id: u16, message_id: &[u8]) -> PyResult<Self> {
        let message_id = supported_suite(suite_id).and_then(|suite| MessageId::from_bytes(suite, message_id));
        message_id.and_then(|id| Self::for_message(data_key, id)).map_err(exception)
    }

    #[getter]
    fn message_id<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, self.message_id.as_bytes())
    }

    #[getter]
    fn commitment<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyBytes>> {
        self.commitment.as_ref().map(|commitment| PyBytes::new(py, commitment.as_bytes()))
    }

    #[pyo3(signature = (content, /, *, threads = 0))]
    fn seal(&self, py: Python<'_>, content: &Bound<'_, PyAny>, threads: i64) -> PyResult<SealedBuffer> {
        let threads = count(threads, "threads")? as usize;
        let source = frozen(content)?;
        let length = match &source {
            Frozen::Bytes(bytes) => bytes.len(),
            Frozen::Other(buffer) => buffer.len_bytes(),
        };
        let (mut memory, plan) = (self.memory(length)?, Plan::new(length, threads));
        let sealer = self.take()?;
        if let Frozen::Other(buffer) = &source {
            memory.copy_from(py, buffer)?;
        }
        let (sealed, tag) = memory.as_mut_slice().split_at_mut(length);
        let computed = match source {
            Frozen::Bytes(bytes) => detached(py, length, || seal_into(&sealer, bytes, sealed, plan)),
            Frozen::Other(_) => detached(py, length, || seal_in_place(&sealer, sealed, plan)),
        };
        tag.copy_from_slice(&computed.map_err(exception)?);
        Ok(SealedBuffer::new(memory))
    }

    #[pyo3(signature = (offset, part, /, *, last = false))]
    fn seal_part(&self, py: Python<'_>, offset: i64, part: &PartBuffer, last: bool) -> PyResult<SealedBuffer> {
        let offset = count(offset, "offset")?;
        let mut filling = part.take_to_seal()?;
        let sealer = self.part(last)?;
        let (content, tag) = filling.content_and_tag();
        let work = || {
            let (mut rest, mut crc32) = (content, Crc32::new());
            for (at, length) in segments(offset, rest.len()) {
                let (segment, behind) = rest.split_at_mut_checked(length).ok_or(Error::LengthMismatch)?;
                sealer.seal_in_place(at, segment)?;
                crc32.update(segment);
                rest = behind;
            }
            close(&sealer, tag, crc32, last)
        };
        let crc32 = detached(py, GIL_BYTES, work).map_err(exception)?;
        filling.finished(last).map(|memory| SealedBuffer::with_crc32(memory, crc32))
    }

    #[pyo3(signature = (content, begin, end, /, *, last = false))]
    fn seal_range(
        &self,
        py: Python<'_>,
        content: &Bound<'_, PyBytes>,
        begin: i64,
        end: i64,
        last: bool,
    ) -> PyResult<SealedBuffer> {
        let (offset, end) = (count(begin, "begin")?, count(end, "end")? as usize);
        let range = content.as_bytes().get(offset as usize..end);
        let range = range.ok_or_else(|| PyValueError::new_err("the range lies outside of the content"))?;
        let mut memory = Memory::new((range.len() + TAG_BYTES) as u64, Trace::Encrypted)?;
        let sealer = self.part(last)?;
        let (sealed, tag) = memory.as_mut_slice().split_at_mut(range.len());
        let work = || {
            let (mut plain, mut rest, mut crc32) = (range, sealed, Crc32::new());
            for (at, length) in segments(offset, plain.len()) {
                let (from, plain_behind) = plain.split_at_checked(length).ok_or(Error::LengthMismatch)?;
                let (to, behind) = rest.split_at_mut_checked(length).ok_or(Error::LengthMismatch)?;
                sealer.seal_into(at, from, to)?;
                crc32.update(to);
                (plain, rest) = (plain_behind, behind);
            }
            close(&sealer, tag, crc32, last)
        };
        let crc32 = detached(py, GIL_BYTES, work).map_err(exception)?;
        memory.truncate(range.len() + if last { TAG_BYTES } else { 0 });
        Ok(SealedBuffer::with_crc32(memory, crc32))
    }

    fn index<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let sealer = match &*self.state.lock().unwrap_or_else(PoisonError::into_inner) {
            Sealing::Finished(sealer) => Arc::clone(sealer),
            _ => return Err(exception(Error::Incomplete)),
        };
        let index = || {
            let segmentation = Segmentation::new(SEGMENT_BYTES, sealer.content_bytes())?;
            let masks = IndexMasks::new(&self.data_key.get().0, &self.message_id, segmentation)?;
            sealer.index(&masks)
        };
        Ok(PyBytes::new(py, &py.detach(index).map_err(exception)?))
    }

    fn __repr__(&self) -> &'static str {
        "<Sealer>"
    }

    fn __reduce__(&self) -> PyResult<()> {
        Err(stays_here("Sealer"))
    }
}

#[pymethods]
impl Opener {
    #[new]
    #[pyo3(signature = (data_key, suite_id, message_id, commitment, stored_bytes, /))]
    fn new(
        data_key: &DataKey,
        suite_id: u16,
        message_id: &[u8],
        commitment: Option<&[u8]>,
        stored_bytes: i64,
    ) -> PyResult<Self> {
        let stored_bytes = count(stored_bytes, "stored_bytes")?;
        let suite = supported_suite(suite_id).map_err(exception)?;
        let id = MessageId::from_bytes(suite, message_id).map_err(exception)?;
        let key = data_key.0.to_open(&id, commitment).map_err(exception)?;
        let no_tag = || PyValueError::new_err("a stored message has 16 bytes at least: its tag");
        let content_bytes = stored_bytes.checked_sub(TAG_BYTES as u64).ok_or_else(no_tag)?;
        let opener = MessageOpener::new(key, content_bytes).map_err(exception)?;
        let message = Arc::new(OpenMessage { opener, content_bytes });
        let receiver = Receiver::new(0, stored_bytes, Trace::Encrypted, Arrival::Open(Arc::clone(&message)))?;
        Ok(Self { receiver, message, encryption: encryption(suite) })
    }

    #[pyo3(signature = (offset, length, /))]
    fn window(&self, offset: i64, length: i64) -> PyResult<Window> {
        self.receiver.window(offset, length)
    }

    #[pyo3(signature = (content, /))]
    fn receive(&self, py: Python<'_>, content: &Bound<'_, PyAny>) -> PyResult<PlaintextBuffer> {
        self.receiver.receive(py, content)?;
        self.finish(py)
    }

    fn finish(&self, py: Python<'_>) -> PyResult<PlaintextBuffer> {
        let mut memory = self.receiver.finish()?;
        let (length, opener) = (memory.as_mut_slice().len(), &self.message.opener);
        let stored = memory.as_mut_slice();
        detached(py, length, || match stored.split_last_chunk::<TAG_BYTES>() {
            Some((_, tag)) => opener.finish(tag).inspect_err(|_| wipe(stored)),
            None => Err(Error::Incomplete),
        })
        .map_err(exception)?;
        Ok(PlaintextBuffer::new(memory, length - TAG_BYTES, self.encryption))
    }

    fn __repr__(&self) -> &'static str {
        "<Opener>"
    }

    fn __reduce__(&self) -> PyResult<()> {
        Err(stays_here("Opener"))
    }
}

#[pymethods]
impl PlainReceiver {
    #[new]
    #[pyo3(signature = (stored_bytes, /, *, offset = 0))]
    fn new(stored_bytes: i64, offset: i64) -> PyResult<Self> {
        let (stored_bytes, offset) = (count(stored_bytes, "stored_bytes")?, count(offset, "offset")?);
        Ok(Self { receiver: Receiver::new(offset, stored_bytes, Trace::Plain, Arrival::Keep)? })
    }

    #[pyo3(signature = (offset, length, /))]
    fn window(&self, offset: i64, length: i64) -> PyResult<Window> {
        self.receiver.window(offset, length)
    }

    #[pyo3(signature = (content, /))]
    fn receive(&self, py: Python<'_>, content: &Bound<'_, PyAny>) -> PyResult<UnauthenticatedBuffer> {
        self.receiver.receive(py, content)?;
        self.finish()
    }

    fn finish(&self) -> PyResult<UnauthenticatedBuffer> {
        self.receiver.finish().map(|memory| UnauthenticatedBuffer::new(memory, "PLAIN"))
    }

    fn __repr__(&self) -> &'static str {
        "<PlainReceiver>"
    }

    fn __reduce__(&self) -> PyResult<()> {
        Err(stays_here("PlainReceiver"))
    }
}

/// How content is opened before its tag is known.
#[pyfunction]
pub(crate) fn open_engine() -> &'static str {
    match arrowseal_core::open_engine() {
        OpenEngine::Switched => "switched",
        OpenEngine::TwoPass => "two-pass",
    }
}

/// Offsets and lengths of what a part at `offset` is sealed in, so that none crosses the border of a segment of the index.
fn segments(offset: u64, length: usize) -> impl Iterator<Item = (u64, usize)> {
    let end = offset + length as u64;
    let first = (offset / SEGMENT_BYTES + 1) * SEGMENT_BYTES;
    let borders = (first..).step_by(SEGMENT_BYTES as usize).map(move |border| border.min(end));
    std::iter::once(offset)
        .chain(borders.clone())
        .zip(borders)
        .map(|(from, to)| (from, (to - from) as usize))
        .take_while(|(_, length)| *length > 0)
}

/// Ends the message with its tag behind its last part. The checksum of the part, tag included.
fn close(sealer: &MessageSealer, tag: &mut [u8], mut crc32: Crc32, last: bool) -> Result<u32, Error> {
    if last {
        tag.copy_from_slice(&sealer.finish()?);
        crc32.update(tag);
    }
    Ok(crc32.value())
}

pub(crate) fn encryption(suite: &AlgorithmSuite) -> &'static str {
    if suite.committing() { "CSE V3" } else { "CSE V2" }
}

/// Runs `work` with the GIL released if there is enough of it.
pub(crate) fn detached<T: Send>(py: Python<'_>, bytes: usize, work: impl FnOnce() -> T + Send) -> T {
    if bytes >= GIL_BYTES { py.detach(work) } else { work() }
}
