//! What is refused, when, and what is left behind.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use arrowseal_core::OpenEngine;
use arrowseal_core::error::Error;
use arrowseal_core::keys::{ContentKey, DataKey, MessageId};
use arrowseal_core::message::{MessageOpener, MessageSealer};
use arrowseal_core::parallel::{Plan, open_in_place, seal_in_place, seal_into};
use arrowseal_core::suite::{AES_256_GCM_COMMIT, MAX_GCM_CONTENT_BYTES, SUITES, supported_suite};

const SEGMENT: usize = 1 << 15;
const PLAN: Plan = Plan { threads: 2, segment_bytes: 64 };

fn content_key() -> ContentKey {
    let id = MessageId::from_bytes(&AES_256_GCM_COMMIT, &[5; 28]).unwrap();
    DataKey::new(&[6; 32]).unwrap().to_seal(&id).unwrap().0
}

fn sealer() -> MessageSealer {
    MessageSealer::new(content_key()).unwrap()
}

fn opener(length: u64) -> MessageOpener {
    MessageOpener::new(content_key(), length).unwrap()
}

fn sealed(length: usize) -> (Vec<u8>, [u8; 16]) {
    let mut content = vec![0xaa; length];
    let tag = seal_in_place(&sealer(), &mut content, PLAN).unwrap();
    (content, tag)
}

#[test]
fn a_flipped_bit_of_tag_or_content_is_refused_and_the_buffer_wiped() {
    for engine in [OpenEngine::Switched, OpenEngine::TwoPass] {
        for bit in (0..128).chain([128, 1000, 128 + 8 * 299]) {
            let (mut content, mut tag) = sealed(300);
            let (bytes, bit) = if bit < 128 { (tag.as_mut_slice(), bit) } else { (content.as_mut_slice(), bit - 128) };
            bytes[bit / 8] ^= 1 << (bit % 8);
            let opener = MessageOpener::with_engine(content_key(), 300, engine).unwrap();
            assert_eq!(
                open_in_place(&opener, &mut content, &tag, PLAN),
                Err(Error::Authentication),
                "{engine:?} {bit}"
            );
            assert_eq!(content, vec![0; 300]);
        }
    }
}

#[test]
fn two_swapped_segments_are_refused() {
    let (mut content, tag) = sealed(128);
    content.rotate_left(64);
    assert_eq!(open_in_place(&opener(128), &mut content, &tag, PLAN), Err(Error::Authentication));
}

#[test]
fn a_segment_that_changed_between_the_passes_is_refused_and_wiped() {
    let (content, tag) = sealed(2 * SEGMENT);
    let (opener, mut first) = (opener(2 * SEGMENT as u64), content.clone());
    open_in_place(&opener, &mut first, &tag, Plan { threads: 1, segment_bytes: SEGMENT }).unwrap();
    let segments = opener.into_segments(SEGMENT as u64).unwrap();
    let mut second = content.clone();
    second[SEGMENT + 6] ^= 1;
    assert_eq!(segments.open_in_place(0, &mut second[..SEGMENT]), Ok(()));
    assert_eq!(segments.open_in_place(SEGMENT as u64, &mut second[SEGMENT..]), Err(Error::Authentication));
    assert_eq!(second, [vec![0xaa; SEGMENT], vec![0; SEGMENT]].concat());
}

#[test]
fn a_second_pass_needs_a_proven_first_one_and_whole_segments() {
    let (content, mut tag) = sealed(SEGMENT + 16);
    let plan = Plan { threads: 1, segment_bytes: SEGMENT };
    let length = content.len() as u64;
    assert_eq!(opener(length).into_segments(SEGMENT as u64).err(), Some(Error::Incomplete));
    let proven = opener(length);
    open_in_place(&proven, &mut content.clone(), &tag, plan).unwrap();
    let segments = proven.into_segments(SEGMENT as u64).unwrap();
    for (offset, end, expected) in [
        (0, SEGMENT, Ok(())),
        (0, SEGMENT + 16, Ok(())),
        (SEGMENT, SEGMENT + 16, Ok(())),
        (0, SEGMENT - 16, Err(Error::Misaligned)),
        (16, SEGMENT, Err(Error::Misaligned)),
    ] {
        assert_eq!(segments.open_in_place(offset as u64, &mut content.clone()[offset..end]), expected);
    }
    assert_eq!(segments.open_in_place(SEGMENT as u64, &mut [0; 32]), Err(Error::TooLong));
    assert_eq!(segments.open_in_place(u64::MAX - 8, &mut [0; 32]), Err(Error::TooLong));
    tag[0] ^= 1;
    let refused = opener(length);
    assert_eq!(open_in_place(&refused, &mut content.clone(), &tag, plan), Err(Error::Authentication));
    assert_eq!(refused.into_segments(SEGMENT as u64).err(), Some(Error::Incomplete));
}

#[test]
fn a_range_is_sealed_once_and_an_overlap_leaves_the_plaintext_untouched() {
    let sealer = sealer();
    sealer.seal_in_place(16, &mut [1; 32]).unwrap();
    for (offset, length) in [(16, 32), (0, 32), (32, 16), (0, 64)] {
        let mut bytes = vec![1; length];
        assert_eq!(sealer.seal_in_place(offset, &mut bytes), Err(Error::Overlap));
        assert_eq!(bytes, vec![1; length]);
    }
}

