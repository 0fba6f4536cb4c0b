//! Ranges of a message that are proven on their own, by an index or by the partials of a first pass over the whole.

use std::sync::{Arc, Mutex};

use arrowseal_core::error::Error;
use arrowseal_core::index::{self, IndexMasks, SEGMENT_BYTES};
use arrowseal_core::keys::MessageId;
use arrowseal_core::message::{self, MessageOpener, TAG_BYTES};
use arrowseal_core::suite::supported_suite;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::buffer::{PlaintextBuffer, UnauthenticatedBuffer};
use crate::content::{DataKey, encryption};
use crate::error::{count, exception, stays_here};
use crate::pool::Trace;
use crate::window::{Arrival, Receiver, SurveyedMessage, Window};

/// Opens ranges of one message, each proven on its own.
#[pyclass(frozen, module = "arrowseal._core")]
pub(crate) struct SegmentOpener {
    opener: Arc<index::SegmentOpener>,
    data_key: Py<DataKey>,
    id: MessageId,
}

/// Looks at one message once, to prove it by its tag and to keep what proves its segments.
#[pyclass(frozen, module = "arrowseal._core")]
pub(crate) struct Survey {
    message: Mutex<Option<Arc<SurveyedMessage>>>,
    stored_bytes: u64,
    data_key: Py<DataKey>,
    suite_id: u16,
    message_id: Vec<u8>,
}

/// Decrypts ranges of one message without proof.
#[pyclass(frozen, module = "arrowseal._core")]
pub(crate) struct UnauthenticatedOpener {
    opener: Arc<message::UnauthenticatedOpener>,
    content_bytes: u64,
    encryption: &'static str,
}

/// A range on its way in that is proven while it arrives.
#[pyclass(frozen, module = "arrowseal._core")]
pub(crate) struct ProvenRange {
    receiver: Receiver,
    encryption: &'static str,
}

/// A range on its way in that is decrypted without proof.
#[pyclass(frozen, module = "arrowseal._core")]
pub(crate) struct UnauthenticatedRange {
    receiver: Receiver,
    encryption: &'static str,
}

#[pymethods]
impl SegmentOpener {
    #[staticmethod]
    #[pyo3(signature = (data_key, suite_id, message_id, commitment, stored_bytes, index, /))]
    fn from_index(
        data_key: Py<DataKey>,
        suite_id: u16,
        message_id: &[u8],
        commitment: Option<&[u8]>,
        stored_bytes: i64,
        index: &[u8],
    ) -> PyResult<Option<Self>> {
        let (id, content_bytes) = (message_id_of(suite_id, message_id)?, content_bytes(stored_bytes)?);
        let key = &data_key.get().0;
        let opener = index::SegmentOpener::from_index(key, &id, commitment, content_bytes, index).map_err(exception)?;
        Ok(opener.map(|opener| Self { opener: Arc::new(opener), data_key, id }))
    }

    #[getter]
    fn segment_bytes(&self) -> u64 {
        self.opener.segmentation().segment_bytes
    }

    #[pyo3(signature = (offset, length, /))]
    fn range(&self, offset: i64, length: i64) -> PyResult<ProvenRange> {
        let (offset, length) = (count(offset, "offset")?, count(length, "length")?);
        let (limit, arrival) = (self.opener.segmentation().content_bytes, Arrival::Prove(Arc::clone(&self.opener)));
        let receiver = receiver(offset, length, limit, arrival)?;
        Ok(ProvenRange { receiver, encryption: encryption(self.id.suite()) })
    }

    fn index<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let masks = IndexMasks::new(&self.data_key.get().0, &self.id, self.opener.segmentation());
        let index = masks.and_then(|masks| py.detach(|| self.opener.index(&masks)));
        Ok(PyBytes::new(py, &index.map_err(exception)?))
    }

    fn __repr__(&self) -> String {
        format!("<SegmentOpener of {} bytes>", self.opener.segmentation().content_bytes)
    }

    fn __reduce__(&self) -> PyResult<()> {
        Err(stays_here("SegmentOpener"))
    }
}

#[pymethods]
impl Survey {
    #[new]
    #[pyo3(signature = (data_key, suite_id, message_id, commitment, stored_bytes, /))]
    fn new(
        data_key: Py<DataKey>,
        suite_id: u16,
        message_id: &[u8],
        commitment: Option<&[u8]>,
        stored_bytes: i64,
    ) -> PyResult<Self> {
        let (id, content_bytes) = (message_id_of(suite_id, message_id)?, content_bytes(stored_bytes)?);
        let key = data_key.get().0.to_open(&id, commitment).map_err(exception)?;
        let opener = MessageOpener::new(key, content_bytes).map_err(exception)?;
        let message = Arc::new(SurveyedMessage { opener, content_bytes, tag: Mutex::default() });
        let stored_bytes = content_bytes + TAG_BYTES as u64;
        let message_id = message_id.to_vec();
        Ok(Self { message: Mutex::new(Some(message)), stored_bytes, data_key, suite_id, message_id })
    }

    /// Each window has memory of its own, since its content is given up.
    #[pyo3(signature = (offset, length, /))]
    fn window(&self, offset: i64, length: i64) -> PyResult<Window> {
        let arrival = Arrival::Survey(self.message()?);
        let (begin, bytes) = (count(offset, "offset")?, count(length, "length")?);
        receiver(begin, bytes, self.stored_bytes, arrival)?.window(offset, length)
    }

