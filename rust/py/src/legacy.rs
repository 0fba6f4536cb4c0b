//! Content of old clients, decrypted and not proven.

use std::sync::Arc;

use arrowseal_core::legacy;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::buffer::UnauthenticatedBuffer;
use crate::content::{DataKey, detached};
use crate::error::{count, exception, stays_here};
use crate::pool::Trace;
use crate::window::{Arrival, Receiver, Window};

/// Decrypts one object of AES-CBC, range by range.
#[pyclass(frozen, module = "arrowseal._core")]
pub(crate) struct CbcOpener {
    receiver: Receiver,
    opener: Arc<legacy::CbcOpener>,
    encryption: &'static str,
}

#[pymethods]
impl CbcOpener {
    #[new]
    #[pyo3(signature = (data_key, iv, stored_bytes, /, *, encryption = "CSE V1"))]
    fn new(data_key: &DataKey, iv: &[u8], stored_bytes: i64, encryption: &str) -> PyResult<Self> {
        let stored_bytes = count(stored_bytes, "stored_bytes")?;
        let known = ["CSE V1", "CSE V2"].into_iter().find(|known| *known == encryption);
        let encryption = known.ok_or_else(|| PyValueError::new_err("CBC is of CSE V1 or of CSE V2"))?;
        let opener = Arc::new(legacy::CbcOpener::new(&data_key.0, iv, stored_bytes).map_err(exception)?);
        let receiver = Receiver::new(0, stored_bytes, Trace::Encrypted, Arrival::Chain(Arc::clone(&opener)))?;
        Ok(Self { receiver, opener, encryption })
    }

    #[pyo3(signature = (offset, length, /))]
    fn window(&self, offset: i64, length: i64) -> PyResult<Window> {
        self.receiver.window(offset, length)
    }

    #[pyo3(signature = (content, /))]
    fn receive(&self, py: Python<'_>, content: &Bound<'_, PyAny>) -> PyResult<UnauthenticatedBuffer> {
        self.receiver.receive(py, content)?;
        self.finish(py)
    }

    fn finish(&self, py: Python<'_>) -> PyResult<UnauthenticatedBuffer> {
        let mut memory = self.receiver.finish()?;
        let object = memory.as_mut_slice();
        let content = detached(py, object.len(), || self.opener.finish(object)).map_err(exception)?;
        memory.truncate(content);
        Ok(UnauthenticatedBuffer::new(memory, self.encryption))
    }

    fn __repr__(&self) -> &'static str {
        "<CbcOpener>"
    }

    fn __reduce__(&self) -> PyResult<()> {
        Err(stays_here("CbcOpener"))
    }
}
