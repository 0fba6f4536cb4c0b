//! Whole messages, by as many threads as pay.

use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread;

use crate::error::{Error, Result};
use crate::evp::wipe;
use crate::ghash::BLOCK_BYTES;
use crate::message::{MessageOpener, MessageSealer, TAG_BYTES};

/// Below this a second thread costs more than it saves: starting one takes some 30 microseconds, the fastest processors
/// work through 1 MiB in 65.
const MIN_THREAD_BYTES: usize = 1 << 20;
/// Small enough that threads end together, large enough that the few hundred nanoseconds of a segment do not show.
const MIN_SEGMENT_BYTES: usize = 256 << 10;
/// Beyond this nothing is gained.
const MAX_SEGMENT_BYTES: usize = 1 << 20;
/// More threads than this only wait for memory.
const MAX_THREADS: usize = 64;

/// How a whole message is cut and shared out.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Threads at work, the calling one included; at least one.
    pub threads: usize,
    /// Length of a segment; rounded down to a multiple of 16, at least 16.
    pub segment_bytes: usize,
}

impl Plan {
    /// The plan for a message of `content` bytes on at most `threads` threads; 0 takes as many as pay.
    #[must_use]
    pub fn new(content: usize, threads: usize) -> Self {
        let wanted = if threads == 0 { processors() } else { threads };
        let threads = wanted.min(content / MIN_THREAD_BYTES).clamp(1, MAX_THREADS);
        // Four segments a thread even out what the scheduler does to them.
        let share = if threads == 1 { content } else { content / (4 * threads) };
        Self { threads, segment_bytes: share.clamp(MIN_SEGMENT_BYTES, MAX_SEGMENT_BYTES) }
    }

    fn segment_bytes(self) -> usize {
        (self.segment_bytes / BLOCK_BYTES).max(1) * BLOCK_BYTES
    }
}

/// Seals a whole message in place and returns its tag.
///
/// # Errors
/// Those of [`MessageSealer::seal_in_place`] and [`MessageSealer::finish`].
pub fn seal_in_place(sealer: &MessageSealer, content: &mut [u8], plan: Plan) -> Result<[u8; TAG_BYTES]> {
    let segments = content.chunks_mut(plan.segment_bytes());
    share_out(segments, plan, |offset, segment| sealer.seal_in_place(offset, segment))?;
    sealer.finish()
}

/// Seals a whole message into another buffer of the same length and returns its tag.
///
/// # Errors
/// Those of [`MessageSealer::seal_into`] and [`MessageSealer::finish`].
pub fn seal_into(sealer: &MessageSealer, content: &[u8], sealed: &mut [u8], plan: Plan) -> Result<[u8; TAG_BYTES]> {
    if content.len() != sealed.len() {
        return Err(Error::LengthMismatch);
    }
    let segments = content.chunks(plan.segment_bytes()).zip(sealed.chunks_mut(plan.segment_bytes()));
    share_out(segments, plan, |offset, (from, to)| sealer.seal_into(offset, from, to))?;
    sealer.finish()
}

/// Opens a whole message in place. If it does not authenticate, or anything else fails, all of `content` is zero.
///
/// # Errors
/// Those of [`MessageOpener::open_in_place`] and [`MessageOpener::finish`].
pub fn open_in_place(opener: &MessageOpener, content: &mut [u8], tag: &[u8; TAG_BYTES], plan: Plan) -> Result<()> {
    let segments = content.chunks_mut(plan.segment_bytes());
    share_out(segments, plan, |offset, segment| opener.open_in_place(offset, segment))
        .and_then(|()| opener.finish(tag))
        .inspect_err(|_| wipe(content))
}

/// Runs `work` on every segment and its offset. The queue is an iterator behind a lock, which hands out disjoint slices
/// without unsafe code; it is taken once a segment.
fn share_out<S: Send>(
    segments: impl Iterator<Item = S> + Send,
    plan: Plan,
    work: impl Fn(u64, S) -> Result<()> + Sync,
) -> Result<()> {
    let queue = Mutex::new((0_u64..).step_by(plan.segment_bytes()).zip(segments));
    let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).next();
    let run = || {
        while let Some((offset, segment)) = next() {
            work(offset, segment)?;
        }
        Ok(())
    };
    if plan.threads <= 1 {
        return run();
    }
    thread::scope(|scope| {
        // A system that gives no more threads is no reason to fail: the calling one does what is left.
        let spawn = |_| thread::Builder::new().spawn_scoped(scope, run).ok();
        let helpers: Vec<_> = (1..plan.threads).map_while(spawn).collect();
        let own = run();
        helpers.into_iter().map(|helper| helper.join().unwrap_or(Err(Error::Cipher))).fold(own, Result::and)
    })
}

fn processors() -> usize {
    // Asking reads files of the control group each time.
    static PROCESSORS: OnceLock<usize> = OnceLock::new();
    *PROCESSORS.get_or_init(|| thread::available_parallelism().map_or(1, usize::from))
}
