//! A part of an object on its way out: filled by Python bit by bit, then sealed where it lies, or handed over as it is.

use std::sync::{Mutex, MutexGuard, PoisonError};

use arrowseal_core::message::TAG_BYTES;
use arrowseal_core::{error::Error, wipe};
use pyo3::buffer::PyUntypedBuffer;
use pyo3::exceptions::{PyBufferError, PyValueError};
use pyo3::prelude::*;

use crate::buffer::UnauthenticatedBuffer;
use crate::error::{count, exception, stays_here};
use crate::memory::Memory;
use crate::pool::Trace;

/// What a part begins with, in pages of their own: many files may be open of which each holds little yet.
const FIRST_BYTES: usize = 1 << 20;

/// A part that is being filled, until it is sealed or handed over.
#[pyclass(frozen, module = "arrowseal._core")]
pub(crate) struct PartBuffer {
    capacity: usize,
    trace: Trace,
    state: Mutex<Option<Filling>>,
}

/// Memory that holds plaintext for now: it is wiped unless all of that was sealed, or was no secret.
pub(crate) struct Filling {
    /// None once it was handed over.
    memory: Option<Memory>,
    length: usize,
    secret: bool,
}

impl Filling {
    fn new(capacity: usize, trace: Trace) -> PyResult<Self> {
        let memory = Memory::new((capacity.min(FIRST_BYTES) + TAG_BYTES) as u64, trace)?;
        Ok(Self { memory: Some(memory), length: 0, secret: trace == Trace::Encrypted })
    }

    fn append(&mut self, py: Python<'_>, source: &PyUntypedBuffer, part: &PartBuffer) -> PyResult<usize> {
        if self.room() < part.capacity && self.length + source.len_bytes() > self.room() {
            self.grow(part)?;
        }
        let room = self.length..self.room();
        let accepted = self.memory.as_mut().map_or(0, |memory| memory.copy_at(py, room, source));
        self.length += accepted;
        Ok(accepted)
    }

    fn room(&self) -> usize {
        self.memory.as_ref().map_or(0, |memory| memory.as_slice().len() - TAG_BYTES)
    }

    /// Moves what it holds into memory of the whole part.
    fn grow(&mut self, part: &PartBuffer) -> PyResult<()> {
        let mut larger = Self { memory: None, length: self.length, secret: self.secret };
        let mut memory = Memory::new((part.capacity + TAG_BYTES) as u64, part.trace)?;
        let held = self.memory.as_ref().and_then(|held| held.as_slice().get(..self.length));
        if let (Some(to), Some(from)) = (memory.as_mut_slice().get_mut(..self.length), held) {
            to.copy_from_slice(from);
        }
        larger.memory = Some(memory);
        *self = larger; // what was held before is wiped as it is dropped
        Ok(())
    }

    /// The content, and the room for the tag behind it.
    pub(crate) fn content_and_tag(&mut self) -> (&mut [u8], &mut [u8]) {
        let memory = self.memory.as_mut().map(Memory::as_mut_slice).unwrap_or_default();
        let filled = memory.get_mut(..self.length + TAG_BYTES).unwrap_or_default();
        filled.split_at_mut_checked(self.length).unwrap_or_default()
    }

    /// The memory, once what it holds may be seen; with the tag or without.
    pub(crate) fn finished(mut self, with_tag: bool) -> PyResult<Memory> {
        let mut memory = self.memory.take().ok_or_else(|| exception(Error::Finished))?;
        memory.truncate(if with_tag { self.length + TAG_BYTES } else { self.length });
        Ok(memory)
    }
}

impl Drop for Filling {
    fn drop(&mut self) {
        if let Some(memory) = self.memory.as_mut().filter(|_| self.secret) {
            wipe(memory.as_mut_slice().get_mut(..self.length).unwrap_or_default());
        }
    }
}

impl PartBuffer {
    /// The content of a part that was made to be sealed.
    pub(crate) fn take_to_seal(&self) -> PyResult<Filling> {
        if self.trace == Trace::Plain {
            return Err(PyValueError::new_err("a plain part is not sealed"));
        }
        self.take()
    }

    fn take(&self) -> PyResult<Filling> {
        self.lock().take().ok_or_else(|| exception(Error::Finished))
    }

    fn lock(&self) -> MutexGuard<'_, Option<Filling>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[pymethods]
impl PartBuffer {
    #[new]
    #[pyo3(signature = (capacity, /, *, plain = false))]
    fn new(capacity: i64, plain: bool) -> PyResult<Self> {
        let capacity = count(capacity, "capacity")? as usize;
        let trace = if plain { Trace::Plain } else { Trace::Encrypted };
        Ok(Self { capacity, trace, state: Mutex::new(Some(Filling::new(capacity, trace)?)) })
    }

    #[pyo3(signature = (content, /))]
    fn append(&self, py: Python<'_>, content: &Bound<'_, PyAny>) -> PyResult<usize> {
        let source = contiguous(content)?;
        let mut state = self.lock();
        let filling = state.as_mut().ok_or_else(|| exception(Error::Finished))?;
        filling.append(py, &source, self)
    }

    fn plain(&self) -> PyResult<UnauthenticatedBuffer> {
        if self.trace == Trace::Encrypted {
            return Err(PyValueError::new_err("a part that is to be sealed is not handed over as it is"));
        }
        Ok(UnauthenticatedBuffer::new(self.take()?.finished(false)?, "PLAIN"))
    }

    fn __len__(&self) -> usize {
        self.lock().as_ref().map_or(0, |filling| filling.length)
    }

    fn __repr__(&self) -> String {
        format!("<PartBuffer, {} of {} bytes>", self.__len__(), self.capacity)
    }

    fn __reduce__(&self) -> PyResult<()> {
        Err(stays_here("PartBuffer"))
    }
}

fn contiguous(content: &Bound<'_, PyAny>) -> PyResult<PyUntypedBuffer> {
    let buffer = PyUntypedBuffer::get(content)?;
    if buffer.is_c_contiguous() {
        Ok(buffer)
    } else {
        Err(PyBufferError::new_err("the buffer is not contiguous: copy it first"))
    }
}
