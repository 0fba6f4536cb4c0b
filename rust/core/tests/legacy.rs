//! AES-CBC: the known answers, pieces in any order, and failures that are all alike.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::HashSet;

use arrowseal_core::error::Error;
use arrowseal_core::keys::DataKey;
use arrowseal_core::legacy::CbcOpener;
use aws_lc_rs::cipher::{AES_256, EncryptingKey, EncryptionContext, PaddedBlockEncryptingKey, UnboundCipherKey};
use aws_lc_rs::iv::FixedLength;
use proptest::prelude::*;
use serde_json::Value;

const KEY: [u8; 32] = [6; 32];
const IV: [u8; 16] = [9; 16];

fn encrypted(content: &[u8]) -> Vec<u8> {
    let key = UnboundCipherKey::new(&AES_256, &KEY).unwrap();
    let mut object = content.to_vec();
    let iv = EncryptionContext::Iv128(FixedLength::from(IV));
    PaddedBlockEncryptingKey::cbc_pkcs7(key).unwrap().less_safe_encrypt(&mut object, iv).unwrap();
    object
}

/// Blocks that end as they are, without padding of their own.
fn encrypted_blocks(blocks: &[u8]) -> Vec<u8> {
    let key = UnboundCipherKey::new(&AES_256, &KEY).unwrap();
    let mut object = blocks.to_vec();
    let iv = EncryptionContext::Iv128(FixedLength::from(IV));
    EncryptingKey::cbc(key).unwrap().less_safe_encrypt(&mut object, iv).unwrap();
    object
}

fn opener(stored: usize) -> CbcOpener {
    CbcOpener::new(&DataKey::new(&KEY).unwrap(), &IV, stored as u64).unwrap()
}

/// Decrypts these pieces, in this order, and completes.
fn opened(object: &mut [u8], pieces: &[(usize, usize)]) -> Result<usize, Error> {
    let opener = opener(object.len());
    for (begin, end) in pieces {
        opener.decrypt_in_place(*begin as u64, &mut object[*begin..*end])?;
    }
    opener.finish(object)
}

#[test]
fn the_known_objects_decrypt() {
    let kat: Value = serde_json::from_str(include_str!("../../../tests/vectors/kat.json")).unwrap();
    let bytes = |value: &Value| hex::decode(value.as_str().unwrap()).unwrap();
    let cbc = &kat["cbc"];
    let key = DataKey::new(&bytes(&kat["pdk_hex"])).unwrap();
    for (ciphertext, plaintext) in
        [(&cbc["ct"], cbc["pt_ascii"].as_str().unwrap().as_bytes().to_vec()), (&cbc["ct_100"], bytes(&cbc["pt_100"]))]
    {
        let mut object = bytes(ciphertext);
        let opener = CbcOpener::new(&key, &bytes(&cbc["iv_hex"]), object.len() as u64).unwrap();
        opener.decrypt_in_place(0, &mut object).unwrap();
        let length = opener.finish(&mut object).unwrap();
        assert_eq!(object[..length], plaintext);
    }
}

proptest! {
    #[test]
    fn pieces_decrypt_in_any_order(content in prop::collection::vec(any::<u8>(), 0..400),
                                   borders in prop::collection::btree_set(1_usize..24, 0..8),
                                   shuffle in any::<prop::sample::Index>()) {
        let mut object = encrypted(&content);
        let blocks = object.len() / 16;
        let cuts: Vec<usize> = std::iter::once(0).chain(borders.into_iter().filter(|cut| *cut < blocks))
            .chain([blocks]).map(|block| block * 16).collect();
        let mut pieces: Vec<_> = cuts.windows(2).map(|cut| (cut[0], cut[1])).collect();
        let (turn, count) = (shuffle.index(8), pieces.len());
        pieces.rotate_left(turn % count);
        if turn % 2 == 1 { pieces.reverse(); }
        prop_assert_eq!(opened(&mut object, &pieces), Ok(content.len()));
        prop_assert_eq!(&object[..content.len()], content.as_slice());
    }
}

#[test]
fn padding_fits_as_a_whole_or_not_at_all() {
    for padding in 0..=u8::MAX {
        let mut last = [0xaa; 16];
        let length = usize::from(padding).min(16);
        last[16 - length..].fill(padding);
        last[15] = padding;
        let blocks = [[1; 16], last].concat();
        let fits = (1..=16).contains(&padding);
        let expected = if fits { Ok(32 - usize::from(padding)) } else { Err(Error::Authentication) };
        assert_eq!(opened(&mut encrypted_blocks(&blocks), &[(0, 32)]), expected, "{padding}");
        for place in (16 - length..15).filter(|_| fits) {
            let mut wrong = blocks.clone();
            wrong[16 + place] ^= 0x80;
            let refused = opened(&mut encrypted_blocks(&wrong), &[(0, 32)]);
            assert_eq!(refused, Err(Error::Authentication), "{padding} {place}");
        }
    }
}

#[test]
fn all_probes_of_the_last_two_bytes_fail_alike_except_for_the_paddings_there_are() {
    let mut failures = HashSet::new();
    let mut successes = Vec::new();
    for probe in 0..=u16::MAX {
        let mut object = encrypted(&[0xaa; 27]);
        object[14..16].iter_mut().zip(probe.to_be_bytes()).for_each(|(byte, change)| *byte ^= change);
        match opened(&mut object, &[(0, 32)]) {
            Ok(length) => successes.push(length),
            Err(error) => {
                assert_eq!(object, [0; 32]);
                failures.insert(error.to_string());
            }
        }
    }
    // 05 05 as it was, 02 02, and 01 behind any byte.
    successes.sort_unstable();
    assert_eq!(successes, [vec![27, 30], vec![31; 256]].concat());
    assert_eq!(failures.len(), 1);
}

#[test]
fn no_object_is_empty_or_has_a_part_of_a_block() {
    let key = DataKey::new(&KEY).unwrap();
    for stored in [0, 1, 15, 17, 31, (1 << 40) + 8] {
        assert_eq!(CbcOpener::new(&key, &IV, stored).err(), Some(Error::Authentication), "{stored}");
    }
    assert!(CbcOpener::new(&key, &IV, 1 << 40).is_ok());
    for length in [0, 12, 15, 17] {
        assert_eq!(CbcOpener::new(&key, &vec![1; length], 16).err(), Some(Error::IvLength), "{length}");
    }
}

#[test]
fn missing_pieces_are_an_error_and_wipe() {
    for pieces in [&[][..], &[(0, 16)], &[(16, 48)], &[(0, 16), (32, 48)]] {
        let mut object = encrypted(&[1; 40]);
        assert_eq!(opened(&mut object, pieces), Err(Error::Incomplete), "{pieces:?}");
        assert_eq!(object, [0; 48]);
    }
    assert_eq!(opener(48).decrypt_in_place(8, &mut [0; 16]), Err(Error::Misaligned));
    assert_eq!(opener(48).decrypt_in_place(0, &mut [0; 17]), Err(Error::Misaligned));
    assert_eq!(opener(48).decrypt_in_place(u64::MAX - 15, &mut [0; 16]), Err(Error::TooLong));
}
