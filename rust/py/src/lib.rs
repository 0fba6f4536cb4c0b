//! The Python module `arrowseal._core`: extract, detach, call, wrap. What it offers is described in `_core.pyi`.
#![deny(unsafe_code)]

mod buffer;
mod content;
mod error;
mod memory;
mod pool;
mod suite;

/// The Rust core of arrowseal.
///
/// `gil_used`: the copy of a mutable buffer relies on the GIL to keep other threads from changing it meanwhile. On a
/// free-threaded interpreter importing this module therefore turns the GIL on.
///
/// One interpreter a process: pyo3 refuses the import in a second one with an `ImportError`.
#[pyo3::pymodule(gil_used = true)]
mod _core {
    use pyo3::prelude::*;

    #[pymodule_export]
    use crate::buffer::{PlaintextBuffer, SealedBuffer, UnauthenticatedBuffer};
    #[pymodule_export]
    use crate::content::{DataKey, Opener, PlainReceiver, Sealer, Window, open_engine};
    #[pymodule_export]
    use crate::suite::AlgorithmSuite;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        module.add("__version__", env!("CARGO_PKG_VERSION"))?;
        module.add("SUITES", crate::suite::suites(module.py())?)
    }
}
