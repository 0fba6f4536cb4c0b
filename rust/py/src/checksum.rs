//! The checksum that S3 wants of what it is sent.

use crc_fast::CrcAlgorithm;
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::buffer::{PlaintextBuffer, SealedBuffer, UnauthenticatedBuffer};
use crate::content::detached;
use crate::error::count;

/// CRC32 of bytes that nobody can change meanwhile, or of a range of them.
#[pyfunction]
#[pyo3(signature = (content, begin = 0, end = None, /))]
pub(crate) fn crc32(py: Python<'_>, content: &Bound<'_, PyAny>, begin: i64, end: Option<i64>) -> PyResult<u32> {
    let bytes = unchanging(content)?;
    let end = end.map_or(Ok(bytes.len() as u64), |end| count(end, "end"))?;
    let range = bytes.get(count(begin, "begin")? as usize..end as usize);
    let range = range.ok_or_else(|| PyValueError::new_err("the range lies outside of the content"))?;
    // The algorithm has 32 bits, its type has 64 for all.
    Ok(detached(py, range.len(), || crc_fast::checksum(CrcAlgorithm::Crc32IsoHdlc, range)) as u32)
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
