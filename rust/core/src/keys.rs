//! The keys of a message: from data key and message id to the key, IV and additional data of its content.
//!
//! Format V2 uses the data key as it is. Format V3 (specification, `key-derivation.md` and `key-commitment.md`) derives
//! content key and commitment from it with HKDF-SHA512, the message id as salt, and fixes the IV to twelve bytes `01`.
//!
//! Key bytes live on the heap, so that moving a key leaves no copies behind, and are wiped when dropped. None of these
//! types has `Debug` or `Clone`.

use std::hint::black_box;

use aws_lc_rs::{constant_time, hkdf, rand};
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::error::{Error, Result};
use crate::suite::AlgorithmSuite;

const KEY_BYTES: usize = 32;
const NONCE_BYTES: usize = 12;
const UNIQUE_BYTES: usize = 28;
const COMMITMENT_BYTES: usize = 28;

/// Id of the suite as the key derivation and the additional data of V3 spell it.
const SUITE_LABEL: &[u8] = &[0x00, 0x73];
const COMMITMENT_LABEL: &[u8] = b"COMMITKEY";
const CONTENT_KEY_LABEL: &[u8] = b"DERIVEKEY";
const INDEX_KEY_LABEL: &[u8] = b"arrowseal segment index v1";
/// V3 stores no IV: a content key serves one message, so a constant is safe.
const COMMITTING_NONCE: [u8; NONCE_BYTES] = [0x01; NONCE_BYTES];

/// The plaintext data key of an object, as a keyring returns it.
#[derive(ZeroizeOnDrop)]
pub struct DataKey {
    key: Box<[u8; KEY_BYTES]>,
    fits: Fits,
    /// Whether its wrap must not tell whether it fits: then content is opened under it, and nothing else is done.
    to_open_only: bool,
}

/// Whether a data key was in its wrap, or random bytes took its place. Only the end of opening content tells.
#[derive(Clone, Copy, Zeroize)]
pub(crate) struct Fits(u8);

/// What makes a message unique under its data key: the message id (V3) or the IV (V2). Public, stored with the object.
pub struct MessageId {
    suite: &'static AlgorithmSuite,
    bytes: [u8; UNIQUE_BYTES],
}

/// The value that ties a V3 object to one key. Public, stored with the object.
pub struct KeyCommitment([u8; COMMITMENT_BYTES]);

/// The key of the masks of a segment index.
#[derive(Zeroize, ZeroizeOnDrop)]
pub(crate) struct IndexKey(Box<[u8; KEY_BYTES]>);

/// Key, IV and additional data of the content of one message.
#[derive(ZeroizeOnDrop)]
pub struct ContentKey {
    key: Box<[u8; KEY_BYTES]>,
    to_open_only: bool,
    nonce: [u8; NONCE_BYTES],
    #[zeroize(skip)]
    additional_data: &'static [u8],
}

impl DataKey {
    /// A copy of `key`; the caller wipes its own.
    ///
    /// # Errors
    /// [`Error::DataKeyLength`] unless there are 32 bytes.
    pub fn new(key: &[u8]) -> Result<Self> {
        let mut copy = Self::zero();
        fill(copy.key.as_mut_slice(), key).ok_or(Error::DataKeyLength)?;
        Ok(copy)
    }

    /// A new one from the random generator.
    ///
    /// # Errors
    /// [`Error::Random`], also if the generator gives zeros: then nothing it gives is worth using.
    pub fn generate() -> Result<Self> {
        let mut key = Self::zero();
        rand::fill(key.key.as_mut_slice()).map_err(|_| Error::Random)?;
        key.not_zero()
    }

    /// Those bytes if `wrong` is zero, random ones otherwise, and nobody can tell before content was opened.
    pub(crate) fn or_random(key: &[u8; KEY_BYTES], wrong: u8) -> Result<Self> {
        let (mut either, mask) = (Self::generate()?, mask_of_zero(wrong));
        for (byte, found) in either.key.iter_mut().zip(key) {
            *byte = *byte & !mask | found & mask;
        }
        (either.fits, either.to_open_only) = (Fits(mask), true);
        Ok(either)
    }

