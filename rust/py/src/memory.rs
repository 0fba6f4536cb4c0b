//! Memory of the buffers, and who may touch it when. All `unsafe` of this crate is here.
//!
//! - A [`Region`] is mapped memory that is in nobody's sight. Fresh pages are zero, used ones hold old bytes: either way
//!   every byte is initialised.
//! - [`Memory`] is a region with one owner: written through `&mut`, read through `&`. Inside a frozen Python object, which
//!   gives out no `&mut`, it never changes again and may be exported as read-only.
//! - A [`Landing`] is a region that bytes arrive in. Its [`Claim`]s are disjoint ranges. Python may hold writable exports
//!   of a claim only while it is `Receiving`, Rust has a `&mut [u8]` of it only afterwards, and the whole becomes
//!   [`Memory`] only when all of it was received and no claim will ever be touched again.
#![allow(unsafe_code)]

use std::ffi::{c_int, c_void};
use std::ops::Range;
use std::ptr::NonNull;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrowseal_core::{DisjointRanges, error::Error, wipe};
use pyo3::buffer::PyUntypedBuffer;
use pyo3::exceptions::{PyBufferError, PyMemoryError, PyValueError};
use pyo3::{ffi, prelude::*};

use crate::buffer::{PlaintextBuffer, SealedBuffer, UnauthenticatedBuffer};
use crate::error::exception;
use crate::pool::{self, Trace};
use crate::window::Window;

const PAGE_BYTES: usize = 4096;
const HUGE_PAGE_BYTES: usize = 2 << 20;
/// From here on half a huge page at the end is not much.
const HUGE_REGION_BYTES: usize = 4 << 20;
/// Ranges begin at blocks of the cipher.
const BLOCK_BYTES: u64 = 16;

/// Mapped memory, at least page-aligned.
pub(crate) struct Region {
    start: NonNull<u8>,
    capacity: usize,
}

// SAFETY: a region is plain memory without ties to a thread; access is governed by its owner.
unsafe impl Send for Region {}
// SAFETY: through a shared reference a region only tells its address and size.
unsafe impl Sync for Region {}

impl Region {
    pub(crate) fn capacity(&self) -> usize {
        self.capacity
    }

    /// None if the system gives no memory.
    fn map(capacity: usize) -> Option<Self> {
        let alignment = if capacity >= HUGE_REGION_BYTES { HUGE_PAGE_BYTES } else { PAGE_BYTES };
        let slack = alignment - PAGE_BYTES;
        let length = capacity.checked_add(slack)?;
        // SAFETY: a new private mapping at an address of the system's choice touches nothing that exists.
        let mapped = unsafe {
            let (access, kind) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
            libc::mmap(std::ptr::null_mut(), length, access, kind, -1, 0)
        };
        if mapped == libc::MAP_FAILED {
            return None;
        }
        let start = mapped.cast::<u8>();
        let before = start.align_offset(alignment).min(slack);
        // SAFETY: `before` and what is behind `before + capacity` are whole pages of the mapping that was just made, and
        // nothing refers to them; the pages in between remain. Advice changes no content.
        let start = unsafe {
            unmap(start, before);
            unmap(start.add(before + capacity), slack - before);
            start.add(before)
        };
        let region = Self { start: NonNull::new(start)?, capacity };
        region.advise();
        Some(region)
    }

    /// Huge pages where they pay, and no plaintext in a core dump. Only wishes: answers do not matter.
    fn advise(&self) {
        #[cfg(target_os = "linux")]
        // SAFETY: the range is this mapping; neither advice changes its content.
        unsafe {
            if self.capacity >= HUGE_REGION_BYTES {
                libc::madvise(self.start.as_ptr().cast::<c_void>(), self.capacity, libc::MADV_HUGEPAGE);
            }
            libc::madvise(self.start.as_ptr().cast::<c_void>(), self.capacity, libc::MADV_DONTDUMP);
        }
    }

    /// Lets the system have the pages of a large region if it needs them; what they hold may be zeros afterwards. Until it
    /// does they are used again without a page fault. Only a wish: the answer does not matter.
    pub(crate) fn lend(&self) {
        #[cfg(target_os = "linux")]
        if self.capacity >= HUGE_REGION_BYTES {
            // SAFETY: the range is this mapping, which nobody refers to: its content is of no use to anyone.
            unsafe { libc::madvise(self.start.as_ptr().cast::<c_void>(), self.capacity, libc::MADV_FREE) };
        }
    }

    /// # Safety
    /// The range lies inside the region, and nobody else refers to it for as long as the slice lives.
    unsafe fn slice_mut<'a>(&self, offset: usize, length: usize) -> &'a mut [u8] {
        // SAFETY: the caller's promise; all bytes of a mapping are initialised.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr().add(offset), length) }
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours alone, and its owner is gone.
        unsafe { unmap(self.start.as_ptr(), self.capacity) };
    }
}

