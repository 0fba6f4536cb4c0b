//! The Python module `arrowseal._core`: extract, detach, call, wrap. What it offers is described in `_core.pyi`.
#![deny(unsafe_code)]

#[cfg(not(target_pointer_width = "64"))]
compile_error!("offsets of objects become `usize` here, and below 64 bits would wrap around");

mod buffer;
mod checksum;
mod content;
mod error;
mod legacy;
mod memory;
mod part;
mod pool;
mod segments;
mod suite;
mod window;
mod wrap;

/// The Rust core of arrowseal.
///
/// `gil_used`: the copy of a mutable buffer relies on the GIL to keep other threads from changing it meanwhile. On a
/// free-threaded interpreter importing this module therefore turns the GIL on.
///
/// One interpreter a process: the types of pyo3 are static, so the import in a second one is an `ImportError`. Python 3.12
/// and newer say so themselves for an interpreter with a GIL of its own.
#[pyo3::pymodule(gil_used = true)]
mod _core {
    use pyo3::exceptions::PyImportError;
    use pyo3::prelude::*;
    use pyo3::sync::PyOnceLock;

    #[pymodule_export]
    use crate::buffer::{PlaintextBuffer, SealedBuffer, UnauthenticatedBuffer};
    #[pymodule_export]
    use crate::checksum::crc32;
    #[pymodule_export]
    use crate::content::{DataKey, Opener, PlainReceiver, Sealer, open_engine};
    #[pymodule_export]
    use crate::legacy::CbcOpener;
    #[pymodule_export]
    use crate::part::PartBuffer;
    #[pymodule_export]
    use crate::segments::{ProvenRange, SegmentOpener, Survey, UnauthenticatedOpener, UnauthenticatedRange};
    #[pymodule_export]
    use crate::suite::AlgorithmSuite;
    #[pymodule_export]
    use crate::window::Window;
    #[pymodule_export]
    use crate::wrap::{AesWrappingKey, RsaPrivateKey, RsaPublicKey};

    /// The `sys` of the interpreter that came first: every interpreter has another one.
    static HOME: PyOnceLock<Py<PyModule>> = PyOnceLock::new();

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        let sys = module.py().import("sys")?;
        if !HOME.get_or_init(module.py(), || sys.clone().unbind()).is(&sys) {
            return Err(PyImportError::new_err(
                "arrowseal._core does not run in a subinterpreter: use threads or processes",
            ));
        }
        module.add("__version__", env!("CARGO_PKG_VERSION"))?;
        module.add("SUITES", crate::suite::suites(module.py())?)
    }
}
