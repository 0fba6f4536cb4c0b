//! The segment index: what proves segments of a message on their own, and what is no index of it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use arrowseal_core::error::Error;
use arrowseal_core::index::{HEADER_BYTES, IndexMasks, SegmentOpener, Segmentation};
use arrowseal_core::keys::{DataKey, MessageId};
use arrowseal_core::message::{MessageOpener, MessageSealer, UnauthenticatedOpener};
use arrowseal_core::suite::{AES_256_GCM, AES_256_GCM_COMMIT, AlgorithmSuite};
use proptest::prelude::*;

const S: usize = 1 << 15;

struct Object {
    data_key: DataKey,
    id: MessageId,
    commitment: Option<Vec<u8>>,
    stored: Vec<u8>,
    index: Vec<u8>,
}

fn data_key() -> DataKey {
    DataKey::new(&[0x5a; 32]).unwrap()
}

fn id(suite: &'static AlgorithmSuite, first: u8) -> MessageId {
    let bytes: Vec<u8> = (first..).take(suite.unique_bytes()).collect();
    MessageId::from_bytes(suite, &bytes).unwrap()
}

/// Sealed in pieces that end at the borders of segments, and at those given.
fn object(suite: &'static AlgorithmSuite, first: u8, content: &[u8], blocks: &[usize]) -> Object {
    let (data_key, id, mut stored) = (data_key(), id(suite, first), content.to_vec());
    let (key, commitment) = data_key.to_seal(&id).unwrap();
    let sealer = MessageSealer::new(key).unwrap();
    let mut borders: Vec<usize> = (0..content.len()).step_by(S).chain(blocks.iter().map(|it| it * 16)).collect();
    borders.retain(|it| *it < content.len());
    borders.push(content.len());
    borders.sort_unstable();
    borders.dedup();
    for pair in borders.windows(2) {
        sealer.seal_in_place(pair[0] as u64, &mut stored[pair[0]..pair[1]]).unwrap();
    }
    let segmentation = Segmentation::new(S as u64, content.len() as u64).unwrap();
    let masks = IndexMasks::new(&data_key, &id, segmentation).unwrap();
    assert_eq!(sealer.index(&masks), Err(Error::Incomplete));
    stored.extend(sealer.finish().unwrap());
    let index = sealer.index(&masks).unwrap();
    let commitment = commitment.map(|it| it.as_bytes().to_vec());
    Object { data_key, id, commitment, stored, index }
}

impl Object {
    fn content_bytes(&self) -> u64 {
        self.stored.len() as u64 - 16
    }

    fn opener(&self, index: &[u8]) -> Option<SegmentOpener> {
        let commitment = self.commitment.as_deref();
        SegmentOpener::from_index(&self.data_key, &self.id, commitment, self.content_bytes(), index).unwrap()
    }
}

