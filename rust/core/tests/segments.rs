//! Segments in any size, order and number of threads give the bytes of one-shot AES-GCM.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use arrowseal_core::OpenEngine;
use arrowseal_core::keys::{ContentKey, DataKey, MessageId};
use arrowseal_core::message::{MessageOpener, MessageSealer};
use arrowseal_core::parallel::{Plan, open_in_place, seal_in_place, seal_into};
use arrowseal_core::suite::{AES_256_GCM, AES_256_GCM_COMMIT, AlgorithmSuite};
use aws_lc_rs::aead::{AES_256_GCM as ONE_SHOT, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::hkdf;
use proptest::prelude::*;

const DATA_KEY: [u8; 32] = [0x3c; 32];
const ID: [u8; 28] = [0xb7; 28];
const MIB: usize = 1 << 20;
const SIZES: [usize; 9] = [0, 1, 15, 16, 17, MIB - 1, MIB, MIB + 1, 64 * MIB + 1];

fn id(suite: &'static AlgorithmSuite) -> MessageId {
    MessageId::from_bytes(suite, &ID[..suite.unique_bytes()]).unwrap()
}

fn content_key(suite: &'static AlgorithmSuite) -> ContentKey {
    DataKey::new(&DATA_KEY).unwrap().to_seal(&id(suite)).unwrap().0
}

fn opener(suite: &'static AlgorithmSuite, length: usize, engine: OpenEngine) -> MessageOpener {
    MessageOpener::with_engine(content_key(suite), length as u64, engine).unwrap()
}

/// One shot of aws-lc-rs, with the key derived here once more.
fn one_shot(suite: &'static AlgorithmSuite, content: &[u8]) -> (Vec<u8>, [u8; 16]) {
    struct Length;
    impl hkdf::KeyType for Length {
        fn len(&self) -> usize {
            32
        }
    }
    let (mut key, mut nonce, mut additional_data) = (DATA_KEY, [0xb7; 12], vec![]);
    if suite.committing() {
        let prk = hkdf::Salt::new(hkdf::HKDF_SHA512, &ID).extract(&DATA_KEY);
        prk.expand(&[b"\x00\x73DERIVEKEY"], Length).unwrap().fill(&mut key).unwrap();
        (nonce, additional_data) = ([1; 12], vec![0, 0x73]);
    }
    let key = LessSafeKey::new(UnboundKey::new(&ONE_SHOT, &key).unwrap());
    let (mut sealed, nonce) = (content.to_vec(), Nonce::assume_unique_for_key(nonce));
    let tag = key.seal_in_place_separate_tag(nonce, Aad::from(additional_data), &mut sealed).unwrap();
    (sealed, tag.as_ref().try_into().unwrap())
}

fn pattern(length: usize) -> Vec<u8> {
    (0..length as u64).map(|place| (place.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8).collect()
}

/// Borders at the given blocks, the last segment ending with the content.
fn cut(length: usize, mut blocks: Vec<usize>) -> Vec<(usize, usize)> {
    blocks.sort_unstable();
    blocks.dedup();
    let borders: Vec<usize> = blocks.into_iter().map(|it| it * 16).filter(|it| (1..length).contains(it)).collect();
    let starts = std::iter::once(0).chain(borders.iter().copied());
    starts.clone().zip(borders.iter().copied().chain([length])).filter(|(from, to)| from < to).collect()
}

#[test]
fn all_sizes_equal_one_shot_in_both_formats_and_on_any_number_of_threads() {
    for suite in [&AES_256_GCM, &AES_256_GCM_COMMIT] {
        for length in SIZES {
            let content = pattern(length);
            let (expected, tag) = one_shot(suite, &content);
            for (threads, segment_bytes) in [(1, 256 << 10), (2, 65_536), (5, MIB), (0, 0)] {
                let plan = if threads == 0 { Plan::new(length, 0) } else { Plan { threads, segment_bytes } };
                let mut bytes = content.clone();
                let sealed = seal_in_place(&MessageSealer::new(content_key(suite)).unwrap(), &mut bytes, plan).unwrap();
                assert!(bytes == expected && sealed == tag, "sealed {length} {plan:?}");
                open_in_place(&opener(suite, length, OpenEngine::Switched), &mut bytes, &tag, plan).unwrap();
                assert!(bytes == content, "opened {length} {plan:?}");
            }
        }
    }
}

#[test]
fn all_segment_sizes_from_a_block_up_equal_one_shot() {
    let content = pattern(3 * 4096 + 5);
    let (expected, tag) = one_shot(&AES_256_GCM_COMMIT, &content);
    for segment_bytes in (16..=content.len() + 16).step_by(16) {
        let plan = Plan { threads: 1, segment_bytes };
        let mut bytes = vec![0; content.len()];
        let sealer = MessageSealer::new(content_key(&AES_256_GCM_COMMIT)).unwrap();
        assert_eq!(seal_into(&sealer, &content, &mut bytes, plan), Ok(tag), "{segment_bytes}");
        assert!(bytes == expected, "{segment_bytes}");
        for engine in [OpenEngine::Switched, OpenEngine::TwoPass] {
            let mut opened = bytes.clone();
            let opener = opener(&AES_256_GCM_COMMIT, content.len(), engine);
            open_in_place(&opener, &mut opened, &tag, plan).unwrap();
            assert!(opened == content, "{segment_bytes} {engine:?}");
        }
    }
}

#[test]
fn a_segment_larger_than_one_call_of_the_library_takes_equals_smaller_ones() {
    let mut content = vec![0x11; (1 << 30) + 17];
    let sealer = MessageSealer::new(content_key(&AES_256_GCM)).unwrap();
    sealer.seal_in_place(0, &mut content).unwrap();
    let (tag, plan) = (sealer.finish().unwrap(), Plan::new(content.len(), 0));
    open_in_place(&opener(&AES_256_GCM, content.len(), OpenEngine::Switched), &mut content, &tag, plan).unwrap();
    assert!(content.iter().all(|byte| *byte == 0x11));
}

#[test]
fn the_switch_works_on_this_processor() {
    assert_eq!(arrowseal_core::open_engine(), OpenEngine::Switched);
}

#[test]
fn a_plan_of_any_numbers_is_made_into_one_that_works() {
    let content = pattern(1000);
    let (expected, tag) = one_shot(&AES_256_GCM, &content);
    for (threads, segment_bytes) in [(0, 0), (usize::MAX, 1), (3, usize::MAX), (1, 17), (7, 31)] {
        let mut bytes = content.clone();
        let sealer = MessageSealer::new(content_key(&AES_256_GCM)).unwrap();
        let threads = Plan::new(bytes.len(), threads).threads;
        assert_eq!(seal_in_place(&sealer, &mut bytes, Plan { threads, segment_bytes }), Ok(tag));
        assert_eq!(bytes, expected);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn segments_in_any_cut_and_order_equal_one_shot(
        length in 0_usize..20_000,
        blocks in prop::collection::vec(0_usize..1250, 0..30),
        seed in any::<u64>(),
        two_pass in any::<bool>(),
        committing in any::<bool>(),
    ) {
        let suite = if committing { &AES_256_GCM_COMMIT } else { &AES_256_GCM };
        let engine = if two_pass { OpenEngine::TwoPass } else { OpenEngine::Switched };
        let content = pattern(length);
        let (expected, tag) = one_shot(suite, &content);
        let mut segments = cut(length, blocks);
        segments.sort_by_key(|(from, _)| (*from as u64 ^ seed).wrapping_mul(0x9e37_79b9_7f4a_7c15));

        let (sealer, mut bytes) = (MessageSealer::new(content_key(suite)).unwrap(), content.clone());
        for (from, to) in &segments {
            sealer.seal_in_place(*from as u64, &mut bytes[*from..*to]).unwrap();
        }
        prop_assert_eq!(sealer.finish(), Ok(tag));
        prop_assert!(bytes == expected);

        let opener = opener(suite, length, engine);
        for (from, to) in segments.iter().rev() {
            opener.open_in_place(*from as u64, &mut bytes[*from..*to]).unwrap();
        }
        prop_assert!(bytes == content);
        prop_assert_eq!(opener.finish(&tag), Ok(()));
    }
}
