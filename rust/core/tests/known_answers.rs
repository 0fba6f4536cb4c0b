//! The known answers of `tests/vectors/kat.json` that concern content, key derivation and commitment of V2 and V3.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use arrowseal_core::error::Error;
use arrowseal_core::keys::{DataKey, MessageId};
use arrowseal_core::message::{MessageOpener, MessageSealer};
use arrowseal_core::parallel::{Plan, open_in_place, seal_in_place};
use arrowseal_core::suite::{AES_256_GCM, AES_256_GCM_COMMIT, AlgorithmSuite, SUITES};
use serde_json::Value;

struct Answer {
    name: String,
    suite: &'static AlgorithmSuite,
    data_key: Vec<u8>,
    id: Vec<u8>,
    commitment: Option<Vec<u8>>,
    plaintext: Vec<u8>,
    body: Vec<u8>,
}

fn vectors() -> Value {
    serde_json::from_str(include_str!("../../../tests/vectors/kat.json")).unwrap()
}

fn bytes(value: &Value) -> Vec<u8> {
    hex::decode(value.as_str().expect("a string of hexadecimal digits")).unwrap()
}

/// Every content vector: those of the official Python client (which the official Java classes reproduced), the published
/// one, and the object that the official Ruby client made.
fn answers() -> Vec<Answer> {
    let kat = vectors();
    let official = kat["python_official"].as_array().unwrap().iter().map(|vector| Answer {
        name: vector["name"].as_str().unwrap().to_owned(),
        suite: SUITES.iter().copied().find(|suite| suite.name == vector["suite"]).unwrap(),
        data_key: bytes(&vector["pdk_hex"]),
        id: bytes(vector.get("message_id_hex").unwrap_or(&vector["iv_hex"])),
        commitment: vector.get("commit_key_hex").map(bytes),
        plaintext: bytes(&vector["plaintext_hex"]),
        body: bytes(&vector["body_hex"]),
    });
    let published = kat["published"].as_array().unwrap().iter().filter(|vector| vector.get("plaintext").is_some());
    let published = published.map(|vector| Answer {
        name: vector["source"].as_str().unwrap().to_owned(),
        suite: &AES_256_GCM_COMMIT,
        data_key: bytes(&vector["data_key"]),
        id: bytes(&vector["message_id"]),
        commitment: Some(bytes(&vector["commitment_key"])),
        plaintext: bytes(&vector["plaintext"]),
        body: [bytes(&vector["ciphertext"]), bytes(&vector["auth_tag"])].concat(),
    });
    official.chain(published).collect()
}

#[test]
fn every_message_seals_to_the_known_bytes() {
    let answers = answers();
    assert_eq!(answers.len(), 6);
    for answer in answers {
        let data_key = DataKey::new(&answer.data_key).unwrap();
        let id = MessageId::from_bytes(answer.suite, &answer.id).unwrap();
        let (key, commitment) = data_key.to_seal(&id).unwrap();
        assert_eq!(commitment.map(|it| it.as_bytes().to_vec()), answer.commitment, "{}", answer.name);
        let mut content = answer.plaintext.clone();
        let plan = Plan { threads: 1, segment_bytes: 32 };
        let tag = seal_in_place(&MessageSealer::new(key).unwrap(), &mut content, plan).unwrap();
        assert_eq!(hex::encode([content, tag.to_vec()].concat()), hex::encode(&answer.body), "{}", answer.name);
    }
}

#[test]
fn every_known_message_opens_to_its_plaintext() {
    for answer in answers() {
        let data_key = DataKey::new(&answer.data_key).unwrap();
        let id = MessageId::from_bytes(answer.suite, &answer.id).unwrap();
        let key = data_key.to_open(&id, answer.commitment.as_deref()).unwrap();
        let (mut content, tag) = answer.body.split_last_chunk::<16>().map(|(a, b)| (a.to_vec(), *b)).unwrap();
        let opener = MessageOpener::new(key, content.len() as u64).unwrap();
        open_in_place(&opener, &mut content, &tag, Plan { threads: 1, segment_bytes: 48 }).unwrap();
        assert_eq!(content, answer.plaintext, "{}", answer.name);
    }
}

#[test]
fn published_data_keys_give_their_commitments() {
    for vector in vectors()["published"].as_array().unwrap() {
        let data_key = DataKey::new(&bytes(&vector["data_key"])).unwrap();
        let id = MessageId::from_bytes(&AES_256_GCM_COMMIT, &bytes(&vector["message_id"])).unwrap();
        let (_, commitment) = data_key.to_seal(&id).unwrap();
        assert_eq!(commitment.unwrap().as_bytes(), bytes(&vector["commitment_key"]));
    }
}

