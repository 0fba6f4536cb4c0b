//! What aws-lc-rs has no safe interface for: the fused AES-256-GCM with IVs of 16 bytes, AES key wrap under 192 bits, and two
//! ways to decrypt with RSA.
//!
//! All `unsafe` of this crate is here. What the blocks rely on, beyond their own reasons:
//! a context or key belongs to one value here, which is not shared, and is freed with it; the library reads and writes
//! exactly as many bytes as it is told, at the pointers of live slices; no length exceeds `c_int`.
//! The order of calls is in the types: after the switch of direction nothing can be updated any more.
#![allow(unsafe_code)]

use std::ffi::{c_int, c_uint, c_void};
use std::ptr::{NonNull, null, null_mut};

use aws_lc_sys::{
    AES_KEY, AES_ctr128_encrypt, AES_encrypt, AES_set_decrypt_key, AES_set_encrypt_key, AES_unwrap_key, CBS,
    EVP_CIPHER_CTX, EVP_CIPHER_CTX_ctrl, EVP_CIPHER_CTX_free, EVP_CIPHER_CTX_new, EVP_CTRL_AEAD_GET_TAG,
    EVP_CTRL_AEAD_SET_IVLEN, EVP_CTRL_AEAD_SET_TAG, EVP_CipherFinal_ex, EVP_CipherInit_ex, EVP_CipherUpdate, EVP_PKEY,
    EVP_PKEY_CTX, EVP_PKEY_CTX_free, EVP_PKEY_CTX_new, EVP_PKEY_CTX_set_rsa_mgf1_md, EVP_PKEY_CTX_set_rsa_oaep_md,
    EVP_PKEY_CTX_set_rsa_padding, EVP_PKEY_decrypt, EVP_PKEY_decrypt_init, EVP_PKEY_free, EVP_aes_256_gcm,
    EVP_parse_private_key, EVP_sha1, EVP_sha256, OPENSSL_cleanse, RSA_NO_PADDING, RSA_PKCS1_OAEP_PADDING,
};

use crate::error::{Error, Result};
use crate::ghash::{BLOCK_BYTES, Element};

/// What one call takes: below `c_int::MAX`, and whole blocks, since the counter goes on where the last call ended.
const MAX_UPDATE_BYTES: usize = 1 << 30;

const OPEN: c_int = 0;
const SEAL: c_int = 1;

/// Bytes to encrypt or decrypt, and where the result goes.
pub(crate) enum Text<'a> {
    InPlace(&'a mut [u8]),
    /// Both of one length.
    Into(&'a [u8], &'a mut [u8]),
}

impl Text<'_> {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::InPlace(bytes) => bytes.len(),
            Self::Into(input, _) => input.len(),
        }
    }
}

/// Overwrites bytes with zeros in a way that the compiler keeps, at the speed of `memset`.
pub fn wipe(bytes: &mut [u8]) {
    // SAFETY: a live slice of that length, of a type of which zeros are a valid value.
    unsafe { OPENSSL_cleanse(bytes.as_mut_ptr().cast::<c_void>(), bytes.len()) };
}

/// A key of AES, expanded for one direction.
struct Schedule(Box<AES_KEY>);

impl Schedule {
    /// `expand` is the library's, which refuses other lengths than those of AES.
    fn new(key: &[u8], expand: unsafe extern "C" fn(*const u8, c_uint, *mut AES_KEY) -> c_int) -> Result<Self> {
        let mut schedule = Self(Box::new(AES_KEY { rd_key: [0; 60], rounds: 0 }));
        let bits = c_uint::try_from(8 * key.len()).map_err(|_| Error::Cipher)?;
        // SAFETY: `key` holds the bits that are announced, and the schedule is ours alone.
        let status = unsafe { expand(key.as_ptr(), bits, &raw mut *schedule.0) };
        if status == 0 { Ok(schedule) } else { Err(Error::Cipher) }
    }
}

impl Drop for Schedule {
    fn drop(&mut self) {
        // SAFETY: the schedule is ours, and plain words of which zeros are a valid value.
        unsafe { OPENSSL_cleanse((&raw mut *self.0).cast::<c_void>(), size_of::<AES_KEY>()) };
    }
}

