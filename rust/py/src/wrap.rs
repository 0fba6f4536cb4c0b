//! Raw wrapping keys. The GIL is released for RSA with a private key, which takes milliseconds.

use arrowseal_core::wrap;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::content::DataKey;
use crate::error::{exception, stays_here};

/// A raw AES-256 key that wraps data keys.
#[pyclass(frozen, module = "arrowseal._core")]
pub(crate) struct AesWrappingKey(wrap::AesWrappingKey);

/// An RSA public key that wraps data keys.
#[pyclass(frozen, module = "arrowseal._core")]
pub(crate) struct RsaPublicKey(wrap::RsaPublicKey);

/// An RSA private key that unwraps data keys.
#[pyclass(frozen, module = "arrowseal._core")]
pub(crate) struct RsaPrivateKey(wrap::RsaPrivateKey);

#[pymethods]
impl AesWrappingKey {
    #[new]
    #[pyo3(signature = (key, /))]
    fn new(key: &[u8]) -> PyResult<Self> {
        wrap::AesWrappingKey::new(key).map(Self).map_err(exception)
    }

    #[pyo3(signature = (data_key, additional_data, /))]
    fn wrap<'py>(&self, py: Python<'py>, data_key: &DataKey, additional_data: &[u8]) -> PyResult<Bound<'py, PyBytes>> {
        let wrapped = self.0.wrap(&data_key.0, additional_data).map_err(exception)?;
        Ok(PyBytes::new(py, &wrapped))
    }

    #[pyo3(signature = (wrapped, additional_data, /))]
    fn unwrap(&self, wrapped: &[u8], additional_data: &[u8]) -> PyResult<DataKey> {
        self.0.unwrap(wrapped, additional_data).map(DataKey).map_err(exception)
    }

    #[pyo3(signature = (wrapped, /))]
    fn unwrap_rfc3394(&self, wrapped: &[u8]) -> PyResult<DataKey> {
        self.0.unwrap_rfc3394(wrapped).map(DataKey).map_err(exception)
    }

    #[pyo3(signature = (wrapped, /))]
    fn unwrap_ecb(&self, wrapped: &[u8]) -> PyResult<DataKey> {
        self.0.unwrap_ecb(wrapped).map(DataKey).map_err(exception)
    }

    fn __repr__(&self) -> &'static str {
        "<AesWrappingKey>"
    }

    fn __reduce__(&self) -> PyResult<()> {
        Err(stays_here("AesWrappingKey"))
    }
}

#[pymethods]
impl RsaPublicKey {
    #[new]
    #[pyo3(signature = (file, /))]
    fn new(file: &[u8]) -> PyResult<Self> {
        wrap::RsaPublicKey::new(file).map(Self).map_err(exception)
    }

    #[pyo3(signature = (data_key, content_algorithm, /))]
    fn wrap<'py>(&self, py: Python<'py>, data_key: &DataKey, content_algorithm: &str) -> PyResult<Bound<'py, PyBytes>> {
        let wrapped = self.0.wrap(&data_key.0, content_algorithm).map_err(exception)?;
        Ok(PyBytes::new(py, &wrapped))
    }

    fn __repr__(&self) -> &'static str {
        "<RsaPublicKey>"
    }

    fn __reduce__(&self) -> PyResult<()> {
        Err(stays_here("RsaPublicKey"))
    }
}

#[pymethods]
impl RsaPrivateKey {
    #[new]
    #[pyo3(signature = (file, /))]
    fn new(py: Python<'_>, file: &[u8]) -> PyResult<Self> {
        py.detach(|| wrap::RsaPrivateKey::new(file)).map(Self).map_err(exception)
    }

    fn public_key(&self) -> PyResult<RsaPublicKey> {
        self.0.public_key().map(RsaPublicKey).map_err(exception)
    }

    #[pyo3(signature = (wrapped, content_algorithm, /))]
    fn unwrap(&self, py: Python<'_>, wrapped: &[u8], content_algorithm: &str) -> PyResult<DataKey> {
        py.detach(|| self.0.unwrap(wrapped, content_algorithm)).map(DataKey).map_err(exception)
    }

    #[pyo3(signature = (wrapped, /))]
    fn unwrap_oaep_sha256(&self, py: Python<'_>, wrapped: &[u8]) -> PyResult<DataKey> {
        py.detach(|| self.0.unwrap_oaep_sha256(wrapped)).map(DataKey).map_err(exception)
    }

    #[pyo3(signature = (wrapped, /))]
    fn unwrap_pkcs1(&self, py: Python<'_>, wrapped: &[u8]) -> PyResult<DataKey> {
        py.detach(|| self.0.unwrap_pkcs1(wrapped)).map(DataKey).map_err(exception)
    }

    fn __repr__(&self) -> &'static str {
        "<RsaPrivateKey>"
    }

    fn __reduce__(&self) -> PyResult<()> {
        Err(stays_here("RsaPrivateKey"))
    }
}
