//! Data keys under raw wrapping keys, as the S3 Encryption Client formats store them.
//!
//! `AES/GCM`: `nonce || ciphertext || tag`, the content algorithm as additional data. `RSA-OAEP-SHA1`: OAEP with SHA-1 and
//! MGF1-SHA-1 over `0x20 || data key || content algorithm`. Either way the wrapped key says what content it is for.
//!
//! What old clients wrote is unwrapped only: RFC 3394 (`AESWrap`), AES-ECB (`AES` of V1), PKCS#1 v1.5 (`RSA` of V1) and OAEP
//! with SHA-256. None of them says what content the data key is for.
//!
//! Whatever is wrong with a wrapped key, the answer is [`Error::WrappedKey`]: what was wrong is of use to an attacker only.
//! Of PKCS#1 v1.5 even that much is (Bleichenbacher 1998): there a random data key takes the place of a wrong one.

use aws_lc_rs::aead::{AES_128_GCM, AES_192_GCM, AES_256_GCM, Aad, LessSafeKey, Nonce, RandomizedNonceKey, UnboundKey};
use aws_lc_rs::cipher::{self, DecryptingKey, DecryptionContext, UnboundCipherKey};
use aws_lc_rs::constant_time;
use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rsa::{OAEP_SHA1_MGF1SHA1, OaepPrivateDecryptingKey, OaepPublicEncryptingKey};
use aws_lc_rs::rsa::{PrivateDecryptingKey, PublicEncryptingKey};
use zeroize::{Zeroize, Zeroizing};

use crate::error::{Error, Result};
use crate::evp::{self, RsaDecryption, RsaPadding};
use crate::keys::{DataKey, mask_of_zero};
use crate::rsa_keys::{private_key, public_key};
use crate::suite::SUITES;

const KEY_BYTES: usize = 32;
const NONCE_BYTES: usize = 12;
const TAG_BYTES: usize = 16;
const RFC_3394_BYTES: usize = KEY_BYTES + 8;
/// PKCS#7 pads whole blocks with a block more.
const ECB_PADDING: [u8; 16] = [16; 16];
const ECB_BYTES: usize = KEY_BYTES + ECB_PADDING.len();

/// A data key wrapped by [`AesWrappingKey::wrap`].
pub const AES_WRAPPED_BYTES: usize = NONCE_BYTES + KEY_BYTES + TAG_BYTES;

/// A raw AES key. One of 256 bits wraps data keys; nonces are random: one key may wrap some 2^32 data keys (NIST SP
/// 800-38D, 8.3). One of 128 or 192 bits, which other clients take too, unwraps only.
pub struct AesWrappingKey {
    wrapping: Option<RandomizedNonceKey>,
    unwrapping: LessSafeKey,
    /// For the ways of old clients.
    bytes: Zeroizing<Box<[u8]>>,
}

/// An RSA public key that wraps data keys.
pub struct RsaPublicKey(PublicEncryptingKey);

/// An RSA private key that unwraps data keys.
pub struct RsaPrivateKey {
    key: PrivateDecryptingKey,
    process: u32,
}

impl AesWrappingKey {
    /// A copy of `key`; the caller wipes its own.
    ///
    /// # Errors
    /// [`Error::WrappingKeyLength`] unless there are 32 bytes, or 24 or 16.
    pub fn new(key: &[u8]) -> Result<Self> {
        let algorithm = match key.len() {
            16 => &AES_128_GCM,
            24 => &AES_192_GCM,
            KEY_BYTES => &AES_256_GCM,
            _ => return Err(Error::WrappingKeyLength),
        };
        let wrapping = (key.len() == KEY_BYTES).then(|| RandomizedNonceKey::new(algorithm, key));
        let wrapping = wrapping.transpose().map_err(|_| Error::Cipher)?;
        let unwrapping = UnboundKey::new(algorithm, key).map(LessSafeKey::new).map_err(|_| Error::Cipher)?;
        Ok(Self { wrapping, unwrapping, bytes: Zeroizing::new(Box::from(key)) })
    }