/// What a key of 128, 192 or 256 bits wraps by RFC 3394. aws-lc-rs unwraps under those of 128 and 256 only.
pub(crate) fn unwrap_rfc3394(key: &[u8], wrapped: &[u8; 40], unwrapped: &mut [u8; 32]) -> Result<()> {
    let schedule = Schedule::new(key, AES_set_decrypt_key)?;
    // SAFETY: the input is as long as is said, and the output shorter by the 8 bytes that are checked and left out; no IV
    // stands for the standard's own; the schedule is complete and only read.
    let written = unsafe {
        AES_unwrap_key(&raw const *schedule.0, null(), unwrapped.as_mut_ptr(), wrapped.as_ptr(), wrapped.len())
    };
    if usize::try_from(written) == Ok(unwrapped.len()) { Ok(()) } else { Err(Error::WrappedKey) }
}

/// AES-256 on single blocks and in counter mode.
pub(crate) struct BlockCipher(Schedule);

impl BlockCipher {
    pub(crate) fn new(key: &[u8; 32]) -> Result<Self> {
        Schedule::new(key, AES_set_encrypt_key).map(Self)
    }

    pub(crate) fn encrypt(&self, block: &[u8; BLOCK_BYTES]) -> Element {
        let mut encrypted = Element::zero();
        // SAFETY: input and output are one block each; the schedule is complete and only read.
        unsafe { AES_encrypt(block.as_ptr(), encrypted.as_mut_bytes().as_mut_ptr(), &raw const *self.0.0) };
        encrypted
    }

    /// Counter mode from `counter` on, in place.
    pub(crate) fn apply_keystream(&self, counter: &[u8; BLOCK_BYTES], text: &mut [u8]) {
        let (mut counter, mut keystream, mut used): ([u8; BLOCK_BYTES], _, c_uint) = (*counter, Element::zero(), 0);
        // SAFETY: input and output are the same slice, which the function allows; counter and key stream are one
        // block each; `used` is 0, so the key stream is written before it is read; the schedule is only read.
        unsafe {
            AES_ctr128_encrypt(
                text.as_ptr(),
                text.as_mut_ptr(),
                text.len(),
                &raw const *self.0.0,
                counter.as_mut_ptr(),
                keystream.as_mut_bytes().as_mut_ptr(),
                &raw mut used,
            );
        }
    }
}

/// A context that has its key and waits for an IV. The library wipes it when it is freed.
pub(crate) struct KeyedContext(NonNull<EVP_CIPHER_CTX>);

// SAFETY: a context refers to nothing but its own allocations and to static tables; it may move between threads.
unsafe impl Send for KeyedContext {}

impl KeyedContext {
    pub(crate) fn new(key: &[u8; 32]) -> Result<Self> {
        // SAFETY: no precondition; null, the answer for want of memory, is refused.
        let context = Self(NonNull::new(unsafe { EVP_CIPHER_CTX_new() }).ok_or(Error::Cipher)?);
        // SAFETY: the cipher is a static table, `key` has the 32 bytes that it takes, no engine and no IV are given.
        done(unsafe {
            EVP_CipherInit_ex(context.0.as_ptr(), EVP_aes_256_gcm(), null_mut(), key.as_ptr(), null(), SEAL)
        })?;
        Ok(context)
    }

