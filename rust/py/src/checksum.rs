//! The checksum that S3 wants of what it is sent.

use crc_fast::{CrcAlgorithm, Digest};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::buffer::{PlaintextBuffer, SealedBuffer, UnauthenticatedBuffer};
use crate::content::detached;
use crate::error::count;

/// CRC32 of bytes as they are sealed: while they are in the cache of the processor it takes a quarter less time.
pub(crate) struct Crc32(Digest);

impl Crc32 {
    pub(crate) fn new() -> Self {
        Self(Digest::new(CrcAlgorithm::Crc32IsoHdlc))
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    pub(crate) fn value(self) -> u32 {
        // The algorithm has 32 bits, its type has 64 for all.
        self.0.finalize() as u32
    }
}

/// CRC32 of bytes that nobody can change meanwhile, or of a range of them.
#[pyfunction]
#[pyo3(signature = (content, begin = 0, end = None, /))]
pub(crate) fn crc32(py: Python<'_>, content: &Bound<'_, PyAny>, begin: i64, end: Option<i64>) -> PyResult<u32> {
    let bytes = unchanging(content)?;
    if let Some(known) = content.cast::<SealedBuffer>().ok().and_then(|sealed| sealed.get().crc32())
        && begin == 0
        && end.is_none_or(|end| end == bytes.len() as i64)
    {
        return Ok(known);
    }
    let end = end.map_or(Ok(bytes.len() as u64), |end| count(end, "end"))?;
    let range = bytes.get(count(begin, "begin")? as usize..end as usize);
    let range = range.ok_or_else(|| PyValueError::new_err("the range lies outside of the content"))?;
    Ok(detached(py, range.len(), || {
        let mut crc32 = Crc32::new();
        crc32.update(range);
        crc32.value()
    }))
}

fn unchanging<'a>(content: &'a Bound<'_, PyAny>) -> PyResult<&'a [u8]> {
    if let Ok(bytes) = content.cast::<PyBytes>() {
        Ok(bytes.as_bytes())
    } else if let Ok(sealed) = content.cast::<SealedBuffer>() {
        Ok(sealed.get().content())
    } else if let Ok(plain) = content.cast::<UnauthenticatedBuffer>() {
        Ok(plain.get().content())
    } else if let Ok(plaintext) = content.cast::<PlaintextBuffer>() {
        Ok(plaintext.get().content())
    } else {
        Err(PyTypeError::new_err("bytes or a buffer of the core is expected, which nobody can change"))
    }
}