fn pattern(length: usize) -> Vec<u8> {
    (0..length as u64).map(|place| (place.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn every_segment_opens_on_its_own_whatever_the_pieces_were(
        length in 0_usize..4 * S + 40,
        blocks in prop::collection::vec(0_usize..4 * S / 16, 0..6),
        committing in any::<bool>(),
    ) {
        let suite = if committing { &AES_256_GCM_COMMIT } else { &AES_256_GCM };
        let content = pattern(length);
        let object = object(suite, 1, &content, &blocks);
        prop_assert_eq!(object.index.len(), HEADER_BYTES + 16 * length.div_ceil(S));
        let opener = object.opener(&object.index).unwrap();
        for start in (0..length).step_by(S) {
            let end = length.min(start + S);
            let mut segment = object.stored[start..end].to_vec();
            opener.open_in_place(start as u64, &mut segment).unwrap();
            prop_assert!(segment == content[start..end]);
        }

        let masks = IndexMasks::new(&object.data_key, &object.id, opener.segmentation()).unwrap();
        prop_assert!(opener.index(&masks).unwrap() == object.index);

        // Whoever reads the whole makes the same index.
        let key = object.data_key.to_open(&object.id, object.commitment.as_deref()).unwrap();
        let (whole, mut opened) = (MessageOpener::new(key, length as u64).unwrap(), object.stored[..length].to_vec());
        for (start, piece) in (0..).step_by(S).zip(opened.chunks_mut(S)) {
            whole.open_in_place(start, piece).unwrap();
        }
        whole.finish(object.stored.last_chunk().unwrap()).unwrap();
        let segments = whole.into_segments(S as u64).unwrap();
        prop_assert!(segments.index(&masks).unwrap() == object.index);
    }
}

#[test]
fn a_flipped_bit_of_a_segment_or_of_its_entry_is_refused_and_wiped_and_the_others_still_open() {
    let content = pattern(3 * S + 5);
    let object = object(&AES_256_GCM_COMMIT, 1, &content, &[]);
    for flipped in [S, 2 * S - 1] {
        let mut stored = object.stored.clone();
        stored[flipped] ^= 4;
        let (opener, mut segments) = (object.opener(&object.index).unwrap(), stored[..3 * S].to_vec());
        assert_eq!(opener.open_in_place(0, &mut segments), Err(Error::Authentication));
        assert!(segments.iter().all(|byte| *byte == 0));
        assert_eq!(opener.open_in_place(0, &mut stored[..S]), Ok(()));
    }
    for bit in 0..128 {
        let mut index = object.index.clone();
        index[HEADER_BYTES + 16 + bit / 8] ^= 1 << (bit % 8);
        let opener = object.opener(&index).unwrap();
        let open = |start: usize| opener.open_in_place(start as u64, &mut object.stored[start..start + S].to_vec());
        assert_eq!((open(0), open(S), open(2 * S)), (Ok(()), Err(Error::Authentication), Ok(())));
    }
}

#[test]
fn segments_that_changed_places_are_refused() {
    let object = object(&AES_256_GCM, 1, &[7; 2 * S], &[]);
    let opener = object.opener(&object.index).unwrap();
    let (first, second) = object.stored.split_at(S);
    assert_eq!(opener.open_in_place(0, &mut second[..S].to_vec()), Err(Error::Authentication));
    assert_eq!(opener.open_in_place(S as u64, &mut first.to_vec()), Err(Error::Authentication));
    let mut index = object.index.clone();
    index[HEADER_BYTES..].rotate_left(16);
    assert_eq!(object.opener(&index).unwrap().open_in_place(0, &mut first.to_vec()), Err(Error::Authentication));
}

#[test]
fn what_is_no_index_of_this_object_is_none() {
    let object_of = |first, content: &[u8]| object(&AES_256_GCM_COMMIT, first, content, &[]);
    let object = object_of(1, &[7; S + 3]);
    let other_id = object_of(2, &[7; S + 3]).index;
    let other_length = object_of(1, &[7; S + 4]).index;
    let v2 = self::object(&AES_256_GCM, 1, &[7; S + 3], &[]).index;
    let (mut longer, shorter) = (object.index.clone(), &object.index[..object.index.len() - 1]);
    longer.push(0);
    for index in [&other_id, &other_length, &v2, &longer, shorter, &object.index[..HEADER_BYTES], &[], b"<html>"] {
        assert!(object.opener(index).is_none());
    }
    for place in 0..HEADER_BYTES {
        let mut index = object.index.clone();
        index[place] ^= 1;
        assert!(object.opener(&index).is_none(), "byte {place} of the header");
    }
}

#[test]
fn an_index_of_another_object_whose_header_is_forged_proves_nothing() {
    let (object, other) =
        (object(&AES_256_GCM_COMMIT, 1, &[7; 2 * S], &[]), object(&AES_256_GCM_COMMIT, 2, &[7; 2 * S], &[]));
    let forged = [&object.index[..HEADER_BYTES], &other.index[HEADER_BYTES..]].concat();
    let opener = object.opener(&forged).unwrap();
    assert_eq!(opener.open_in_place(0, &mut object.stored[..S].to_vec()), Err(Error::Authentication));
    assert_eq!(opener.open_in_place(0, &mut other.stored[..S].to_vec()), Err(Error::Authentication));
}

#[test]
fn a_piece_across_the_border_of_segments_makes_no_index() {
    let (data_key, id) = (data_key(), id(&AES_256_GCM, 1));
    let sealer = MessageSealer::new(data_key.to_seal(&id).unwrap().0).unwrap();
    sealer.seal_in_place(0, &mut vec![0; 2 * S]).unwrap();
    sealer.finish().unwrap();
    let segmentation = Segmentation::new(S as u64, 2 * S as u64).unwrap();
    let masks = IndexMasks::new(&data_key, &id, segmentation).unwrap();
    assert_eq!(sealer.index(&masks), Err(Error::Misaligned));
}

#[test]
fn masks_of_another_size_or_length_make_no_index() {
    let object = object(&AES_256_GCM, 1, &[7; 2 * S], &[]);
    let sealer = MessageSealer::new(object.data_key.to_seal(&object.id).unwrap().0).unwrap();
    sealer.seal_in_place(0, &mut [7; S]).unwrap();
    sealer.seal_in_place(S as u64, &mut [7; S]).unwrap();
    sealer.finish().unwrap();
    let (opener, length) = (object.opener(&object.index).unwrap(), 2 * S as u64);
    let index = |size, length| {
        let segmentation = Segmentation::new(size, length).unwrap();
        let masks = IndexMasks::new(&object.data_key, &object.id, segmentation).unwrap();
        (sealer.index(&masks), opener.index(&masks))
    };
    assert_eq!(index(S as u64, length), (Ok(object.index.clone()), Ok(object.index.clone())));
    for other in [S as u64, length - 1, length + 1, 4 * S as u64] {
        assert_eq!(index(S as u64, other), (Err(Error::LengthMismatch), Err(Error::LengthMismatch)), "{other}");
    }
    // Pieces as large as a segment fold to those of larger ones, for who has the pieces.
    let (larger, refused) = index(2 * S as u64, length);
    assert!(object.opener(&larger.unwrap()).unwrap().open_in_place(0, &mut object.stored[..2 * S].to_vec()).is_ok());
    assert_eq!(refused, Err(Error::LengthMismatch));
}

#[test]
fn sizes_of_segments_are_powers_of_two_within_bounds() {
    for size in [0, 1, 1 << 14, (1 << 15) + 1, 3 << 15, 1 << 23, u64::MAX] {
        assert_eq!(Segmentation::new(size, 1).err(), Some(Error::SegmentSize));
    }
    assert_eq!(Segmentation::new(1 << 15, (1 << 36) - 31).err(), Some(Error::TooLong));
    assert_eq!(Segmentation::new(1 << 22, (1 << 36) - 32).unwrap().count(), 1 << 14);
}

#[test]
fn what_is_decrypted_unauthenticated_is_the_content_at_that_place() {
    let content = pattern(1000);
    let object = object(&AES_256_GCM_COMMIT, 1, &content, &[]);
    let key = object.data_key.to_open(&object.id, object.commitment.as_deref()).unwrap();
    let opener = UnauthenticatedOpener::new(key).unwrap();
    let mut part = object.stored[320..999].to_vec();
    opener.decrypt_unauthenticated(320, &mut part).unwrap();
    assert!(part == content[320..999]);
    assert_eq!(opener.decrypt_unauthenticated(8, &mut part), Err(Error::Misaligned));
    // The content ends 32 bytes before 2^36, where the block counter begins anew.
    assert_eq!(opener.decrypt_unauthenticated((1 << 36) - 48, &mut [0; 16]), Ok(()));
    assert_eq!(opener.decrypt_unauthenticated((1 << 36) - 48, &mut [0; 17]), Err(Error::TooLong));
    assert_eq!(opener.decrypt_unauthenticated((1 << 36) - 32, &mut part), Err(Error::TooLong));
}
