//! RSA keys as they come in files: PEM or DER; PKCS#8 or PKCS#1 for private ones, SubjectPublicKeyInfo or PKCS#1 for
//! public ones. Errors say what a file is instead, never what is in it.

use aws_lc_rs::error::KeyRejected;
use aws_lc_rs::rsa::{PrivateDecryptingKey, PublicEncryptingKey};
use base64ct::{Base64, Encoding};
use zeroize::Zeroizing;

use crate::error::{Error, Result};

/// Smaller ones are no protection, larger ones nobody uses: and an operation takes time with the cube of them.
const MODULUS_BITS: std::ops::RangeInclusive<usize> = 2048..=4096;

const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OCTET_STRING: u8 = 0x04;
const SEQUENCE: u8 = 0x30;
/// AlgorithmIdentifier { rsaEncryption, NULL }, RFC 8017, appendix A.
const RSA_ENCRYPTION: &[u8] =
    &[SEQUENCE, 13, 0x06, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00];
const VERSION_0: &[u8] = &[INTEGER, 1, 0];
const BEGIN: &[u8] = b"-----BEGIN ";

/// What a DER structure is, by its outermost elements.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Pkcs8,
    Pkcs1Private,
    Pkcs1Public,
    SubjectPublicKeyInfo,
    Encrypted,
    Other,
}

/// The private key in a file.
pub(crate) fn private_key(file: &[u8]) -> Result<PrivateDecryptingKey> {
    let der = der_of(file)?;
    let key = match kind(&der) {
        Kind::Pkcs8 => PrivateDecryptingKey::from_pkcs8(&der),
        Kind::Pkcs1Private => {
            let key = element(OCTET_STRING, &[&der]); // as PKCS#8 has it within
            PrivateDecryptingKey::from_pkcs8(&element(SEQUENCE, &[VERSION_0, RSA_ENCRYPTION, &key]))
        }
        Kind::Encrypted => return Err(Error::EncryptedKey),
        Kind::Pkcs1Public | Kind::SubjectPublicKeyInfo | Kind::Other => return Err(Error::PrivateKey),
    };
    let key = key.map_err(|rejected| refusal(&rejected, Error::PrivateKey))?;
    sized(key.key_size_bits()).map(|()| key)
}

/// The public key in a file.
pub(crate) fn public_key(file: &[u8]) -> Result<PublicEncryptingKey> {
    let der = der_of(file)?;
    let key = match kind(&der) {
        Kind::SubjectPublicKeyInfo => PublicEncryptingKey::from_der(&der),
        Kind::Pkcs1Public => {
            let key = element(BIT_STRING, &[&[0], &der]);
            PublicEncryptingKey::from_der(&element(SEQUENCE, &[RSA_ENCRYPTION, &key]))
        }
        Kind::Pkcs8 | Kind::Pkcs1Private | Kind::Encrypted | Kind::Other => return Err(Error::PublicKey),
    };
    let key = key.map_err(|rejected| refusal(&rejected, Error::PublicKey))?;
    sized(key.key_size_bits()).map(|()| key)
}

fn sized(bits: usize) -> Result<()> {
    if MODULUS_BITS.contains(&bits) { Ok(()) } else { Err(Error::RsaKeySize) }
}

fn refusal(rejected: &KeyRejected, otherwise: Error) -> Error {
    match rejected.to_string().as_str() {
        "TooSmall" | "TooLarge" => Error::RsaKeySize,
        _ => otherwise,
    }
}

fn kind(der: &[u8]) -> Kind {
    let Some((SEQUENCE, structure, [])) = first_element(der) else { return Kind::Other };
    let Some((first, _, rest)) = first_element(structure) else { return Kind::Other };
    let Some((second, _, behind)) = first_element(rest) else { return Kind::Other };
    match (first, second, behind.is_empty()) {
        (INTEGER, SEQUENCE, false) => Kind::Pkcs8,
        (INTEGER, INTEGER, false) => Kind::Pkcs1Private,
        (INTEGER, INTEGER, true) => Kind::Pkcs1Public,
        // Keys of other algorithms, and those for signatures only, have other identifiers.
        (SEQUENCE, BIT_STRING, true) if structure.starts_with(RSA_ENCRYPTION) => Kind::SubjectPublicKeyInfo,
        (SEQUENCE, OCTET_STRING, true) => Kind::Encrypted,
        _ => Kind::Other,
    }
}

/// Tag and content of the first element, and what is behind it.
fn first_element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (tag, rest) = der.split_first()?;
    let (length, rest) = rest.split_first()?;
    let (length, rest) = match usize::from(*length) {
        short @ 0..=0x7f => (short, rest),
        // Two or three bytes of length: no key needs more.
        long @ 0x81..=0x83 => {
            let (length, rest) = rest.split_at_checked(long - 0x80)?;
            (length.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)), rest)
        }
        _ => return None,
    };
    let (content, behind) = rest.split_at_checked(length)?;
    Some((*tag, content, behind))
}

/// One element out of its parts.
fn element(tag: u8, parts: &[&[u8]]) -> Zeroizing<Vec<u8>> {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let bytes = length.to_be_bytes();
    let needed = bytes.len() - length.leading_zeros() as usize / 8;
    let mut element = Zeroizing::new(Vec::with_capacity(length + 2 + bytes.len()));
    match length {
        0..=0x7f => element.extend([tag, length as u8]),
        _ => element.extend([tag, 0x80 + needed as u8].iter().chain(bytes.iter().skip(bytes.len() - needed))),
    }
    for part in parts {
        element.extend_from_slice(part);
    }
    element
}

/// The DER of a file that may be PEM (RFC 7468): of its first block that holds a key.
fn der_of(file: &[u8]) -> Result<Zeroizing<Vec<u8>>> {
    let Some(mut block) = after(file, BEGIN) else { return Ok(Zeroizing::new(file.to_vec())) };
    // A loop, since a file may have more blocks than a stack has room for.
    loop {
        let (der, behind) = pem(block)?;
        match (kind(&der), after(behind, BEGIN)) {
            (Kind::Other, Some(next)) => block = next, // a certificate before the key
            _ => return Ok(der),
        }
    }
}

/// The DER of a PEM block, from its label on, and what is behind the block.
fn pem(block: &[u8]) -> Result<(Zeroizing<Vec<u8>>, &[u8])> {
    let (_, rest) = until(block, b"-----").ok_or(Error::Pem)?;
    let (body, behind) = until(rest, b"-----END ").ok_or(Error::Pem)?;
    let (_, behind) = until(behind, b"-----").ok_or(Error::Pem)?;
    if after(body, b"4,ENCRYPTED").is_some() {
        return Err(Error::EncryptedKey); // a header of OpenSSL's old format
    }
    let mut base64 = Zeroizing::new(Vec::with_capacity(body.len()));
    base64.extend(body.iter().filter(|byte| !byte.is_ascii_whitespace()));
    let mut der = Zeroizing::new(vec![0; base64.len()]);
    let length = Base64::decode(&*base64, &mut der).map_err(|_| Error::Pem)?.len();
    der.truncate(length);
    Ok((der, behind))
}

/// What is before a mark, and what is behind it.
fn until<'a>(text: &'a [u8], mark: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let place = text.windows(mark.len()).position(|window| window == mark)?;
    let (before, rest) = text.split_at_checked(place)?;
    Some((before, rest.get(mark.len()..)?))
}

fn after<'a>(text: &'a [u8], mark: &[u8]) -> Option<&'a [u8]> {
    until(text, mark).map(|(_, behind)| behind)
}