/// # Safety
/// The range is part of a mapping of ours that nothing refers to any more.
unsafe fn unmap(start: *mut u8, length: usize) {
    if length > 0 {
        // SAFETY: the caller's promise.
        unsafe { libc::munmap(start.cast::<c_void>(), length) };
    }
}

/// A region with one owner, handed to the pool when dropped.
pub(crate) struct Memory {
    region: Option<Region>,
    length: usize,
    trace: Trace,
}

impl Memory {
    /// Memory of `length` bytes, whatever they are: the caller writes them all.
    pub(crate) fn new(length: u64, trace: Trace) -> PyResult<Self> {
        let out_of_memory = || PyMemoryError::new_err(format!("no memory for a buffer of {length} bytes"));
        let length = usize::try_from(length).map_err(|_| out_of_memory())?;
        let unit = if length >= HUGE_REGION_BYTES { HUGE_PAGE_BYTES } else { PAGE_BYTES };
        let capacity = length.max(1).checked_next_multiple_of(unit).ok_or_else(out_of_memory)?;
        let region = pool::take(trace, capacity).or_else(|| Region::map(capacity));
        // What is kept for later counts against a limit of the process as well.
        let region = region.or_else(|| pool::empty().then(|| Region::map(capacity)).flatten());
        let region = region.ok_or_else(out_of_memory)?;
        Ok(Self { region: Some(region), length, trace })
    }

    pub(crate) fn as_slice(&self) -> &[u8] {
        match &self.region {
            // SAFETY: `length` lies inside the region; `&self` keeps writers away, of which `&mut self` is the only kind.
            Some(region) => unsafe { std::slice::from_raw_parts(region.start.as_ptr(), self.length) },
            None => &[],
        }
    }

    pub(crate) fn as_mut_slice(&mut self) -> &mut [u8] {
        match &self.region {
            // SAFETY: `length` lies inside the region, and `&mut self` keeps everybody else away.
            Some(region) => unsafe { region.slice_mut(0, self.length) },
            None => &mut [],
        }
    }

    /// Fills the beginning with the bytes of a contiguous buffer, while the GIL keeps Python from changing them.
    pub(crate) fn copy_from(&mut self, attached: Python<'_>, source: &PyUntypedBuffer) -> PyResult<()> {
        if self.copy_at(attached, 0..self.length, source) == source.len_bytes() {
            Ok(())
        } else {
            Err(PyBufferError::new_err("the buffer has changed its length"))
        }
    }

    /// Copies as much of a contiguous buffer as `room` takes, while the GIL keeps Python from changing it. Returns how
    /// much that was.
    pub(crate) fn copy_at(&mut self, _attached: Python<'_>, room: Range<usize>, source: &PyUntypedBuffer) -> usize {
        copy(self.as_mut_slice().get_mut(room).unwrap_or_default(), source)
    }

    /// Leaves the first `length` bytes only.
    pub(crate) fn truncate(&mut self, length: usize) {
        self.length = self.length.min(length);
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        if let Some(region) = self.region.take() {
            pool::give(self.trace, region);
        }
    }
}

/// Copies as much of a contiguous buffer as `target` takes. Returns how much that was. The caller holds the GIL.
fn copy(target: &mut [u8], source: &PyUntypedBuffer) -> usize {
    copy_from(source, 0, target)
}

/// The same from `begin` on, of a buffer that Python writes to only while the GIL is held by the caller, if ever.
fn copy_from(source: &PyUntypedBuffer, begin: usize, target: &mut [u8]) -> usize {
    let length = target.len().min(source.len_bytes().saturating_sub(begin));
    // SAFETY: source and target hold `length` bytes: the source is contiguous and exported to us, so it cannot be freed or
    // resized; the target is memory of ours that nobody else refers to. Only code that runs without the GIL, or writes to
    // what it calls read-only, could write to the source meanwhile; the bytes copied are then old or new ones, as with any
    // such race there, and what is proven is the copy.
    unsafe {
        let start = source.buf_ptr().cast::<u8>().add(begin.min(source.len_bytes()));
        std::ptr::copy_nonoverlapping(start, target.as_mut_ptr(), length);
    }
    length
}

/// What a claim is filled with: the bytes of a contiguous buffer, which are copied and never referred to.
pub(crate) struct Source(PyUntypedBuffer);

impl Source {
    /// Whether its bytes stay as they are without the GIL too.
    pub(crate) fn is_frozen(&self) -> bool {
        self.0.readonly()
    }

    /// Copies what it has from `begin` on. The caller holds the GIL unless it is frozen.
    pub(crate) fn copy_to(&self, target: &mut [u8], begin: usize) {
        copy_from(&self.0, begin, target);
    }
}