    /// Wraps a data key under a new nonce.
    ///
    /// # Errors
    /// [`Error::WrappingKeyToUnwrapOnly`], [`Error::KeyToOpenOnly`], [`Error::Cipher`].
    pub fn wrap(&self, data_key: &DataKey, additional_data: &[u8]) -> Result<Vec<u8>> {
        let key = self.wrapping.as_ref().ok_or(Error::WrappingKeyToUnwrapOnly)?;
        let mut sealed = Zeroizing::new(Vec::with_capacity(KEY_BYTES + TAG_BYTES));
        sealed.extend_from_slice(data_key.to_wrap()?);
        let nonce = key.seal_in_place_append_tag(Aad::from(additional_data), &mut *sealed);
        let nonce = nonce.map_err(|_| Error::Cipher)?;
        Ok([nonce.as_ref().as_slice(), &sealed].concat())
    }

    /// The data key.
    ///
    /// # Errors
    /// [`Error::WrappedKey`].
    pub fn unwrap(&self, wrapped: &[u8], additional_data: &[u8]) -> Result<DataKey> {
        let (nonce, sealed) = wrapped.split_first_chunk::<NONCE_BYTES>().ok_or(Error::WrappedKey)?;
        let mut sealed = Zeroizing::new(sealed.to_vec());
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let opened = self.unwrapping.open_in_place(nonce, Aad::from(additional_data), &mut sealed);
        DataKey::new(opened.map_err(|_| Error::WrappedKey)?).map_err(|_| Error::WrappedKey)
    }

    /// The data key out of an RFC 3394 wrap: `AESWrap`.
    ///
    /// # Errors
    /// [`Error::WrappedKey`].
    pub fn unwrap_rfc3394(&self, wrapped: &[u8]) -> Result<DataKey> {
        let wrapped: &[u8; RFC_3394_BYTES] = wrapped.try_into().map_err(|_| Error::WrappedKey)?;
        let mut data_key = Zeroizing::new([0; KEY_BYTES]);
        evp::unwrap_rfc3394(&self.bytes, wrapped, &mut data_key)?;
        DataKey::new(&*data_key)
    }

    /// The data key out of AES-ECB with PKCS#7 padding: `AES` of V1, where the padding is all that tells a wrong key.
    ///
    /// # Errors
    /// [`Error::WrappedKey`].
    pub fn unwrap_ecb(&self, wrapped: &[u8]) -> Result<DataKey> {
        let wrapped: &[u8; ECB_BYTES] = wrapped.try_into().map_err(|_| Error::WrappedKey)?;
        let mut bytes = Zeroizing::new(*wrapped);
        let decrypted = self.ecb()?.decrypt(&mut *bytes, DecryptionContext::None).map(|_| ());
        decrypted.map_err(|_| Error::Cipher)?;
        let (data_key, padding) = bytes.split_at(KEY_BYTES);
        constant_time::verify_slices_are_equal(padding, &ECB_PADDING).map_err(|_| Error::WrappedKey)?;
        DataKey::new(data_key)
    }

    /// The bare cipher.
    fn ecb(&self) -> Result<DecryptingKey> {
        let algorithm = match self.bytes.len() {
            16 => &cipher::AES_128,
            24 => &cipher::AES_192,
            _ => &cipher::AES_256,
        };
        UnboundCipherKey::new(algorithm, &self.bytes).and_then(DecryptingKey::ecb).map_err(|_| Error::Cipher)
    }
}

impl RsaPublicKey {
    /// The key in a file: PEM or DER; SubjectPublicKeyInfo or PKCS#1; 2048 to 4096 bits.
    ///
    /// # Errors
    /// [`Error::PublicKey`], [`Error::RsaKeySize`], [`Error::Pem`], [`Error::EncryptedKey`].
    pub fn new(file: &[u8]) -> Result<Self> {
        public_key(file).map(Self)
    }

