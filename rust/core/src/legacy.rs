//! AES-256-CBC with PKCS#7 padding, the content of format V1 and of old V2 objects: decrypted only, and never proven.
//!
//! Pieces are decrypted where they lie, in any order, on any thread: each as if zeros came before it, with its last
//! ciphertext block kept. At the end the first block of each piece gets the block that does come before it.
//!
//! Whoever sees whether padding fitted can decrypt objects by asking often enough (Vaudenay 2002). So the padding is looked
//! at in constant time, every failure is [`Error::Authentication`], and what was decrypted is wiped first.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::iter::zip;
use std::sync::{Mutex, PoisonError};

use aws_lc_rs::cipher::{AES_256, DecryptingKey, DecryptionContext, UnboundCipherKey};
use aws_lc_rs::iv::FixedLength;

use crate::error::{Error, Result};
use crate::evp::wipe;
use crate::ghash::BLOCK_BYTES;
use crate::keys::{DataKey, Fits};

type Block = [u8; BLOCK_BYTES];

/// Decrypts one object. What it gives proves nothing: whoever could write to the object decides what comes out.
pub struct CbcOpener {
    key: DecryptingKey,
    fits: Fits,
    iv: Block,
    pieces: Mutex<BTreeMap<u64, Piece>>,
}

/// A piece that was decrypted as if zeros came before it.
struct Piece {
    end: u64,
    last_ciphertext: Block,
}

impl CbcOpener {
    /// An opener for an object of `stored` bytes.
    ///
    /// # Errors
    /// [`Error::IvLength`] unless the IV has 16 bytes; [`Error::Authentication`] if no object has this length: none is
    /// empty, none has a part of a block; [`Error::Cipher`].
    pub fn new(data_key: &DataKey, iv: &[u8], stored: u64) -> Result<Self> {
        let iv = iv.try_into().map_err(|_| Error::IvLength)?;
        if stored == 0 || !stored.is_multiple_of(BLOCK_BYTES as u64) {
            return Err(Error::Authentication);
        }
        let key = UnboundCipherKey::new(&AES_256, data_key.bytes()).and_then(DecryptingKey::cbc);
        let (key, fits) = (key.map_err(|_| Error::Cipher)?, data_key.fits());
        Ok(Self { key, fits, iv, pieces: Mutex::default() })
    }

    /// Decrypts the piece at `offset` in place, except for what its first block needs of the one before it.
    ///
    /// # Errors
    /// [`Error::Misaligned`] unless offset and length are multiples of 16, [`Error::TooLong`], [`Error::Cipher`].
    pub fn decrypt_in_place(&self, offset: u64, piece: &mut [u8]) -> Result<()> {
        let Some(last_ciphertext) = piece.last_chunk().copied() else { return Ok(()) };
        if !offset.is_multiple_of(BLOCK_BYTES as u64) || !piece.len().is_multiple_of(BLOCK_BYTES) {
            return Err(Error::Misaligned);
        }
        let end = offset.checked_add(piece.len() as u64).ok_or(Error::TooLong)?;
        let zeros = DecryptionContext::Iv128(FixedLength::from([0; BLOCK_BYTES]));
        self.key.decrypt(piece, zeros).map_err(|_| Error::Cipher)?;
        let mut pieces = self.pieces.lock().unwrap_or_else(PoisonError::into_inner);
        pieces.insert(offset, Piece { end, last_ciphertext });
        Ok(())
    }

    /// Completes the object, whose pieces are all decrypted, and says how many bytes of it are content. Wipes it if it
    /// refuses.
    ///
    /// # Errors
    /// [`Error::Authentication`] if the padding does not fit, or the data key was none; [`Error::Incomplete`].
    pub fn finish(&self, object: &mut [u8]) -> Result<usize> {
        let content = self.chain(object).and_then(|()| unpadded(object, &self.fits));
        content.inspect_err(|_| wipe(object))
    }

    /// Gives the first block of each piece the ciphertext block before it.
    fn chain(&self, object: &mut [u8]) -> Result<()> {
        let (mut expected, mut before) = (0, self.iv);
        for (offset, piece) in &*self.pieces.lock().unwrap_or_else(PoisonError::into_inner) {
            let begin = usize::try_from(*offset).ok().filter(|_| *offset == expected);
            let first = begin.and_then(|begin| object.get_mut(begin..)?.first_chunk_mut::<BLOCK_BYTES>());
            zip(first.ok_or(Error::Incomplete)?, before).for_each(|(byte, mask)| *byte ^= mask);
            (expected, before) = (piece.end, piece.last_ciphertext);
        }
        if expected == object.len() as u64 { Ok(()) } else { Err(Error::Incomplete) }
    }
}

/// The length without PKCS#7 padding (RFC 5652, 6.3). One branch, on whether everything fits.
fn unpadded(object: &[u8], fits: &Fits) -> Result<usize> {
    let last: &Block = object.last_chunk().ok_or(Error::Authentication)?;
    let [.., padding] = *last;
    let padding = u32::from(padding);
    let mut wrong = padding.wrapping_sub(1) >> 4; // none, or more than a block
    for (place, byte) in (0..).zip(last.iter().rev()) {
        let is_padding = black_box(u32::wrapping_sub(place, padding) >> 31);
        wrong |= is_padding.wrapping_neg() & (u32::from(*byte) ^ padding);
    }
    wrong |= fits.wrong();
    if black_box(wrong) == 0 { Ok(object.len() - padding as usize) } else { Err(Error::Authentication) }
}