    fn zero() -> Self {
        Self { key: Box::new([0; KEY_BYTES]), fits: Fits(u8::MAX), to_open_only: false }
    }

    fn not_zero(self) -> Result<Self> {
        if self.key.iter().fold(0, |any, byte| any | byte) == 0 { Err(Error::Random) } else { Ok(self) }
    }

    /// For ciphers that open content and look at [`DataKey::fits`] when they are done.
    pub(crate) fn bytes(&self) -> &[u8; KEY_BYTES] {
        &self.key
    }

    pub(crate) fn fits(&self) -> Fits {
        self.fits
    }

    /// The bytes to wrap.
    ///
    /// # Errors
    /// [`Error::KeyToOpenOnly`] for a key out of a wrap that must not tell whether it fits.
    pub fn to_wrap(&self) -> Result<&[u8; KEY_BYTES]> {
        if self.to_open_only { Err(Error::KeyToOpenOnly) } else { Ok(&self.key) }
    }

    /// The keys to seal a message with, and the commitment to store with it.
    ///
    /// # Errors
    /// [`Error::UnsupportedSuite`], [`Error::Cipher`].
    pub fn to_seal(&self, id: &MessageId) -> Result<(ContentKey, Option<KeyCommitment>)> {
        let commitment = if id.suite.committing() { Some(self.commitment(id)?) } else { None };
        Ok((self.content_key(id)?, commitment))
    }

    /// The keys to open a message with. The commitment is checked, in constant time, before the content key is derived.
    ///
    /// # Errors
    /// [`Error::Authentication`] if the object commits to another key, [`Error::CommitmentLength`],
    /// [`Error::UnsupportedSuite`], [`Error::Cipher`].
    pub fn to_open(&self, id: &MessageId, commitment: Option<&[u8]>) -> Result<ContentKey> {
        if commitment.map_or(0, <[u8]>::len) != id.suite.commitment_bytes {
            return Err(Error::CommitmentLength);
        }
        if let Some(stored) = commitment {
            let derived = self.commitment(id)?;
            constant_time::verify_slices_are_equal(&derived.0, stored).map_err(|_| Error::Authentication)?;
        }
        self.content_key(id)
    }

    /// The key for the index of a message: bound to its suite, the size of the segments and the length of the content.
    pub(crate) fn index_key(&self, id: &MessageId, segment_bytes: u64, content_bytes: u64) -> Result<IndexKey> {
        let mut key = IndexKey(Box::new([0; KEY_BYTES]));
        let (suite, size, length) =
            (id.suite.id.to_be_bytes(), segment_bytes.to_be_bytes(), content_bytes.to_be_bytes());
        self.expand(id, &[INDEX_KEY_LABEL, &suite, &size, &length], key.0.as_mut_slice())?;
        Ok(key)
    }

    fn commitment(&self, id: &MessageId) -> Result<KeyCommitment> {
        let mut commitment = KeyCommitment([0; COMMITMENT_BYTES]);
        self.expand(id, &[SUITE_LABEL, COMMITMENT_LABEL], &mut commitment.0)?;
        Ok(commitment)
    }

    fn content_key(&self, id: &MessageId) -> Result<ContentKey> {
        if !id.suite.supported {
            return Err(Error::UnsupportedSuite);
        }
        let (key, to_open_only) = (Box::new([0; KEY_BYTES]), self.to_open_only);
        let mut content = ContentKey { key, to_open_only, nonce: COMMITTING_NONCE, additional_data: &[] };
        if id.suite.committing() {
            self.expand(id, &[SUITE_LABEL, CONTENT_KEY_LABEL], content.key.as_mut_slice())?;
            content.additional_data = SUITE_LABEL;
        } else {
            content.key.copy_from_slice(self.key.as_slice());
            fill(&mut content.nonce, id.as_bytes()).ok_or(Error::MessageIdLength)?;
        }
        Ok(content)
    }

