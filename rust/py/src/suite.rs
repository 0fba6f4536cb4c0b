//! The table of algorithm suites, seen from Python.

use arrowseal_core::suite::{self, SUITES};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyTuple;

/// A row of the table of algorithm suites of the S3 Encryption Client specification. Sizes in bytes.
#[pyclass(frozen, eq, hash, module = "arrowseal._core")]
#[derive(PartialEq, Eq, Hash)]
pub(crate) struct AlgorithmSuite(&'static suite::AlgorithmSuite);

/// Every suite, by id.
pub(crate) fn suites(py: Python<'_>) -> PyResult<Bound<'_, PyTuple>> {
    let rows: Vec<_> = SUITES.iter().map(|row| Bound::new(py, AlgorithmSuite(row))).collect::<PyResult<_>>()?;
    PyTuple::new(py, rows)
}

#[pymethods]
impl AlgorithmSuite {
    #[new]
    #[pyo3(signature = (suite_id, /))]
    fn new(suite_id: u16) -> PyResult<Self> {
        let row = SUITES.iter().find(|row| row.id == suite_id);
        row.map(|row| Self(row)).ok_or_else(|| PyValueError::new_err("no algorithm suite has this id"))
    }

    #[getter]
    fn id(&self) -> u16 {
        self.0.id
    }

    #[getter]
    fn name(&self) -> &'static str {
        self.0.name
    }

    #[getter]
    fn content_algorithm(&self) -> Option<&'static str> {
        self.0.content_algorithm
    }

    #[getter]
    fn data_key_bytes(&self) -> usize {
        self.0.data_key_bytes
    }

    #[getter]
    fn iv_bytes(&self) -> usize {
        self.0.iv_bytes
    }

    #[getter]
    fn message_id_bytes(&self) -> usize {
        self.0.message_id_bytes
    }

    #[getter]
    fn commitment_bytes(&self) -> usize {
        self.0.commitment_bytes
    }

    #[getter]
    fn tag_bytes(&self) -> usize {
        self.0.tag_bytes
    }

    #[getter]
    fn max_content_bytes(&self) -> u64 {
        self.0.max_content_bytes
    }

    #[getter]
    fn committing(&self) -> bool {
        self.0.committing()
    }

    #[getter]
    fn supported(&self) -> bool {
        self.0.supported
    }

    fn __repr__(&self) -> String {
        format!("<AlgorithmSuite 0x{:04x} {}>", self.0.id, self.0.name)
    }

    fn __reduce__<'py>(&self, py: Python<'py>) -> (Bound<'py, PyAny>, (u16,)) {
        // By reference: unpickling finds the row of the same id.
        (py.get_type::<Self>().into_any(), (self.0.id,))
    }
}