/// Whether a contiguous buffer holds exactly these bytes.
pub(crate) fn equal(bytes: &[u8], _attached: Python<'_>, other: &PyUntypedBuffer) -> bool {
    // SAFETY: both hold that many bytes: `other` is contiguous and exported to us. `memcmp` makes no Rust reference to it.
    other.len_bytes() == bytes.len()
        && unsafe { libc::memcmp(bytes.as_ptr().cast::<c_void>(), other.buf_ptr(), bytes.len()) } == 0
}

/// A region that bytes arrive in, range by range.
pub(crate) struct Landing {
    state: Mutex<LandingState>,
    length: u64,
}

struct LandingState {
    memory: Option<Memory>,
    claimed: DisjointRanges,
    received: u64,
}

impl Landing {
    pub(crate) fn new(length: u64, trace: Trace) -> PyResult<Self> {
        let memory = Some(Memory::new(length, trace)?);
        Ok(Self { state: Mutex::new(LandingState { memory, claimed: DisjointRanges::default(), received: 0 }), length })
    }

    /// Claims a range for one receiver.
    pub(crate) fn claim(self: &Arc<Self>, offset: u64, length: u64) -> PyResult<Claim> {
        let end = offset.checked_add(length).filter(|end| *end <= self.length && length > 0);
        let end = end.ok_or_else(|| PyValueError::new_err("the window is empty or lies outside the object"))?;
        if !offset.is_multiple_of(BLOCK_BYTES) || !(end.is_multiple_of(BLOCK_BYTES) || end == self.length) {
            return Err(exception(Error::Misaligned));
        }
        let mut state = lock(&self.state);
        let region = state.memory.as_ref().and_then(|memory| memory.region.as_ref());
        let region = region.ok_or_else(|| exception(Error::Finished))?;
        // SAFETY: `offset < self.length`, which is the length of the region.
        let start = unsafe { region.start.add(offset as usize) };
        state.claimed.claim(offset, length).map_err(exception)?;
        let stage = Mutex::new(Stage::Receiving { exports: 0 });
        Ok(Claim { landing: Arc::clone(self), offset, start, length: length as usize, stage })
    }

    /// Claims the whole.
    pub(crate) fn claim_all(self: &Arc<Self>) -> PyResult<Claim> {
        self.claim(0, self.length)
    }

    /// The memory, once every byte of it was received.
    pub(crate) fn finish(&self) -> PyResult<Memory> {
        let mut state = lock(&self.state);
        if state.memory.is_some() && state.received != self.length {
            return Err(exception(Error::Incomplete));
        }
        state.memory.take().ok_or_else(|| exception(Error::Finished))
    }
}

impl Drop for Landing {
    fn drop(&mut self) {
        // Given up before it was finished: what was received may be opened and unproven, and must not show up elsewhere.
        // The rest is left alone: to wipe pages that nobody has touched the system would have to make them first.
        let LandingState { memory, claimed, .. } = &mut *lock(&self.state);
        let bytes = memory.as_mut().map(Memory::as_mut_slice).unwrap_or_default();
        for range in claimed.iter() {
            wipe(bytes.get_mut(range.start as usize..range.end as usize).unwrap_or_default());
        }
    }
}

/// A range of a landing that one receiver fills.
pub(crate) struct Claim {
    landing: Arc<Landing>,
    offset: u64,
    start: NonNull<u8>,
    length: usize,
    stage: Mutex<Stage>,
}

enum Stage {
    /// Python may hold writable exports of the range.
    Receiving { exports: usize },
    /// No export exists, and none will: Rust works on the range, or has, or has failed to.
    Received,
}

// SAFETY: `start` points into the region of the landing that is kept alive here; the stage says who may use it.
unsafe impl Send for Claim {}
// SAFETY: as above; the stage changes under its lock only.
unsafe impl Sync for Claim {}

impl Claim {
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    pub(crate) fn length(&self) -> usize {
        self.length
    }

    /// Counts a writable export, which exists only while receiving.
    fn add_export(&self) -> PyResult<(*mut u8, usize)> {
        match &mut *lock(&self.stage) {
            Stage::Received => Err(PyBufferError::new_err("the window was received: its bytes are out of reach")),
            Stage::Receiving { exports } => {
                *exports += 1;
                Ok((self.start.as_ptr(), self.length))
            }
        }
    }

    fn release_export(&self) {
        if let Stage::Receiving { exports } = &mut *lock(&self.stage) {
            *exports = exports.saturating_sub(1);
        }
    }

    /// Lets `work` fill the range with a contiguous buffer of its length, and have the bytes.
    pub(crate) fn filled<E>(
        &self,
        content: &Bound<'_, PyAny>,
        work: impl FnOnce(&Source, &mut [u8]) -> Result<(), E>,
    ) -> PyResult<Result<(), E>> {
        let source = PyUntypedBuffer::get(content)?;
        if !source.is_c_contiguous() || source.len_bytes() != self.length {
            return Err(PyValueError::new_err("this is not the whole object in one piece"));
        }
        self.received(|bytes| work(&Source(source), bytes))
    }