    /// Wraps a data key for content of an algorithm, as the table of suites spells it.
    ///
    /// # Errors
    /// [`Error::UnsupportedSuite`] for any other algorithm, [`Error::KeyToOpenOnly`], [`Error::Cipher`].
    pub fn wrap(&self, data_key: &DataKey, content_algorithm: &str) -> Result<Vec<u8>> {
        if !SUITES.iter().any(|suite| suite.content_algorithm == Some(content_algorithm)) {
            return Err(Error::UnsupportedSuite);
        }
        let mut payload = Zeroizing::new(Vec::with_capacity(1 + KEY_BYTES + content_algorithm.len()));
        payload.push(KEY_BYTES as u8);
        payload.extend_from_slice(data_key.to_wrap()?);
        payload.extend_from_slice(content_algorithm.as_bytes());
        let key = OaepPublicEncryptingKey::new(self.0.clone()).map_err(|_| Error::Cipher)?;
        let mut wrapped = vec![0; key.ciphertext_size()];
        let length = key.encrypt(&OAEP_SHA1_MGF1SHA1, &payload, &mut wrapped, None).map_err(|_| Error::Cipher)?.len();
        wrapped.truncate(length);
        Ok(wrapped)
    }
}

impl RsaPrivateKey {
    /// The key in a file: PEM or DER; PKCS#8 or PKCS#1; 2048 to 4096 bits; not encrypted.
    ///
    /// # Errors
    /// [`Error::PrivateKey`], [`Error::RsaKeySize`], [`Error::Pem`], [`Error::EncryptedKey`].
    pub fn new(file: &[u8]) -> Result<Self> {
        Ok(Self { key: private_key(file)?, process: std::process::id() })
    }

    /// Its public half.
    ///
    /// # Errors
    /// [`Error::Cipher`].
    pub fn public_key(&self) -> Result<RsaPublicKey> {
        // A key of its own, for the reason below.
        let der: PublicKeyX509Der<'_> = self.key.public_key().as_der().map_err(|_| Error::Cipher)?;
        PublicEncryptingKey::from_der(der.as_ref()).map(RsaPublicKey).map_err(|_| Error::Cipher)
    }

    /// The data key, if it was wrapped for content of exactly this algorithm.
    ///
    /// # Errors
    /// [`Error::WrappedKey`].
    pub fn unwrap(&self, wrapped: &[u8], content_algorithm: &str) -> Result<DataKey> {
        let key = OaepPrivateDecryptingKey::new(self.own()?).map_err(|_| Error::Cipher)?;
        let mut payload = Zeroizing::new(vec![0; key.min_output_size()]);
        let payload = key.decrypt(&OAEP_SHA1_MGF1SHA1, wrapped, &mut payload, None).map_err(|_| Error::WrappedKey)?;
        let (length, rest) = payload.split_first().ok_or(Error::WrappedKey)?;
        let (data_key, algorithm) = rest.split_at_checked(usize::from(*length)).ok_or(Error::WrappedKey)?;
        let same = constant_time::verify_slices_are_equal(algorithm, content_algorithm.as_bytes());
        same.map_err(|_| Error::WrappedKey)?;
        DataKey::new(data_key).map_err(|_| Error::WrappedKey)
    }

    /// The data key out of OAEP with SHA-256, whose writers differ in MGF1: with SHA-1 (Java's own provider), or with
    /// SHA-256 (Bouncy Castle).
    ///
    /// # Errors
    /// [`Error::WrappedKey`].
    pub fn unwrap_oaep_sha256(&self, wrapped: &[u8]) -> Result<DataKey> {
        let (key, mut block) = self.legacy()?;
        for padding in [RsaPadding::OaepSha256Mgf1Sha1, RsaPadding::OaepSha256] {
            if let Ok(length) = key.decrypt(padding, wrapped, &mut block) {
                return DataKey::new(block.get(..length).unwrap_or_default()).map_err(|_| Error::WrappedKey);
            }
        }
        Err(Error::WrappedKey)
    }

    /// The data key out of PKCS#1 v1.5, `RSA` of V1, or a random one in its place. Which of them it is shows when content
    /// was opened under it, which then fails; it serves for nothing else.
    ///
    /// # Errors
    /// [`Error::Random`], [`Error::Cipher`]; none that depends on what `wrapped` holds.
    pub fn unwrap_pkcs1(&self, wrapped: &[u8]) -> Result<DataKey> {
        let (key, mut block) = self.legacy()?;
        if key.decrypt(RsaPadding::Unchecked, wrapped, &mut block).is_err() {
            block.zeroize(); // not of this modulus, as anybody can see: zeros are no padding either
            block.resize(self.key.key_size_bytes(), 0);
        }
        key_in(&block)
    }