    pub(crate) fn seal(&mut self, iv: &[u8]) -> Result<Sealing<'_>> {
        self.start(iv, SEAL)?;
        Ok(Sealing(self))
    }

    pub(crate) fn open(&mut self, iv: &[u8]) -> Result<Opening<'_>> {
        self.start(iv, OPEN)?;
        Ok(Opening(self))
    }

    /// The tag of `data` as additional data of a message without content: GMAC.
    pub(crate) fn authenticate(&mut self, iv: &[u8], data: &[u8]) -> Result<Element> {
        self.start(iv, SEAL)?;
        for piece in data.chunks(MAX_UPDATE_BYTES) {
            self.update(null_mut(), piece.as_ptr(), piece.len())?;
        }
        self.tag()
    }

    fn start(&mut self, iv: &[u8], direction: c_int) -> Result<()> {
        let length = c_int::try_from(iv.len()).map_err(|_| Error::Cipher)?;
        self.control(EVP_CTRL_AEAD_SET_IVLEN, length, null_mut())?;
        // SAFETY: `iv` has the length that was just set; cipher and key stay as they are.
        done(unsafe { EVP_CipherInit_ex(self.0.as_ptr(), null(), null_mut(), null(), iv.as_ptr(), direction) })
    }

    fn apply(&mut self, text: Text<'_>) -> Result<()> {
        match text {
            Text::InPlace(bytes) => bytes
                .chunks_mut(MAX_UPDATE_BYTES)
                .try_for_each(|piece| self.update(piece.as_mut_ptr(), piece.as_ptr(), piece.len())),
            Text::Into(input, output) if input.len() == output.len() => input
                .chunks(MAX_UPDATE_BYTES)
                .zip(output.chunks_mut(MAX_UPDATE_BYTES))
                .try_for_each(|(from, to)| self.update(to.as_mut_ptr(), from.as_ptr(), from.len())),
            Text::Into(..) => Err(Error::LengthMismatch),
        }
    }

    /// `input` holds `length` bytes; so does `output`, which is `input` itself, apart from it, or null to authenticate
    /// only. Private, and called with the pointers of slices above.
    fn update(&mut self, output: *mut u8, input: *const u8, length: usize) -> Result<()> {
        let (expected, mut written) = (c_int::try_from(length).map_err(|_| Error::Cipher)?, 0);
        // SAFETY: the callers give live slices of `length` bytes, equal or disjoint as the borrow checker saw to.
        done(unsafe { EVP_CipherUpdate(self.0.as_ptr(), output, &raw mut written, input, expected) })?;
        if written == expected { Ok(()) } else { Err(Error::Cipher) }
    }

    fn finish(&mut self) -> Result<()> {
        let (mut nothing, mut written) = ([0; BLOCK_BYTES], 0);
        // SAFETY: GCM writes no bytes here; there is room for a block all the same.
        done(unsafe { EVP_CipherFinal_ex(self.0.as_ptr(), nothing.as_mut_ptr(), &raw mut written) })
    }

    fn tag(&mut self) -> Result<Element> {
        self.finish()?;
        let mut tag = Element::zero();
        self.control(EVP_CTRL_AEAD_GET_TAG, BLOCK_BYTES as c_int, tag.as_mut_bytes().as_mut_ptr())?;
        Ok(tag)
    }

    /// Only with commands whose pointer is unused or names `argument` bytes; all callers are in this file.
    fn control(&mut self, command: c_int, argument: c_int, pointer: *mut u8) -> Result<()> {
        // SAFETY: the two tag commands get a block of the length that they are told, the other uses no pointer.
        done(unsafe { EVP_CIPHER_CTX_ctrl(self.0.as_ptr(), command, argument, pointer.cast::<c_void>()) })
    }
}

impl Drop for KeyedContext {
    fn drop(&mut self) {
        // SAFETY: made by `EVP_CIPHER_CTX_new`, freed once. The library cleanses key schedule and context.
        unsafe { EVP_CIPHER_CTX_free(self.0.as_ptr()) };
    }
}

/// A segment being sealed.
pub(crate) struct Sealing<'a>(&'a mut KeyedContext);

impl Sealing<'_> {
    pub(crate) fn update(&mut self, text: Text<'_>) -> Result<()> {
        self.0.apply(text)
    }

    pub(crate) fn finish(self) -> Result<Element> {
        self.0.tag()
    }
}

/// A segment being opened; its bytes are not proven.
pub(crate) struct Opening<'a>(&'a mut KeyedContext);

impl<'a> Opening<'a> {
    pub(crate) fn update(&mut self, text: Text<'_>) -> Result<()> {
        self.0.apply(text)
    }

    /// Says whether `tag` fits, in constant time.
    pub(crate) fn finish_expecting(self, tag: &mut Element) -> Result<()> {
        self.0.control(EVP_CTRL_AEAD_SET_TAG, BLOCK_BYTES as c_int, tag.as_mut_bytes().as_mut_ptr())?;
        self.0.finish().map_err(|_| Error::Authentication)
    }

