//! AES-256-GCM in segments: any segment of a message, in any order, on any thread, by the fused cipher of aws-lc.
//!
//! Notation of the design (`K` content key, `N` IV, `A` additional data, `H = E_K(0)`, `·` and `^` in GF(2^128)):
//! the segment at offset `o` runs as a GCM message of its own whose first counter is that of block `o / 16`,
//!
//! ```text
//! J0_i  = N || BE32(1 + o/16)
//! IV_i  = (J0_i · H^-1 ^ BE128(128)) · H^-1            16 bytes, from which GCM computes J0_i
//! tag_i = (P_i ^ BE128(8·|segment|)) · H ^ E_K(J0_i)   P_i: GHASH of the segment's ciphertext from state 0
//! tag   = (X ^ lengths) · H ^ E_K(J0_0)                X: from the state after A, X = X · H^(n_i) ^ P_i
//! ```
//!
//! Segments are kept as `Q_i = P_i · H`, which `tag_i` gives without a division, and folded as `X · H`. A message in
//! one segment at offset 0 (IV = N) therefore never needs `H^-1`; it is computed when the first other segment does.
//!
//! `H`, `H^-1`, `IV_i`, `tag_i`, `E_K(J0_i)` and the partials are secrets: with ciphertext or plaintext they give `H`.

use std::sync::{Mutex, MutexGuard, OnceLock, TryLockError};

use crate::error::{Error, Result};
use crate::evp::{BlockCipher, KeyedContext, Text};
use crate::ghash::{BLOCK_BYTES, Element, Factor, inverse, power};
use crate::keys::ContentKey;

/// GHASH of one segment's ciphertext from state zero, times `H`.
pub(crate) struct Partial(Element);

/// How content is opened before its tag is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenEngine {
    /// One pass: the fused cipher decrypts, then its direction is switched and it gives out the tag.
    Switched,
    /// Two passes: GMAC over the ciphertext, then counter mode.
    TwoPass,
}

/// The cipher of one message, shared by the threads that work on it.
pub(crate) struct SegmentCipher {
    key: ContentKey,
    block: BlockCipher,
    hash_key: Element,
    times_h: Factor,
    /// For the IVs of segments that do not begin the message.
    inner_iv: OnceLock<InnerIv>,
    /// Contexts with their key schedule and powers of `H`, one for each thread at most.
    contexts: Mutex<Vec<KeyedContext>>,
    engine: OpenEngine,
}

impl Partial {
    /// Of no content at all.
    pub(crate) fn zero() -> Self {
        Self(Element::zero())
    }

    /// For the self-test, whose key is public. Nothing else compares partials.
    pub(crate) fn equals(&self, other: &Self) -> bool {
        self.0.plus(&other.0).is_zero()
    }
}

impl SegmentCipher {
    pub(crate) fn new(key: ContentKey, engine: OpenEngine) -> Result<Self> {
        let block = BlockCipher::new(key.key())?;
        let hash_key = block.encrypt(&[0; BLOCK_BYTES]);
        if hash_key.is_zero() {
            return Err(Error::WeakKey);
        }
        let (times_h, inner_iv) = (Factor::new(&hash_key), OnceLock::new());
        Ok(Self { key, block, hash_key, times_h, inner_iv, contexts: Mutex::default(), engine })
    }

    /// A cipher that seals, or opens what it has tags for: how content is opened without does not matter.
    pub(crate) fn for_known_tags(key: ContentKey) -> Result<Self> {
        Self::new(key, OpenEngine::TwoPass)
    }

    /// Computes what would be computed at first use, which a forked child must not find half done.
    pub(crate) fn ready_to_fork(self) -> Self {
        self.inner_iv();
        self
    }

    /// Seals the segment at `offset`. That no key stream is used twice is the caller's business.
    pub(crate) fn seal(&self, offset: u64, text: Text<'_>) -> Result<Partial> {
        let (start, length) = (self.start(offset)?, text.len());
        let tag = self.with_context(|context| {
            let mut sealing = context.seal(self.iv(&start).as_slice())?;
            sealing.update(text)?;
            sealing.finish()
        })?;
        Ok(self.partial(&start, &tag, &Element::from_lengths(0, length as u64)))
    }