    /// The key, to be used in this process. In a forked child it is made anew: if a thread of the parent was using it, the
    /// library finds its lock held or its state half changed there, and waits for ever or ends the process.
    fn own(&self) -> Result<PrivateDecryptingKey> {
        if self.process == std::process::id() {
            return Ok(self.key.clone());
        }
        PrivateDecryptingKey::from_pkcs8(self.der()?.as_ref()).map_err(|_| Error::Cipher)
    }

    /// The key for the ways of old clients, and room for what it decrypts.
    fn legacy(&self) -> Result<(RsaDecryption, Zeroizing<Vec<u8>>)> {
        let room = Zeroizing::new(vec![0; self.key.key_size_bytes()]);
        Ok((RsaDecryption::from_pkcs8(self.der()?.as_ref())?, room))
    }

    fn der(&self) -> Result<Pkcs8V1Der<'static>> {
        self.key.as_der().map_err(|_| Error::Cipher)
    }
}

/// The data key in a block of PKCS#1 v1.5 (RFC 8017, 7.2.2): `00 02`, bytes other than zero, `00`, the data key. Since its
/// length is known each byte has its place, and nothing branches on any.
fn key_in(block: &[u8]) -> Result<DataKey> {
    let (padding, data_key) = block.split_last_chunk::<KEY_BYTES>().ok_or(Error::Cipher)?;
    let [zero, two, filling @ .., end] = padding else { return Err(Error::Cipher) };
    let wrong = filling.iter().fold(zero | (two ^ 2) | end, |wrong, byte| wrong | mask_of_zero(*byte));
    DataKey::or_random(data_key, wrong)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::legacy::CbcOpener;

    const KEY: [u8; KEY_BYTES] = [7; KEY_BYTES];

    fn block() -> Vec<u8> {
        [[0, 2].as_slice(), &[0xee; 221], &[0], &KEY].concat()
    }

    /// Whether the key came out of the block, and whether the core knows.
    fn found(block: &[u8]) -> (bool, bool) {
        let key = key_in(block).unwrap();
        (key.bytes() == &KEY, key.fits().wrong() == 0)
    }

    #[test]
    fn of_all_beginnings_of_a_block_only_one_gives_the_key() {
        let mut block = block();
        for beginning in 0..=u16::MAX {
            block[..2].copy_from_slice(&beginning.to_be_bytes());
            assert_eq!(found(&block), (beginning == 2, beginning == 2), "{beginning}");
        }
    }

    #[test]
    fn a_zero_belongs_before_the_key_and_nowhere_else_in_the_padding() {
        for place in 2..block().len() - KEY_BYTES - 1 {
            let mut block = block();
            block[place] = 0;
            assert_eq!(found(&block), (false, false), "{place}");
        }
        for end in 1..=u8::MAX {
            let mut block = block();
            block[256 - KEY_BYTES - 1] = end;
            assert_eq!(found(&block), (false, false), "{end}");
        }
    }

    #[test]
    fn padding_of_content_that_fits_by_chance_does_not_help_a_random_key() {
        // It does for one key in 256.
        for _ in 0..5000 {
            let mut content = [1; 32];
            let opener = CbcOpener::new(&key_in(&[0; 256]).unwrap(), &[1; 16], 32).unwrap();
            opener.decrypt_in_place(0, &mut content).unwrap();
            assert_eq!((opener.finish(&mut content), content), (Err(Error::Authentication), [0; 32]));
        }
    }

    #[test]
    fn each_random_key_is_another() {
        // Whatever was found: not a bit of it shows in what takes its place.
        let blocks = [[0; 256], [0xff; 256]].into_iter().cycle().take(20);
        let keys: Vec<_> = blocks.map(|block| *key_in(&block).unwrap().bytes()).collect();
        assert!(keys.iter().enumerate().all(|(place, key)| !keys[..place].contains(key) && *key != [0; KEY_BYTES]));
    }
}
