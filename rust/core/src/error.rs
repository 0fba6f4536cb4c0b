//! Everything that can go wrong here.

use std::fmt;

/// Why the core refused. An authentication failure carries no detail: which check failed would help an attacker only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// The tag or the key commitment does not fit.
    Authentication,
    /// A wrapped data key that does not open under this key, whatever the reason.
    WrappedKey,
    /// Something else than opening content, under a data key whose wrap must not tell whether it fits.
    KeyToOpenOnly,
    /// A raw AES wrapping key of another length.
    WrappingKeyLength,
    /// Wrapping under a raw AES key of 128 or 192 bits.
    WrappingKeyToUnwrapOnly,
    /// No file in PEM.
    Pem,
    /// A private key that is encrypted with a passphrase.
    EncryptedKey,
    /// Something else than an RSA private key.
    PrivateKey,
    /// Something else than an RSA public key.
    PublicKey,
    /// An RSA key of a size that is not taken.
    RsaKeySize,
    /// No content is sealed or opened with this algorithm suite here.
    UnsupportedSuite,
    /// A data key of another length than the suite's.
    DataKeyLength,
    /// A message id or IV of another length than the suite's.
    MessageIdLength,
    /// An IV of another length than CBC's.
    IvLength,
    /// A message id or IV of zeros only: a broken random generator, or a forgery.
    MessageIdZero,
    /// A key commitment of another length than the suite's, or one where the suite has none.
    CommitmentLength,
    /// A segment that does not begin at a multiple of 16 bytes, or one inside the message that does not end at one.
    Misaligned,
    /// A size of segments that no index has.
    SegmentSize,
    /// Content beyond the end of the message, or beyond what the suite allows.
    TooLong,
    /// A range that is claimed already: its key stream covers one plaintext only.
    Overlap,
    /// Sealing in a forked child what its parent began: both would cover the same range.
    OtherProcess,
    /// The ranges do not yet make up the whole message.
    Incomplete,
    /// The message has its tag already.
    Finished,
    /// Input and output of different lengths.
    LengthMismatch,
    /// The hash key of GCM is zero, which authenticates nothing.
    WeakKey,
    /// The operating system gave no random bytes.
    Random,
    /// The cipher library refused, for want of memory at worst.
    Cipher,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Authentication => "the object or its key commitment does not authenticate",
            Self::WrappedKey => "the wrapped data key does not open under this key, or is of another object",
            Self::KeyToOpenOnly => {
                "a data key out of RSA PKCS#1 v1.5 opens content and does nothing else, since nothing tells whether it is \
                 the right one: read the object, and write it anew"
            }
            Self::WrappingKeyLength => "a raw AES wrapping key has 32 bytes (16 or 24 are taken for reads)",
            Self::WrappingKeyToUnwrapOnly => {
                "a raw AES key of 16 or 24 bytes reads what other clients wrote under it, and nothing is written under \
                 it here: give one of 32 bytes"
            }
            Self::Pem => "the file begins like PEM and is not: copy it whole, with its lines BEGIN and END",
            Self::EncryptedKey => {
                "the private key is encrypted with a passphrase: decrypt it first (openssl pkey -in FILE), or give it by \
                 a callback that does"
            }
            Self::PrivateKey => "this is no RSA private key: give PEM or DER of PKCS#8 or PKCS#1",
            Self::PublicKey => "this is no RSA public key: give PEM or DER of a SubjectPublicKeyInfo or of PKCS#1",
            Self::RsaKeySize => "RSA keys have 2048 to 4096 bits here",
            Self::UnsupportedSuite => "content of this algorithm suite is neither sealed nor opened here",
            Self::DataKeyLength => "a data key has 32 bytes",
            Self::MessageIdLength => "a message id has 28 bytes (V3), an IV 12 (V2)",
            Self::IvLength => "the IV of CBC has 16 bytes",
            Self::MessageIdZero => "a message id or IV of zeros only is refused",
            Self::CommitmentLength => "a key commitment has 28 bytes in V3 and does not exist in V2",
            Self::Misaligned => "borders inside a message lie at multiples of 16 bytes",
            Self::SegmentSize => "segments of an index have a power of two from 2^15 to 2^22 bytes",
            Self::TooLong => "the range lies outside the message, or the message is larger than the format allows",
            Self::Overlap => "the range overlaps one that is claimed already",
            Self::OtherProcess => "the message was begun by another process, which alone may go on with it",
            Self::Incomplete => "ranges of the message are missing",
            Self::Finished => "the message is finished already",
            Self::LengthMismatch => "input and output differ in length",
            Self::WeakKey => "the content key gives a hash key of zero",
            Self::Random => "the operating system gave no random bytes",
            Self::Cipher => "the cipher library refused the operation",
        })
    }
}

impl std::error::Error for Error {}

/// The result of this crate's functions.
pub type Result<T> = std::result::Result<T, Error>;