#[test]
fn borders_inside_a_message_lie_at_blocks() {
    assert_eq!(sealer().seal_in_place(8, &mut [1; 16]), Err(Error::Misaligned));
    assert_eq!(opener(100).open_in_place(0, &mut [1; 17]), Err(Error::Misaligned));
    let ragged = sealer();
    ragged.seal_in_place(16, &mut [1; 17]).unwrap();
    assert_eq!(ragged.seal_in_place(48, &mut [1; 16]), Err(Error::TooLong));
    let taken = sealer();
    taken.seal_in_place(32, &mut [1; 16]).unwrap();
    assert_eq!(taken.seal_in_place(0, &mut [1; 17]), Err(Error::Misaligned));
}

#[test]
fn a_message_with_a_gap_has_no_tag_yet() {
    let (sealer, opener) = (sealer(), opener(48));
    sealer.seal_in_place(16, &mut [1; 16]).unwrap();
    opener.open_in_place(0, &mut [1; 32]).unwrap();
    assert_eq!((sealer.finish(), opener.finish(&[0; 16])), (Err(Error::Incomplete), Err(Error::Incomplete)));
    sealer.seal_in_place(0, &mut [1; 16]).unwrap();
    opener.open_in_place(32, &mut [1; 16]).unwrap();
    assert!(sealer.finish().is_ok());
    assert_eq!(opener.finish(&[0; 16]), Err(Error::Authentication));
}

#[test]
fn nothing_follows_the_tag() {
    let (sealer, opener) = (sealer(), opener(16));
    sealer.seal_in_place(0, &mut [1; 16]).unwrap();
    sealer.finish().unwrap();
    assert_eq!(sealer.seal_in_place(16, &mut [1; 16]), Err(Error::Finished));
    assert_eq!(sealer.finish(), Err(Error::Finished));
    opener.open_in_place(0, &mut [1; 16]).unwrap();
    assert_eq!(opener.finish(&[0; 16]), Err(Error::Authentication));
    assert_eq!(opener.finish(&[0; 16]), Err(Error::Finished));
}

#[test]
fn content_ends_where_the_block_counter_does() {
    assert!(MessageOpener::new(content_key(), MAX_GCM_CONTENT_BYTES).is_ok());
    assert_eq!(MessageOpener::new(content_key(), MAX_GCM_CONTENT_BYTES + 1).err(), Some(Error::TooLong));
    let sealer = sealer();
    assert_eq!(sealer.seal_in_place(MAX_GCM_CONTENT_BYTES - 16, &mut [1; 16]), Ok(()));
    for (offset, length) in [(MAX_GCM_CONTENT_BYTES - 32, 33), (MAX_GCM_CONTENT_BYTES, 16), (u64::MAX - 15, 16)] {
        assert_eq!(sealer.seal_in_place(offset, &mut vec![1; length]), Err(Error::TooLong), "{offset}");
    }
    assert_eq!(opener(16).open_in_place(16, &mut [1; 1]), Err(Error::TooLong));
}

#[test]
fn the_last_block_of_the_largest_message_opens() {
    // The counter of its last block is 2^32 - 1: neither engine may wrap there.
    let at = MAX_GCM_CONTENT_BYTES - 48;
    let mut bytes = [0x77; 48];
    sealer().seal_in_place(at, &mut bytes).unwrap();
    for engine in [OpenEngine::Switched, OpenEngine::TwoPass] {
        let mut opened = bytes;
        let opener = MessageOpener::with_engine(content_key(), MAX_GCM_CONTENT_BYTES, engine).unwrap();
        opener.open_in_place(at, &mut opened).unwrap();
        assert_eq!(opened, [0x77; 48], "{engine:?}");
    }
}

#[test]
fn input_and_output_have_one_length() {
    let refused = seal_into(&sealer(), &[1; 32], &mut [0; 16], PLAN);
    assert_eq!(refused, Err(Error::LengthMismatch));
    // Whole segments fit both, and the rest would be left out.
    assert_eq!(seal_into(&sealer(), &[1; 128], &mut [0; 64], PLAN), Err(Error::LengthMismatch));
    let sealer = sealer();
    assert_eq!(sealer.seal_into(0, &[1; 16], &mut [0; 32]), Err(Error::LengthMismatch));
    assert_eq!(sealer.seal_into(0, &[1; 16], &mut [0; 16]), Ok(()), "nothing was claimed");
}

#[test]
fn an_empty_segment_is_nothing() {
    let sealer = sealer();
    sealer.seal_in_place(0, &mut []).unwrap();
    assert_eq!(sealer.finish(), Ok(sealed(0).1));
}

#[test]
fn only_the_gcm_suites_are_supported() {
    let supported: Vec<u16> = SUITES.iter().map(|suite| suite.id).filter(|id| supported_suite(*id).is_ok()).collect();
    assert_eq!(supported, [0x72, 0x73]);
    assert_eq!(supported_suite(0x99), Err(Error::UnsupportedSuite));
}

#[test]
fn an_authentication_failure_says_nothing_more() {
    assert_eq!(Error::Authentication.to_string(), "the object or its key commitment does not authenticate");
}