    /// Turns the context to sealing, so that it gives out the tag of the ciphertext that it has seen.
    ///
    /// Public interface of aws-lc: without cipher, key and IV the init function only sets the direction. The self-test
    /// of [`crate::gcm`] and a known answer watch over it.
    pub(crate) fn switch(self) -> Result<Switched<'a>> {
        // SAFETY: nothing but the direction of a live context changes.
        done(unsafe { EVP_CipherInit_ex(self.0.0.as_ptr(), null(), null_mut(), null(), null(), SEAL) })?;
        Ok(Switched(self.0))
    }
}

/// An opened segment whose context was switched: all that is left to do is to take the tag.
pub(crate) struct Switched<'a>(&'a mut KeyedContext);

impl Switched<'_> {
    pub(crate) fn finish(self) -> Result<Element> {
        self.0.tag()
    }
}

/// How RSA decrypts what old clients wrapped.
#[derive(Clone, Copy)]
pub(crate) enum RsaPadding {
    /// None: all of the block is given out, for the caller to look at in constant time.
    Unchecked,
    /// OAEP with SHA-256 and MGF1-SHA-1, as Java's own provider has it.
    OaepSha256Mgf1Sha1,
    /// OAEP with SHA-256 throughout.
    OaepSha256,
}

/// An RSA private key, parsed for one decryption. The library wipes it when it is freed.
pub(crate) struct RsaDecryption(NonNull<EVP_PKEY>);

impl RsaDecryption {
    /// Out of the PKCS#8 of a key that is known to be of RSA.
    pub(crate) fn from_pkcs8(der: &[u8]) -> Result<Self> {
        let mut source = CBS { data: der.as_ptr(), len: der.len() };
        // SAFETY: the source describes a live slice, of which the key keeps nothing; null, a refusal, is refused.
        NonNull::new(unsafe { EVP_parse_private_key(&raw mut source) }).map(Self).ok_or(Error::Cipher)
    }

    /// Decrypts into `block`, which is as long as the modulus, and says how much of it was written.
    pub(crate) fn decrypt(&self, padding: RsaPadding, wrapped: &[u8], block: &mut [u8]) -> Result<usize> {
        let context = self.context(padding)?;
        let mut length = block.len();
        // SAFETY: live slices of the lengths that are told; the library refuses a block shorter than the modulus.
        done(unsafe {
            EVP_PKEY_decrypt(context.0.as_ptr(), block.as_mut_ptr(), &raw mut length, wrapped.as_ptr(), wrapped.len())
        })?;
        Ok(length)
    }

    fn context(&self, padding: RsaPadding) -> Result<RsaContext> {
        // SAFETY: a live key, of which the context takes a reference; no engine; null is refused.
        let context = unsafe { EVP_PKEY_CTX_new(self.0.as_ptr(), null_mut()) };
        let context = RsaContext(NonNull::new(context).ok_or(Error::Cipher)?);
        let (mode, mask) = match padding {
            RsaPadding::Unchecked => (RSA_NO_PADDING, None),
            // SAFETY: no precondition; the answers are static tables.
            RsaPadding::OaepSha256Mgf1Sha1 => (RSA_PKCS1_OAEP_PADDING, Some(unsafe { EVP_sha1() })),
            // SAFETY: as above.
            RsaPadding::OaepSha256 => (RSA_PKCS1_OAEP_PADDING, Some(unsafe { EVP_sha256() })),
        };
        // SAFETY: the context is live and for decryption before its padding is set.
        done(unsafe { EVP_PKEY_decrypt_init(context.0.as_ptr()) })?;
        // SAFETY: as above.
        done(unsafe { EVP_PKEY_CTX_set_rsa_padding(context.0.as_ptr(), mode) })?;
        if let Some(mask) = mask {
            // SAFETY: as above; the digests are static tables.
            done(unsafe { EVP_PKEY_CTX_set_rsa_oaep_md(context.0.as_ptr(), EVP_sha256()) })?;
            // SAFETY: as above.
            done(unsafe { EVP_PKEY_CTX_set_rsa_mgf1_md(context.0.as_ptr(), mask) })?;
        }
        Ok(context)
    }
}

impl Drop for RsaDecryption {
    fn drop(&mut self) {
        // SAFETY: made by the library for us, freed once.
        unsafe { EVP_PKEY_free(self.0.as_ptr()) };
    }
}