    /// Opens the segment at `offset` in place. Its bytes are proven only with the tag of the message.
    pub(crate) fn open(&self, offset: u64, text: &mut [u8]) -> Result<Partial> {
        let (start, length) = (self.start(offset)?, text.len() as u64);
        match self.engine {
            OpenEngine::Switched => {
                let tag = self.with_context(|context| {
                    let mut opening = context.open(self.iv(&start).as_slice())?;
                    opening.update(Text::InPlace(text))?;
                    opening.switch()?.finish()
                })?;
                Ok(self.partial(&start, &tag, &Element::from_lengths(0, length)))
            }
            OpenEngine::TwoPass => {
                // As additional data under the message's own IV: the mask is E_K(J0_0), the length stands on the left.
                let first = self.start(0)?;
                let tag = self.with_context(|context| context.authenticate(self.key.nonce(), text))?;
                self.apply_keystream(offset, text)?;
                Ok(self.partial(&first, &tag, &Element::from_lengths(length, 0)))
            }
        }
    }

    /// Opens the segment at `offset` in place and proves it by its partial. On a mismatch the bytes are for wiping.
    pub(crate) fn open_expecting(&self, offset: u64, text: &mut [u8], partial: &Partial) -> Result<()> {
        let (start, lengths) = (self.start(offset)?, Element::from_lengths(0, text.len() as u64));
        let mut tag = partial.0.plus(&self.times_h.times(&lengths)).plus(&start.mask);
        self.with_context(|context| {
            let mut opening = context.open(self.iv(&start).as_slice())?;
            opening.update(Text::InPlace(text))?;
            opening.finish_expecting(&mut tag)
        })
    }

    /// Decrypts at `offset` and proves nothing.
    pub(crate) fn apply_keystream(&self, offset: u64, text: &mut [u8]) -> Result<()> {
        self.block.apply_keystream(&self.counter(offset, 2)?, text);
        Ok(())
    }

    /// The partial of two pieces, of the first one's and of the second one's with its length.
    pub(crate) fn fold(&self, first: &Partial, length: u64, second: &Partial) -> Partial {
        if first.0.is_zero() {
            return Partial(second.0.plus(&Element::zero()));
        }
        let shift = Factor::new(&power(&self.hash_key, length.div_ceil(BLOCK_BYTES as u64)));
        Partial(shift.times(&first.0).plus(&second.0))
    }

