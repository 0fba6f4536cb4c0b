//! Whether the switch of direction works on this processor, found out at first use.
//!
//! aws-lc has one code path for each family of processors, and a known-answer test in the build sees one of them.

use std::sync::OnceLock;

use crate::error::Result;
use crate::evp::Text;
use crate::gcm::{OpenEngine, SegmentCipher};
use crate::keys::{ContentKey, DataKey, MessageId};
use crate::suite::AES_256_GCM;

/// Below and above the borders at which the assembly changes its loops (a block, 6, 18, 48 blocks, 3 KiB, 16 KiB).
const LENGTHS: [usize; 14] = [1, 15, 16, 17, 96, 97, 288, 289, 768, 1023, 1024, 3072, 3089, 16_400];
/// At the beginning of a message and inside.
const OFFSETS: [u64; 2] = [0, 16 * 4099];

/// The engine that opens content whose tag is not known yet.
#[must_use]
pub fn open_engine() -> OpenEngine {
    static ENGINE: OnceLock<OpenEngine> = OnceLock::new();
    *ENGINE.get_or_init(|| if switch_works().unwrap_or(false) { OpenEngine::Switched } else { OpenEngine::TwoPass })
}

/// Seals patterns, opens them both ways, and compares plaintexts and partials.
fn switch_works() -> Result<bool> {
    let cipher = |engine| SegmentCipher::new(test_key()?, engine);
    let (switched, two_pass) = (cipher(OpenEngine::Switched)?, cipher(OpenEngine::TwoPass)?);
    for offset in OFFSETS {
        for length in LENGTHS {
            let plaintext: Vec<u8> =
                (0..length).map(|place| place.to_le_bytes().iter().fold(7, |a, b| a ^ b)).collect();
            let mut one = plaintext.clone();
            let sealed = switched.seal(offset, Text::InPlace(&mut one))?;
            let mut other = one.clone();
            let (fast, slow) = (switched.open(offset, &mut one)?, two_pass.open(offset, &mut other)?);
            if one != plaintext || other != plaintext || !fast.equals(&slow) || !fast.equals(&sealed) {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

fn test_key() -> Result<ContentKey> {
    let id = MessageId::from_bytes(&AES_256_GCM, &[0x24; 12])?;
    DataKey::new(&[0x42; 32])?.to_open(&id, None)
}