struct RsaContext(NonNull<EVP_PKEY_CTX>);

impl Drop for RsaContext {
    fn drop(&mut self) {
        // SAFETY: made by `EVP_PKEY_CTX_new`, freed once.
        unsafe { EVP_PKEY_CTX_free(self.0.as_ptr()) };
    }
}

fn done(status: c_int) -> Result<()> {
    if status == 1 { Ok(()) } else { Err(Error::Cipher) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: [u8; 32] = {
        let (mut key, mut place) = ([0; 32], 0);
        while place < 32 {
            key[place] = place as u8;
            place += 1;
        }
        key
    };
    const IV: &str = "a0a1a2a3a4a5a6a7a8a9aaabacadaeaf";
    const SHORT: &[u8] = b"forty-one bytes of text, the last one odd";
    // Of pyca/cryptography, which calls OpenSSL.
    const SHORT_SEALED: &str = "4ccc51c861e0a218a6be7dc89971feb0ed23630d1b4c2580dd6602d3395947f478b1890df0f3d0d98a";
    const SHORT_TAG: &str = "588b60459221af40bddc10fc42af168c";
    const LONG_TAG: &str = "2eae52937a740a0d2f107cbb669e57fe";

    fn long() -> Vec<u8> {
        (0..=255).cycle().take(13 * 256).collect()
    }

    fn iv() -> Vec<u8> {
        hex::decode(IV).unwrap()
    }

    #[test]
    fn sealing_with_an_iv_of_16_bytes_gives_the_known_answer() {
        let mut context = KeyedContext::new(&KEY).unwrap();
        for (text, tag) in [(SHORT.to_vec(), SHORT_TAG), (long(), LONG_TAG)] {
            let mut bytes = text.clone();
            let mut sealing = context.seal(&iv()).unwrap();
            sealing.update(Text::InPlace(&mut bytes)).unwrap();
            assert_eq!(hex::encode(sealing.finish().unwrap().as_bytes()), tag);
            assert!(text.len() > 41 || hex::encode(bytes) == SHORT_SEALED);
        }
    }

    #[test]
    fn switching_the_direction_gives_out_the_known_tag_of_the_ciphertext() {
        let mut context = KeyedContext::new(&KEY).unwrap();
        for (text, tag) in [(SHORT.to_vec(), SHORT_TAG), (long(), LONG_TAG), (SHORT.to_vec(), SHORT_TAG)] {
            let mut bytes = text.clone();
            let mut sealing = context.seal(&iv()).unwrap();
            sealing.update(Text::InPlace(&mut bytes)).unwrap();
            sealing.finish().unwrap();
            let mut opening = context.open(&iv()).unwrap();
            opening.update(Text::InPlace(&mut bytes)).unwrap();
            assert_eq!(bytes, text);
            assert_eq!(hex::encode(opening.switch().unwrap().finish().unwrap().as_bytes()), tag);
        }
    }

    #[test]
    fn an_expected_tag_is_compared_in_all_its_bits() {
        let mut context = KeyedContext::new(&KEY).unwrap();
        for bit in 0..128 {
            let mut bytes = hex::decode(SHORT_SEALED).unwrap();
            let mut tag: [u8; 16] = hex::decode(SHORT_TAG).unwrap().try_into().unwrap();
            tag[bit / 8] ^= 1 << (bit % 8);
            let mut opening = context.open(&iv()).unwrap();
            opening.update(Text::InPlace(&mut bytes)).unwrap();
            assert_eq!(opening.finish_expecting(&mut Element::from_bytes(tag)), Err(Error::Authentication), "{bit}");
        }
    }

    #[test]
    fn input_and_output_of_different_lengths_are_refused() {
        let mut context = KeyedContext::new(&KEY).unwrap();
        let mut sealing = context.seal(&iv()).unwrap();
        assert_eq!(sealing.update(Text::Into(&[0; 32], &mut [0; 31])), Err(Error::LengthMismatch));
    }

    #[test]
    fn wiping_leaves_zeros() {
        let mut bytes = vec![0xff; 100];
        wipe(&mut bytes);
        assert_eq!(bytes, [0; 100]);
    }
}