    /// `P_i` of each partial, which is kept as `P_i · H`.
    pub(crate) fn bare<'a>(&self, partials: &'a [Partial]) -> impl Iterator<Item = Element> + use<'a> {
        let over_h = Factor::new(&inverse(&self.hash_key));
        partials.iter().map(move |partial| over_h.times(&partial.0))
    }

    /// The partial of `P_i`.
    pub(crate) fn partial_of_bare(&self, bare: &Element) -> Partial {
        Partial(self.times_h.times(bare))
    }

    /// The tag of the message from the lengths and partials of its segments, in order.
    pub(crate) fn tag<'a>(&self, segments: impl Iterator<Item = (u64, &'a Partial)>) -> Result<Element> {
        let additional_data = self.key.additional_data();
        let mut state = self.times_h.times(&self.times_h.hash(additional_data));
        let (mut content, mut shift) = (0, (0, Factor::new(&self.hash_key)));
        for (length, partial) in segments {
            let blocks = length.div_ceil(BLOCK_BYTES as u64);
            if shift.0 != blocks {
                // Segments mostly have one size: its power of H is computed once.
                shift = (blocks, Factor::new(&power(&self.hash_key, blocks)));
            }
            state = shift.1.times(&state).plus(&partial.0);
            content += length;
        }
        let lengths = Element::from_lengths(additional_data.len() as u64, content);
        Ok(state.plus(&self.times_h.times(&lengths)).plus(&self.start(0)?.mask))
    }

    fn partial(&self, start: &Start, tag: &Element, lengths: &Element) -> Partial {
        Partial(tag.plus(&start.mask).plus(&self.times_h.times(lengths)))
    }

    /// The counter block `first` blocks into the message at `offset`: 1 gives `J0_i`, 2 the first block of content.
    fn counter(&self, offset: u64, first: u64) -> Result<[u8; BLOCK_BYTES]> {
        let count = u32::try_from(first + offset / BLOCK_BYTES as u64).map_err(|_| Error::TooLong)?;
        let mut block = [0; BLOCK_BYTES];
        for (to, from) in block.iter_mut().zip(self.key.nonce().iter().chain(&count.to_be_bytes())) {
            *to = *from;
        }
        Ok(block)
    }

    fn start(&self, offset: u64) -> Result<Start> {
        let counter = self.counter(offset, 1)?;
        Ok(Start { offset, mask: self.block.encrypt(&counter), counter: Element::from_bytes(counter) })
    }

    fn iv(&self, start: &Start) -> Iv {
        if start.offset == 0 {
            return Iv::Nonce(*self.key.nonce());
        }
        let inner = self.inner_iv();
        Iv::Block(inner.over_h_squared.times(&start.counter).plus(&inner.constant))
    }

    fn inner_iv(&self) -> &InnerIv {
        self.inner_iv.get_or_init(|| InnerIv::new(&self.hash_key))
    }

    /// Lends a keyed context. One whose use failed is not used again.
    fn with_context<T>(&self, use_it: impl FnOnce(&mut KeyedContext) -> Result<T>) -> Result<T> {
        let idle = self.idle_contexts().and_then(|mut contexts| contexts.pop());
        let mut context = idle.map_or_else(|| KeyedContext::new(self.key.key()), Ok)?;
        let outcome = use_it(&mut context)?;
        if let Some(mut contexts) = self.idle_contexts() {
            contexts.push(context);
        }
        Ok(outcome)
    }

    /// None while somebody else looks: a new context costs less than a forked child that waits for a thread which its
    /// parent has and it has not.
    fn idle_contexts(&self) -> Option<MutexGuard<'_, Vec<KeyedContext>>> {
        match self.contexts.try_lock() {
            Ok(contexts) => Some(contexts),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }
}

/// Where a segment starts: `J0_i` and `E_K(J0_i)`.
struct Start {
    offset: u64,
    counter: Element,
    mask: Element,
}

/// `IV_i = (J0_i · H^-1 ^ BE128(128)) · H^-1`, multiplied out.
struct InnerIv {
    over_h_squared: Factor,
    constant: Element,
}

impl InnerIv {
    fn new(hash_key: &Element) -> Self {
        let inverse = inverse(hash_key);
        let over_h = Factor::new(&inverse);
        let iv_bits = Element::from_lengths(0, BLOCK_BYTES as u64);
        Self { over_h_squared: Factor::new(&over_h.times(&inverse)), constant: over_h.times(&iv_bits) }
    }
}

enum Iv {
    Nonce([u8; 12]),
    Block(Element),
}

impl Iv {
    fn as_slice(&self) -> &[u8] {
        match self {
            Self::Nonce(nonce) => nonce,
            Self::Block(block) => block.as_bytes(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, mpsc};
    use std::thread;
    use std::time::Duration;

    use super::*;
    use crate::keys::{DataKey, MessageId};
    use crate::suite::AES_256_GCM;

    #[test]
    fn a_forked_child_waits_for_no_thread_of_its_parent() {
        let id = MessageId::from_bytes(&AES_256_GCM, &[1; 12]).unwrap();
        let key = DataKey::new(&[2; 32]).unwrap().to_open(&id, None).unwrap();
        let cipher = Arc::new(SegmentCipher::for_known_tags(key).unwrap().ready_to_fork());
        assert!(cipher.inner_iv.get().is_some());
        // As a thread holds it at the moment of the fork, of which the child has the lock only.
        let held = cipher.contexts.lock().unwrap();
        let (done, opened) = mpsc::channel();
        let child = Arc::clone(&cipher);
        thread::spawn(move || done.send(child.open(16, &mut [0; 32]).is_ok()));
        assert_eq!(opened.recv_timeout(Duration::from_secs(30)), Ok(true));
        drop(held);
    }
}
