//! Errors of the core as Python exceptions, in one exhaustive match.

use arrowseal_core::error::Error;
use pyo3::PyErr;
use pyo3::exceptions::{PyOSError, PyRuntimeError, PyTypeError, PyValueError};

pyo3::import_exception!(arrowseal.exceptions, AuthenticationError);

/// The exception for an error of the core. Its message is the core's: constant, without any value.
pub(crate) fn exception(error: Error) -> PyErr {
    match error {
        Error::Authentication | Error::WrappedKey => AuthenticationError::new_err(error.to_string()),
        Error::Random => PyOSError::new_err(error.to_string()),
        Error::Cipher => PyRuntimeError::new_err(error.to_string()),
        Error::UnsupportedSuite
        | Error::KeyToOpenOnly
        | Error::WrappingKeyLength
        | Error::WrappingKeyToUnwrapOnly
        | Error::Pem
        | Error::EncryptedKey
        | Error::PrivateKey
        | Error::PublicKey
        | Error::RsaKeySize
        | Error::DataKeyLength
        | Error::MessageIdLength
        | Error::IvLength
        | Error::MessageIdZero
        | Error::CommitmentLength
        | Error::Misaligned
        | Error::SegmentSize
        | Error::TooLong
        | Error::Overlap
        | Error::OtherProcess
        | Error::Incomplete
        | Error::Finished
        | Error::LengthMismatch
        | Error::WeakKey => PyValueError::new_err(error.to_string()),
    }
}

/// What pickle, `copy.copy` and `copy.deepcopy` get to hear: all three ask `__reduce__`.
pub(crate) fn stays_here(class: &str) -> PyErr {
    PyTypeError::new_err(format!("a {class} holds keys or content and is neither pickled nor copied"))
}

/// A number of bytes or threads out of a Python integer, which may be negative.
pub(crate) fn count(value: i64, what: &str) -> Result<u64, PyErr> {
    u64::try_from(value).map_err(|_| PyValueError::new_err(format!("{what} is negative")))
}
