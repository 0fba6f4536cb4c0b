//! Buffers that Python reads: sealed, proven, and not client-side encrypted at all. Three types, since they are not alike.

use pyo3::basic::CompareOp;
use pyo3::buffer::PyUntypedBuffer;
use pyo3::exceptions::PyBufferError;
use pyo3::prelude::*;

use crate::error::stays_here;
use crate::memory::{self, Memory};

/// Ciphertext and tag of one message.
#[pyclass(frozen, module = "arrowseal._core")]
pub(crate) struct SealedBuffer(Memory);

/// Plaintext that its tag has proven.
#[pyclass(frozen, module = "arrowseal._core")]
pub(crate) struct PlaintextBuffer {
    memory: Memory,
    /// The tag lies behind the content.
    content_bytes: usize,
    encryption: &'static str,
}

/// The bytes of an object that is not client-side encrypted.
#[pyclass(frozen, module = "arrowseal._core")]
pub(crate) struct UnauthenticatedBuffer(Memory);

impl SealedBuffer {
    pub(crate) fn new(memory: Memory) -> Self {
        Self(memory)
    }

    pub(crate) fn content(&self) -> &[u8] {
        self.0.as_slice()
    }
}

impl PlaintextBuffer {
    pub(crate) fn new(memory: Memory, content_bytes: usize, encryption: &'static str) -> Self {
        Self { memory, content_bytes, encryption }
    }

    pub(crate) fn content(&self) -> &[u8] {
        self.memory.as_slice().get(..self.content_bytes).unwrap_or_default()
    }
}

impl UnauthenticatedBuffer {
    pub(crate) fn new(memory: Memory) -> Self {
        Self(memory)
    }

    pub(crate) fn content(&self) -> &[u8] {
        self.0.as_slice()
    }
}

#[pymethods]
impl SealedBuffer {
    fn __len__(&self) -> usize {
        self.content().len()
    }

    fn __repr__(&self) -> String {
        format!("<SealedBuffer of {} bytes>", self.__len__())
    }

    fn __reduce__(&self) -> PyResult<()> {
        Err(stays_here("SealedBuffer"))
    }
}

#[pymethods]
impl PlaintextBuffer {
    #[getter]
    fn encryption(&self) -> &'static str {
        self.encryption
    }

    fn __len__(&self) -> usize {
        self.content_bytes
    }

    fn __repr__(&self) -> String {
        format!("<PlaintextBuffer of {} bytes>", self.content_bytes)
    }

    fn __richcmp__(&self, other: &Bound<'_, PyAny>, operation: CompareOp) -> PyResult<Py<PyAny>> {
        compare(self.content(), other, operation)
    }

    fn __reduce__(&self) -> PyResult<()> {
        Err(stays_here("PlaintextBuffer"))
    }
}

#[pymethods]
impl UnauthenticatedBuffer {
    #[getter]
    fn encryption(&self) -> &'static str {
        "PLAIN"
    }

    fn __len__(&self) -> usize {
        self.content().len()
    }

    fn __repr__(&self) -> String {
        format!("<UnauthenticatedBuffer of {} bytes>", self.__len__())
    }

    fn __richcmp__(&self, other: &Bound<'_, PyAny>, operation: CompareOp) -> PyResult<Py<PyAny>> {
        compare(self.content(), other, operation)
    }

    fn __reduce__(&self) -> PyResult<()> {
        Err(stays_here("UnauthenticatedBuffer"))
    }
}

/// Bytes that do not change while they are held, of `bytes` or of a buffer of this module.
pub(crate) enum Frozen<'a> {
    Bytes(&'a [u8]),
    Other(PyUntypedBuffer),
}

/// The content of an object with the buffer protocol.
pub(crate) fn frozen<'a>(content: &'a Bound<'_, PyAny>) -> PyResult<Frozen<'a>> {
    if let Ok(bytes) = content.cast::<pyo3::types::PyBytes>() {
        return Ok(Frozen::Bytes(bytes.as_bytes()));
    }
    if let Ok(buffer) = content.cast::<PlaintextBuffer>() {
        return Ok(Frozen::Bytes(buffer.get().content()));
    }
    if let Ok(buffer) = content.cast::<UnauthenticatedBuffer>() {
        return Ok(Frozen::Bytes(buffer.get().content()));
    }
    if let Ok(buffer) = content.cast::<SealedBuffer>() {
        return Ok(Frozen::Bytes(buffer.get().content()));
    }
    let buffer = PyUntypedBuffer::get(content)?;
    if buffer.is_c_contiguous() {
        Ok(Frozen::Other(buffer))
    } else {
        Err(PyBufferError::new_err("the buffer is not contiguous: copy it first"))
    }
}

/// Equality with anything that has bytes, in any order of dimensions; no ordering.
fn compare(bytes: &[u8], other: &Bound<'_, PyAny>, operation: CompareOp) -> PyResult<Py<PyAny>> {
    let py = other.py();
    let equal = match frozen(other) {
        Ok(Frozen::Bytes(theirs)) => bytes == theirs,
        Ok(Frozen::Other(buffer)) => memory::equal(bytes, py, &buffer),
        Err(_) => return Ok(py.NotImplemented()),
    };
    match operation {
        CompareOp::Eq => Ok(equal.into_pyobject(py)?.to_owned().into_any().unbind()),
        CompareOp::Ne => Ok((!equal).into_pyobject(py)?.to_owned().into_any().unbind()),
        _ => Ok(py.NotImplemented()),
    }
}
