//! Buffers that Python reads: sealed, proven, and not client-side encrypted at all. Three types, since they are not alike.

use std::ops::Range;
use std::sync::Arc;

use pyo3::basic::CompareOp;
use pyo3::buffer::PyUntypedBuffer;
use pyo3::exceptions::{PyBufferError, PyValueError};
use pyo3::prelude::*;

use crate::error::{count, stays_here};
use crate::memory::{self, Memory};
use crate::pool::Trace;

/// Ciphertext and tag of one message, or a part of it.
#[pyclass(frozen, module = "arrowseal._core")]
pub(crate) struct SealedBuffer {
    memory: Memory,
    /// Of all of it, where it was computed on the way.
    crc32: Option<u32>,
}

/// Plaintext that its tag has proven.
#[pyclass(frozen, module = "arrowseal._core")]
pub(crate) struct PlaintextBuffer(Content);

/// The bytes of an object that is not client-side encrypted, or that nothing has proven.
#[pyclass(frozen, module = "arrowseal._core")]
pub(crate) struct UnauthenticatedBuffer(Content);

/// Bytes of an object, and how it was encrypted.
struct Content {
    memory: Arc<Memory>,
    /// Slices share memory, and a tag may lie behind the content.
    range: Range<usize>,
    encryption: &'static str,
}

impl SealedBuffer {
    pub(crate) fn new(memory: Memory) -> Self {
        Self { memory, crc32: None }
    }

    pub(crate) fn with_crc32(memory: Memory, crc32: u32) -> Self {
        Self { memory, crc32: Some(crc32) }
    }

    pub(crate) fn content(&self) -> &[u8] {
        self.memory.as_slice()
    }

    pub(crate) fn crc32(&self) -> Option<u32> {
        self.crc32
    }
}

impl PlaintextBuffer {
    pub(crate) fn new(memory: Memory, content_bytes: usize, encryption: &'static str) -> Self {
        Self(Content { memory: Arc::new(memory), range: 0..content_bytes, encryption })
    }

    pub(crate) fn whole(memory: Memory, encryption: &'static str) -> Self {
        Self(Content::whole(memory, encryption))
    }

    pub(crate) fn content(&self) -> &[u8] {
        self.0.bytes()
    }
}

impl UnauthenticatedBuffer {
    pub(crate) fn new(memory: Memory, encryption: &'static str) -> Self {
        Self(Content::whole(memory, encryption))
    }

    pub(crate) fn content(&self) -> &[u8] {
        self.0.bytes()
    }
}

impl Content {
    fn whole(memory: Memory, encryption: &'static str) -> Self {
        let range = 0..memory.as_slice().len();
        Self { memory: Arc::new(memory), range, encryption }
    }

    fn bytes(&self) -> &[u8] {
        self.memory.as_slice().get(self.range.clone()).unwrap_or_default()
    }

    /// A part of it, without a copy. Raises `ValueError` for a range outside of it.
    fn slice(&self, offset: i64, length: i64) -> PyResult<Self> {
        let (offset, length) = (count(offset, "offset")? as usize, count(length, "length")? as usize);
        let end = offset.checked_add(length).filter(|end| *end <= self.range.len());
        let end = end.ok_or_else(|| PyValueError::new_err("the slice lies outside of the buffer"))?;
        let range = self.range.start + offset..self.range.start + end;
        Ok(Self { memory: Arc::clone(&self.memory), range, encryption: self.encryption })
    }

    /// Its bytes and those of others behind each other, in memory of their own.
    fn joined<'a>(&'a self, others: impl Iterator<Item = &'a [u8]> + Clone) -> PyResult<Self> {
        let parts = std::iter::once(self.bytes()).chain(others);
        let mut memory = Memory::new(parts.clone().map(|part| part.len() as u64).sum(), Trace::Encrypted)?;
        let mut rest = memory.as_mut_slice();
        for part in parts {
            let (to, behind) = rest.split_at_mut(part.len());
            to.copy_from_slice(part);
            rest = behind;
        }
        Ok(Self::whole(memory, self.encryption))
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
        self.0.encryption
    }

    #[pyo3(signature = (offset, length, /))]
    fn slice(&self, offset: i64, length: i64) -> PyResult<Self> {
        self.0.slice(offset, length).map(Self)
    }

    #[pyo3(signature = (others, /))]
    fn joined(&self, others: Vec<Bound<'_, Self>>) -> PyResult<Self> {
        self.0.joined(others.iter().map(|other| other.get().content())).map(Self)
    }

    fn __len__(&self) -> usize {
        self.content().len()
    }

    fn __repr__(&self) -> String {
        format!("<PlaintextBuffer of {} bytes>", self.__len__())
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
        self.0.encryption
    }

    #[pyo3(signature = (offset, length, /))]
    fn slice(&self, offset: i64, length: i64) -> PyResult<Self> {
        self.0.slice(offset, length).map(Self)
    }

    #[pyo3(signature = (others, /))]
    fn joined(&self, others: Vec<Bound<'_, Self>>) -> PyResult<Self> {
        self.0.joined(others.iter().map(|other| other.get().content())).map(Self)
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