    /// Ends receiving, for good, and lets `work` have the bytes. If it fails the landing stays incomplete for ever.
    pub(crate) fn received<E>(&self, work: impl FnOnce(&mut [u8]) -> Result<(), E>) -> PyResult<Result<(), E>> {
        match &mut *lock(&self.stage) {
            Stage::Received => return Err(PyValueError::new_err("the window was received before")),
            Stage::Receiving { exports: 1.. } => {
                return Err(PyBufferError::new_err(
                    "release the exports of the window first: they could still change it",
                ));
            }
            stage @ Stage::Receiving { .. } => *stage = Stage::Received,
        }
        // SAFETY: the range is inside the region, which the landing keeps until every claim's bytes are counted below.
        // Claims are disjoint, no export of this one is left, and only the call that set the stage comes here, once.
        let bytes = unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.length) };
        let outcome = work(bytes);
        if outcome.is_ok() {
            lock(&self.landing.state).received += self.length as u64;
        }
        Ok(outcome)
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        // Exports hold a reference to their window, so there are none. A range that was not received is free again.
        if matches!(*lock(&self.stage), Stage::Receiving { .. }) {
            lock(&self.landing.state).claimed.release(self.offset);
        }
    }
}

// The buffer slots. The interpreter calls them with a `view` of its own to fill, and a view that is filled holds a
// reference to its exporter, hence to the memory.

#[pymethods]
impl SealedBuffer {
    unsafe fn __getbuffer__(slf: &Bound<'_, Self>, view: *mut ffi::Py_buffer, flags: c_int) -> PyResult<()> {
        // SAFETY: the interpreter's view, and bytes that live and do not change as long as the object.
        unsafe { fill_read_only(slf.as_any(), slf.get().content(), view, flags) }
    }
}

#[pymethods]
impl PlaintextBuffer {
    unsafe fn __getbuffer__(slf: &Bound<'_, Self>, view: *mut ffi::Py_buffer, flags: c_int) -> PyResult<()> {
        // SAFETY: the interpreter's view, and bytes that live and do not change as long as the object.
        unsafe { fill_read_only(slf.as_any(), slf.get().content(), view, flags) }
    }
}

#[pymethods]
impl UnauthenticatedBuffer {
    unsafe fn __getbuffer__(slf: &Bound<'_, Self>, view: *mut ffi::Py_buffer, flags: c_int) -> PyResult<()> {
        // SAFETY: the interpreter's view, and bytes that live and do not change as long as the object.
        unsafe { fill_read_only(slf.as_any(), slf.get().content(), view, flags) }
    }
}

#[pymethods]
impl Window {
    unsafe fn __getbuffer__(slf: &Bound<'_, Self>, view: *mut ffi::Py_buffer, flags: c_int) -> PyResult<()> {
        let claim = slf.get().claim();
        let (start, length) = claim.add_export()?;
        // SAFETY: the interpreter's view; nobody else uses the range until the export is released.
        let filled = unsafe { fill(slf.as_any(), start, length, 0, view, flags) };
        filled.inspect_err(|_| claim.release_export())
    }

    unsafe fn __releasebuffer__(&self, _view: *mut ffi::Py_buffer) {
        self.claim().release_export();
    }
}

/// # Safety
/// `view` is the interpreter's; `bytes` live and do not change as long as `exporter`.
unsafe fn fill_read_only(
    exporter: &Bound<'_, PyAny>,
    bytes: &[u8],
    view: *mut ffi::Py_buffer,
    flags: c_int,
) -> PyResult<()> {
    // SAFETY: the caller's promise; a read-only view is not written through.
    unsafe { fill(exporter, bytes.as_ptr().cast_mut(), bytes.len(), 1, view, flags) }
}

/// # Safety
/// `view` is the interpreter's; the range at `start` may be used as `read_only` says as long as `exporter` lives.
unsafe fn fill(
    exporter: &Bound<'_, PyAny>,
    start: *mut u8,
    length: usize,
    read_only: c_int,
    view: *mut ffi::Py_buffer,
    flags: c_int,
) -> PyResult<()> {
    // No slice is longer than `isize::MAX`.
    let length = isize::try_from(length).unwrap_or(0);
    // SAFETY: the caller's promise. The function takes its reference to `exporter`, and refuses what does not fit `flags`.
    let status =
        unsafe { ffi::PyBuffer_FillInfo(view, exporter.as_ptr(), start.cast::<c_void>(), length, read_only, flags) };
    if status == 0 { Ok(()) } else { Err(PyErr::fetch(exporter.py())) }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