    fn expand(&self, id: &MessageId, info: &[&[u8]], out: &mut [u8]) -> Result<()> {
        let key = hkdf::Salt::new(hkdf::HKDF_SHA512, id.as_bytes()).extract(self.key.as_slice());
        let material = key.expand(info, OutputLength(out.len())).map_err(|_| Error::Cipher)?;
        material.fill(out).map_err(|_| Error::Cipher)
    }
}

impl MessageId {
    /// A new one from the random generator of the operating system.
    ///
    /// # Errors
    /// [`Error::Random`], or [`Error::MessageIdZero`] if the generator gives zeros: then nothing it gives is worth using.
    pub fn generate(suite: &'static AlgorithmSuite) -> Result<Self> {
        let mut id = Self { suite, bytes: [0; UNIQUE_BYTES] };
        let unique = id.bytes.get_mut(..suite.unique_bytes()).ok_or(Error::MessageIdLength)?;
        rand::fill(unique).map_err(|_| Error::Random)?;
        id.not_zero()
    }

    /// One that is given: read from an object, or fixed for a known answer.
    ///
    /// # Errors
    /// [`Error::MessageIdLength`], [`Error::MessageIdZero`].
    pub fn from_bytes(suite: &'static AlgorithmSuite, bytes: &[u8]) -> Result<Self> {
        let mut id = Self { suite, bytes: [0; UNIQUE_BYTES] };
        let unique = id.bytes.get_mut(..suite.unique_bytes()).ok_or(Error::MessageIdLength)?;
        fill(unique, bytes).ok_or(Error::MessageIdLength)?;
        id.not_zero()
    }

    /// The bytes to store with the object: 28 (V3) or 12 (V2).
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.suite.unique_bytes()).unwrap_or_default()
    }

    /// The suite that the message is of.
    #[must_use]
    pub fn suite(&self) -> &'static AlgorithmSuite {
        self.suite
    }

    fn not_zero(self) -> Result<Self> {
        if self.as_bytes().iter().all(|byte| *byte == 0) { Err(Error::MessageIdZero) } else { Ok(self) }
    }
}

impl KeyCommitment {
    /// The bytes to store with the object.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl IndexKey {
    pub(crate) fn bytes(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }
}

impl Fits {
    /// 0 if it does.
    pub(crate) fn wrong(self) -> u32 {
        u32::from(!self.0)
    }
}

impl ContentKey {
    /// Itself, for uses that do not end with a proof.
    pub(crate) fn not_to_open_only(self) -> Result<Self> {
        if self.to_open_only { Err(Error::KeyToOpenOnly) } else { Ok(self) }
    }

    pub(crate) fn key(&self) -> &[u8; KEY_BYTES] {
        &self.key
    }

    pub(crate) fn nonce(&self) -> &[u8; NONCE_BYTES] {
        &self.nonce
    }

    pub(crate) fn additional_data(&self) -> &'static [u8] {
        self.additional_data
    }
}

#[derive(Clone, Copy)]
struct OutputLength(usize);

impl hkdf::KeyType for OutputLength {
    fn len(&self) -> usize {
        self.0
    }
}

/// `copy_from_slice` that answers instead of panicking when the lengths differ.
fn fill(target: &mut [u8], source: &[u8]) -> Option<()> {
    (target.len() == source.len()).then(|| target.copy_from_slice(source))
}

/// All ones for zero, and zero for anything else, without a branch.
pub(crate) fn mask_of_zero(byte: u8) -> u8 {
    let [_, mask] = black_box(u16::from(byte)).wrapping_sub(1).to_le_bytes();
    black_box(mask)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_random_generator_of_zeros_is_refused() {
        assert_eq!(DataKey::zero().not_zero().err(), Some(Error::Random));
        assert!(DataKey::generate().is_ok());
    }

    #[test]
    fn only_zero_has_a_mask() {
        assert_eq!((0..=u8::MAX).filter(|byte| mask_of_zero(*byte) != 0).collect::<Vec<_>>(), [0]);
        assert_eq!(mask_of_zero(0), u8::MAX);
    }
}