/// The content key itself never leaves: what the published one seals with plain AES-GCM must come out.
#[test]
fn published_data_keys_give_their_content_keys() {
    use aws_lc_rs::aead::{AES_256_GCM as ONE_SHOT, Aad, LessSafeKey, Nonce, UnboundKey};
    let kat = vectors();
    let derived = kat["python_official"].as_array().unwrap().iter().filter(|it| it.get("derived_dek_hex").is_some());
    let derived = derived.map(|it| [&it["pdk_hex"], &it["message_id_hex"], &it["derived_dek_hex"]]);
    let published = kat["published"].as_array().unwrap().iter();
    let published = published.map(|it| [&it["data_key"], &it["message_id"], &it["encryption_key"]]);
    for [data_key, id, content_key] in derived.chain(published).map(|it| it.map(bytes)) {
        let plain = LessSafeKey::new(UnboundKey::new(&ONE_SHOT, &content_key).unwrap());
        let mut expected = *b"any content of some length";
        let mut content = expected;
        let nonce = Nonce::assume_unique_for_key([1; 12]);
        let tag = plain.seal_in_place_separate_tag(nonce, Aad::from([0x00, 0x73]), &mut expected).unwrap();
        let id = MessageId::from_bytes(&AES_256_GCM_COMMIT, &id).unwrap();
        let sealer = MessageSealer::new(DataKey::new(&data_key).unwrap().to_seal(&id).unwrap().0).unwrap();
        sealer.seal_in_place(0, &mut content).unwrap();
        assert_eq!((content, sealer.finish().unwrap().as_slice()), (expected, tag.as_ref()));
    }
}

#[test]
fn an_object_that_commits_to_another_key_is_refused_before_a_content_key_exists() {
    for answer in answers().iter().filter(|answer| answer.suite.committing()) {
        let data_key = DataKey::new(&answer.data_key).unwrap();
        let id = MessageId::from_bytes(answer.suite, &answer.id).unwrap();
        for bit in 0..28 * 8 {
            let mut commitment = answer.commitment.clone().unwrap();
            commitment[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(data_key.to_open(&id, Some(&commitment)).err(), Some(Error::Authentication), "{bit}");
        }
    }
}

#[test]
fn keys_ids_and_commitments_of_other_lengths_are_refused() {
    for length in [0, 16, 31, 33] {
        assert_eq!(DataKey::new(&vec![1; length]).err(), Some(Error::DataKeyLength));
    }
    for (suite, right) in [(&AES_256_GCM, 12), (&AES_256_GCM_COMMIT, 28)] {
        for length in (0..40).filter(|length| *length != right) {
            assert_eq!(MessageId::from_bytes(suite, &vec![1; length]).err(), Some(Error::MessageIdLength));
        }
        assert_eq!(MessageId::from_bytes(suite, &vec![0; right]).err(), Some(Error::MessageIdZero));
        let (data_key, id) = (DataKey::new(&[1; 32]).unwrap(), MessageId::generate(suite).unwrap());
        for length in (0..40).filter(|length| *length != suite.commitment_bytes) {
            let refused = data_key.to_open(&id, Some(&vec![1; length])).err();
            assert_eq!(refused, Some(Error::CommitmentLength));
        }
    }
    let id = MessageId::generate(&AES_256_GCM_COMMIT).unwrap();
    assert_eq!(DataKey::new(&[1; 32]).unwrap().to_open(&id, None).err(), Some(Error::CommitmentLength));
}

#[test]
fn suites_that_are_only_recognised_give_no_keys() {
    for suite in SUITES.iter().filter(|suite| !suite.supported && suite.unique_bytes() > 0) {
        let id = MessageId::generate(suite).unwrap();
        assert_eq!(DataKey::new(&[1; 32]).unwrap().to_seal(&id).err(), Some(Error::UnsupportedSuite));
    }
}

#[test]
fn every_byte_of_message_ids_and_data_keys_is_drawn_anew() {
    let id = |suite| MessageId::generate(suite).unwrap().as_bytes().to_vec();
    let draws: [&dyn Fn() -> Vec<u8>; 3] = [&|| id(&AES_256_GCM), &|| id(&AES_256_GCM_COMMIT), &|| {
        DataKey::generate().unwrap().to_wrap().unwrap().to_vec()
    }];
    for (draw, length) in draws.into_iter().zip([12, 28, 32]) {
        let drawn: Vec<_> = (0..20).map(|_| draw()).collect();
        for place in 0..length {
            assert!(drawn.iter().any(|bytes| bytes[place] != drawn[0][place]), "byte {place} of {length}");
        }
    }
}
