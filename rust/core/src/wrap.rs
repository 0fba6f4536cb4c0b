//! Data keys under raw wrapping keys, as the S3 Encryption Client formats store them.
//!
//! `AES/GCM`: `nonce || ciphertext || tag`, the content algorithm as additional data. `RSA-OAEP-SHA1`: OAEP with SHA-1 and
//! MGF1-SHA-1 over `0x20 || data key || content algorithm`. Either way the wrapped key says what content it is for.
//!
//! Whatever is wrong with a wrapped key, the answer is [`Error::WrappedKey`]: what was wrong is of use to an attacker only.

use aws_lc_rs::aead::{AES_256_GCM, Aad, Nonce, RandomizedNonceKey};
use aws_lc_rs::constant_time;
use aws_lc_rs::rsa::{OAEP_SHA1_MGF1SHA1, OaepPrivateDecryptingKey, OaepPublicEncryptingKey};
use aws_lc_rs::rsa::{PrivateDecryptingKey, PublicEncryptingKey};
use zeroize::Zeroizing;

use crate::error::{Error, Result};
use crate::keys::DataKey;
use crate::rsa_keys::{private_key, public_key};
use crate::suite::SUITES;

const KEY_BYTES: usize = 32;
const NONCE_BYTES: usize = 12;
const TAG_BYTES: usize = 16;

/// A data key wrapped by [`AesWrappingKey::wrap`].
pub const AES_WRAPPED_BYTES: usize = NONCE_BYTES + KEY_BYTES + TAG_BYTES;

/// A raw AES-256 key that wraps data keys. Nonces are random: one key may wrap some 2^32 data keys (NIST SP 800-38D, 8.3).
pub struct AesWrappingKey {
    gcm: RandomizedNonceKey,
}

/// An RSA public key that wraps data keys.
pub struct RsaPublicKey(PublicEncryptingKey);

/// An RSA private key that unwraps data keys.
pub struct RsaPrivateKey(PrivateDecryptingKey);

impl AesWrappingKey {
    /// A copy of `key`; the caller wipes its own.
    ///
    /// # Errors
    /// [`Error::WrappingKeyLength`] unless there are 32 bytes.
    pub fn new(key: &[u8]) -> Result<Self> {
        let gcm = RandomizedNonceKey::new(&AES_256_GCM, key).map_err(|_| Error::WrappingKeyLength)?;
        Ok(Self { gcm })
    }

    /// Wraps a data key under a new nonce.
    ///
    /// # Errors
    /// [`Error::Cipher`].
    pub fn wrap(&self, data_key: &DataKey, additional_data: &[u8]) -> Result<Vec<u8>> {
        let mut sealed = Zeroizing::new(Vec::with_capacity(KEY_BYTES + TAG_BYTES));
        sealed.extend_from_slice(data_key.bytes());
        let nonce = self.gcm.seal_in_place_append_tag(Aad::from(additional_data), &mut *sealed);
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
        let opened = self.gcm.open_in_place(nonce, Aad::from(additional_data), &mut sealed);
        DataKey::new(opened.map_err(|_| Error::WrappedKey)?).map_err(|_| Error::WrappedKey)
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
    /// [`Error::UnsupportedSuite`] for any other algorithm, [`Error::Cipher`].
    pub fn wrap(&self, data_key: &DataKey, content_algorithm: &str) -> Result<Vec<u8>> {
        if !SUITES.iter().any(|suite| suite.content_algorithm == Some(content_algorithm)) {
            return Err(Error::UnsupportedSuite);
        }
        let mut payload = Zeroizing::new(Vec::with_capacity(1 + KEY_BYTES + content_algorithm.len()));
        payload.push(KEY_BYTES as u8);
        payload.extend_from_slice(data_key.bytes());
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
        private_key(file).map(Self)
    }

    /// Its public half.
    #[must_use]
    pub fn public_key(&self) -> RsaPublicKey {
        RsaPublicKey(self.0.public_key())
    }

    /// The data key, if it was wrapped for content of exactly this algorithm.
    ///
    /// # Errors
    /// [`Error::WrappedKey`].
    pub fn unwrap(&self, wrapped: &[u8], content_algorithm: &str) -> Result<DataKey> {
        let key = OaepPrivateDecryptingKey::new(self.0.clone()).map_err(|_| Error::Cipher)?;
        let mut payload = Zeroizing::new(vec![0; key.min_output_size()]);
        let payload = key.decrypt(&OAEP_SHA1_MGF1SHA1, wrapped, &mut payload, None).map_err(|_| Error::WrappedKey)?;
        let (length, rest) = payload.split_first().ok_or(Error::WrappedKey)?;
        let (data_key, algorithm) = rest.split_at_checked(usize::from(*length)).ok_or(Error::WrappedKey)?;
        let same = constant_time::verify_slices_are_equal(algorithm, content_algorithm.as_bytes());
        same.map_err(|_| Error::WrappedKey)?;
        DataKey::new(data_key).map_err(|_| Error::WrappedKey)
    }
}