    #[pyo3(signature = (content, /))]
    fn receive(&self, py: Python<'_>, content: &Bound<'_, PyAny>) -> PyResult<SegmentOpener> {
        let arrival = Arrival::Survey(self.message()?);
        receiver(0, self.stored_bytes, self.stored_bytes, arrival)?.receive(py, content)?;
        self.finish(py)
    }

    fn finish(&self, py: Python<'_>) -> PyResult<SegmentOpener> {
        let message = self.lock().take().ok_or_else(|| exception(Error::Finished))?;
        // A window that is still held could bring bytes in; then it is not finished.
        let message = Arc::try_unwrap(message).map_err(|held| {
            *self.lock() = Some(held);
            exception(Error::Incomplete)
        })?;
        let tag = message.tag.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
        let opener = message.opener;
        // A million segments at the limit of the format.
        let segments = py.detach(|| opener.finish(&tag).and_then(|()| opener.into_segments(SEGMENT_BYTES)));
        let opener = Arc::new(segments.map_err(exception)?);
        let id = message_id_of(self.suite_id, &self.message_id)?;
        Ok(SegmentOpener { opener, data_key: self.data_key.clone_ref(py), id })
    }

    fn __repr__(&self) -> &'static str {
        "<Survey>"
    }

    fn __reduce__(&self) -> PyResult<()> {
        Err(stays_here("Survey"))
    }
}

impl Survey {
    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Arc<SurveyedMessage>>> {
        self.message.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn message(&self) -> PyResult<Arc<SurveyedMessage>> {
        self.lock().as_ref().map(Arc::clone).ok_or_else(|| exception(Error::Finished))
    }
}

#[pymethods]
impl UnauthenticatedOpener {
    #[new]
    #[pyo3(signature = (data_key, suite_id, message_id, commitment, stored_bytes, /))]
    fn new(
        data_key: &DataKey,
        suite_id: u16,
        message_id: &[u8],
        commitment: Option<&[u8]>,
        stored_bytes: i64,
    ) -> PyResult<Self> {
        let (id, content_bytes) = (message_id_of(suite_id, message_id)?, content_bytes(stored_bytes)?);
        let key = data_key.0.to_open(&id, commitment).map_err(exception)?;
        let opener = Arc::new(message::UnauthenticatedOpener::new(key).map_err(exception)?);
        let encryption = if id.suite().committing() { "CSE V3, unauthenticated" } else { "CSE V2, unauthenticated" };
        Ok(Self { opener, content_bytes, encryption })
    }

    #[pyo3(signature = (offset, length, /))]
    fn range(&self, offset: i64, length: i64) -> PyResult<UnauthenticatedRange> {
        let (offset, length) = (count(offset, "offset")?, count(length, "length")?);
        let arrival = Arrival::Decrypt(Arc::clone(&self.opener));
        let receiver = receiver(offset, length, self.content_bytes, arrival)?;
        Ok(UnauthenticatedRange { receiver, encryption: self.encryption })
    }

    fn __repr__(&self) -> &'static str {
        "<UnauthenticatedOpener>"
    }

    fn __reduce__(&self) -> PyResult<()> {
        Err(stays_here("UnauthenticatedOpener"))
    }
}

#[pymethods]
impl ProvenRange {
    #[pyo3(signature = (offset, length, /))]
    fn window(&self, offset: i64, length: i64) -> PyResult<Window> {
        self.receiver.window(offset, length)
    }

    #[pyo3(signature = (content, /))]
    fn receive(&self, py: Python<'_>, content: &Bound<'_, PyAny>) -> PyResult<PlaintextBuffer> {
        self.receiver.receive(py, content)?;
        self.finish()
    }

    fn finish(&self) -> PyResult<PlaintextBuffer> {
        // Every window of it was proven when it was received, and all are there.
        self.receiver.finish().map(|memory| PlaintextBuffer::whole(memory, self.encryption))
    }

    fn __repr__(&self) -> &'static str {
        "<ProvenRange>"
    }

    fn __reduce__(&self) -> PyResult<()> {
        Err(stays_here("ProvenRange"))
    }
}

#[pymethods]
impl UnauthenticatedRange {
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
        self.receiver.finish().map(|memory| UnauthenticatedBuffer::new(memory, self.encryption))
    }

    fn __repr__(&self) -> &'static str {
        "<UnauthenticatedRange>"
    }

    fn __reduce__(&self) -> PyResult<()> {
        Err(stays_here("UnauthenticatedRange"))
    }
}

/// What takes in a range of an object, if it lies within it.
fn receiver(offset: u64, length: u64, limit: u64, arrival: Arrival) -> PyResult<Receiver> {
    let end = offset.checked_add(length).filter(|end| *end <= limit);
    end.ok_or_else(|| exception(Error::TooLong))?;
    Receiver::new(offset, length, Trace::Encrypted, arrival)
}

fn message_id_of(suite_id: u16, message_id: &[u8]) -> PyResult<MessageId> {
    supported_suite(suite_id).and_then(|suite| MessageId::from_bytes(suite, message_id)).map_err(exception)
}

fn content_bytes(stored_bytes: i64) -> PyResult<u64> {
    let no_tag = || PyValueError::new_err("a stored message has 16 bytes at least: its tag");
    count(stored_bytes, "stored_bytes")?.checked_sub(TAG_BYTES as u64).ok_or_else(no_tag)
}
