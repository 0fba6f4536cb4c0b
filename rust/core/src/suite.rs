//! The algorithm suites of the S3 Encryption Client specification (`framework/algorithm-suites.md`), as one table.

use crate::error::{Error, Result};

/// The largest plaintext of one AES-GCM message: the block counter has 32 bits (NIST SP 800-38D, 5.2.1.1).
pub const MAX_GCM_CONTENT_BYTES: u64 = (1 << 36) - 32;

/// A row of the table. Sizes in bytes; 0 where a suite has no such thing.
#[derive(Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct AlgorithmSuite {
    /// The two-byte id.
    pub id: u16,
    /// The specification's name.
    pub name: &'static str,
    /// How metadata and encryption context spell it, where it appears there.
    pub content_algorithm: Option<&'static str>,
    /// Length of the data key.
    pub data_key_bytes: usize,
    /// Length of the IV that is stored with the object.
    pub iv_bytes: usize,
    /// Length of the message id that is stored in place of an IV.
    pub message_id_bytes: usize,
    /// Length of the key commitment.
    pub commitment_bytes: usize,
    /// Length of the authentication tag behind the content.
    pub tag_bytes: usize,
    /// The largest plaintext of one object.
    pub max_content_bytes: u64,
    /// Whether content is sealed and opened with it here.
    pub supported: bool,
}

impl AlgorithmSuite {
    /// Whether the object commits to its key.
    #[must_use]
    pub const fn committing(&self) -> bool {
        self.commitment_bytes > 0
    }

    /// Length of what makes a message unique: the message id where the suite has one, otherwise the IV.
    #[must_use]
    pub const fn unique_bytes(&self) -> usize {
        if self.message_id_bytes > 0 { self.message_id_bytes } else { self.iv_bytes }
    }
}

/// Format V2: the data key is the content key.
pub static AES_256_GCM: AlgorithmSuite = AlgorithmSuite {
    id: 0x0072,
    name: "ALG_AES_256_GCM_IV12_TAG16_NO_KDF",
    content_algorithm: Some("AES/GCM/NoPadding"),
    data_key_bytes: 32,
    iv_bytes: 12,
    message_id_bytes: 0,
    commitment_bytes: 0,
    tag_bytes: 16,
    max_content_bytes: MAX_GCM_CONTENT_BYTES,
    supported: true,
};

/// Format V3: the content key is derived from data key and message id, and the object commits to it.
pub static AES_256_GCM_COMMIT: AlgorithmSuite = AlgorithmSuite {
    id: 0x0073,
    name: "ALG_AES_256_GCM_HKDF_SHA512_COMMIT_KEY",
    content_algorithm: Some("115"),
    data_key_bytes: 32,
    iv_bytes: 0,
    message_id_bytes: 28,
    commitment_bytes: 28,
    tag_bytes: 16,
    max_content_bytes: MAX_GCM_CONTENT_BYTES,
    supported: true,
};

// CBC takes any number of blocks; S3 itself ends at 50 TiB. The CTR suites are ranges of the GCM ones.
static AES_256_CBC: AlgorithmSuite = AlgorithmSuite {
    id: 0x0070,
    name: "ALG_AES_256_CBC_IV16_NO_KDF",
    content_algorithm: Some("AES/CBC/PKCS5Padding"),
    data_key_bytes: 32,
    iv_bytes: 16,
    message_id_bytes: 0,
    commitment_bytes: 0,
    tag_bytes: 0,
    max_content_bytes: (1 << 63) - 1,
    supported: false,
};

static AES_256_CTR: AlgorithmSuite = AlgorithmSuite {
    id: 0x0071,
    name: "ALG_AES_256_CTR_IV16_TAG16_NO_KDF",
    content_algorithm: None,
    data_key_bytes: 32,
    iv_bytes: 0,
    message_id_bytes: 0,
    commitment_bytes: 0,
    tag_bytes: 0,
    max_content_bytes: MAX_GCM_CONTENT_BYTES,
    supported: false,
};

static AES_256_CTR_COMMIT: AlgorithmSuite = AlgorithmSuite {
    id: 0x0074,
    name: "ALG_AES_256_CTR_HKDF_SHA512_COMMIT_KEY",
    content_algorithm: None,
    data_key_bytes: 32,
    iv_bytes: 0,
    message_id_bytes: 0,
    commitment_bytes: 0,
    tag_bytes: 0,
    max_content_bytes: MAX_GCM_CONTENT_BYTES,
    supported: false,
};

/// Every suite, by id.
pub static SUITES: [&AlgorithmSuite; 5] =
    [&AES_256_CBC, &AES_256_CTR, &AES_256_GCM, &AES_256_GCM_COMMIT, &AES_256_CTR_COMMIT];

/// The suite of an id, if content can be sealed and opened with it here.
///
/// # Errors
/// [`Error::UnsupportedSuite`] for any other id.
pub fn supported_suite(id: u16) -> Result<&'static AlgorithmSuite> {
    SUITES.iter().copied().find(|suite| suite.id == id && suite.supported).ok_or(Error::UnsupportedSuite)
}
