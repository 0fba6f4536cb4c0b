//! Wrapped data keys: the known answers of `tests/vectors/kat.json`, what is refused, and keys in all their files.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use arrowseal_core::error::Error;
use arrowseal_core::keys::{DataKey, MessageId};
use arrowseal_core::legacy::CbcOpener;
use arrowseal_core::message::{MessageOpener, MessageSealer, UnauthenticatedOpener};
use arrowseal_core::suite::AES_256_GCM;
use arrowseal_core::wrap::{AES_WRAPPED_BYTES, AesWrappingKey, RsaPrivateKey, RsaPublicKey};
use serde_json::Value;

type Unwrap = fn(&[u8]) -> Result<DataKey, Error>;

const ALGORITHMS: [&str; 2] = ["AES/GCM/NoPadding", "115"];

fn kat() -> Value {
    serde_json::from_str(include_str!("../../../tests/vectors/kat.json")).unwrap()
}

fn bytes(value: &Value) -> Vec<u8> {
    hex::decode(value.as_str().expect("a string of hexadecimal digits")).unwrap()
}

fn aes() -> AesWrappingKey {
    AesWrappingKey::new(&bytes(&kat()["wrapping_aes_key_hex"])).unwrap()
}

fn rsa_pem() -> String {
    let der = kat()["test_rsa_2048_pkcs8_der_b64"].as_str().unwrap().to_owned();
    format!("-----BEGIN PRIVATE KEY-----\n{der}\n-----END PRIVATE KEY-----\n")
}

fn rsa() -> RsaPrivateKey {
    RsaPrivateKey::new(rsa_pem().as_bytes()).unwrap()
}

/// Whether it is the data key of the vectors: the vector of CBC opens under no other.
fn is_known(data_key: &DataKey) -> bool {
    let cbc = &kat()["cbc"];
    let mut content = bytes(&cbc["ct_100"]);
    let opener = CbcOpener::new(data_key, &bytes(&cbc["iv_hex"]), content.len() as u64).unwrap();
    opener.decrypt_in_place(0, &mut content).unwrap();
    opener.finish(&mut content) == Ok(100) && content[..100] == bytes(&cbc["pt_100"])
}

fn known() -> DataKey {
    DataKey::new(&bytes(&kat()["pdk_hex"])).unwrap()
}

/// A wrap of old clients, and what unwraps it.
fn legacy(name: &str) -> (Vec<u8>, Unwrap) {
    let wraps = kat()["legacy_wraps_jce"].as_object().unwrap().clone();
    let (name, wrapped) = wraps.iter().find(|(key, _)| key.starts_with(name)).expect("a legacy wrap");
    let unwrap: Unwrap = match name.as_str() {
        "AES" => |wrapped| aes().unwrap_ecb(wrapped),
        "AESWrap" => |wrapped| aes().unwrap_rfc3394(wrapped),
        _ if name.starts_with("RSA/ECB/OAEP") => |wrapped| rsa().unwrap_oaep_sha256(wrapped),
        _ => |wrapped| rsa().unwrap_pkcs1(wrapped),
    };
    (bytes(wrapped), unwrap)
}

#[test]
fn the_wraps_of_the_official_java_client_open() {
    let wraps = &kat()["java_official_wraps"];
    for (aes_name, rsa_name, algorithm) in [
        ("aes_gcm_v2_aad_AES/GCM/NoPadding", "rsa_oaep_sha1_v2", ALGORITHMS[0]),
        ("aes_gcm_v3_aad_115", "rsa_oaep_sha1_v3", ALGORITHMS[1]),
    ] {
        assert!(is_known(&aes().unwrap(&bytes(&wraps[aes_name]), algorithm.as_bytes()).unwrap()));
        assert!(is_known(&rsa().unwrap(&bytes(&wraps[rsa_name]), algorithm).unwrap()));
    }
}

#[test]
fn the_wraps_of_old_clients_open() {
    for name in ["AESWrap", "AES", "RSA/ECB/OAEP", "RSA (PKCS1"] {
        let (wrapped, unwrap) = legacy(name);
        assert!(is_known(&unwrap(&wrapped).unwrap()), "{name}");
    }
}

#[test]
fn what_is_wrapped_unwraps_and_no_two_wraps_are_equal() {
    for algorithm in ALGORITHMS {
        let one = aes().wrap(&known(), algorithm.as_bytes()).unwrap();
        assert_eq!(one.len(), AES_WRAPPED_BYTES);
        assert_ne!(one[..12], aes().wrap(&known(), algorithm.as_bytes()).unwrap()[..12]);
        assert!(is_known(&aes().unwrap(&one, algorithm.as_bytes()).unwrap()));
        let one = rsa().public_key().unwrap().wrap(&known(), algorithm).unwrap();
        assert_ne!(one, rsa().public_key().unwrap().wrap(&known(), algorithm).unwrap());
        assert!(is_known(&rsa().unwrap(&one, algorithm).unwrap()));
    }
}

#[test]
fn a_wrap_opens_for_its_own_content_algorithm_only() {
    let (by_aes, by_rsa) =
        (aes().wrap(&known(), b"115").unwrap(), rsa().public_key().unwrap().wrap(&known(), "115").unwrap());
    for algorithm in ["AES/GCM/NoPadding", "11", "1155", "", "115\0"] {
        assert_eq!(aes().unwrap(&by_aes, algorithm.as_bytes()).err(), Some(Error::WrappedKey), "{algorithm:?}");
        assert_eq!(rsa().unwrap(&by_rsa, algorithm).err(), Some(Error::WrappedKey), "{algorithm:?}");
    }
    for algorithm in ["", "AES", "AES/CTR/NoPadding", "115 "] {
        assert_eq!(
            rsa().public_key().unwrap().wrap(&known(), algorithm).err(),
            Some(Error::UnsupportedSuite),
            "{algorithm:?}"
        );
    }
}

#[test]
fn every_changed_bit_and_length_is_one_error() {
    let by_aes = aes().wrap(&known(), b"115").unwrap();
    let (ecb, rfc3394) = (legacy("AES").0, legacy("AESWrap").0);
    let unwraps: [(Vec<u8>, Unwrap); 2] =
        [(by_aes, |wrapped| aes().unwrap(wrapped, b"115")), (rfc3394, |wrapped| aes().unwrap_rfc3394(wrapped))];
    for (wrapped, unwrap) in unwraps {
        for bit in 0..wrapped.len() * 8 {
            let mut changed = wrapped.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(unwrap(&changed).err(), Some(Error::WrappedKey), "{bit}");
        }
    }
    for length in (0..300).filter(|length| *length != 60) {
        assert_eq!(aes().unwrap(&vec![1; length], b"115").err(), Some(Error::WrappedKey), "{length}");
        assert_eq!(aes().unwrap_ecb(&vec![1; length]).err(), Some(Error::WrappedKey), "{length}");
        assert_eq!(aes().unwrap_rfc3394(&vec![1; length]).err(), Some(Error::WrappedKey), "{length}");
    }
    for bit in 32 * 8..48 * 8 {
        let mut changed = ecb.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(aes().unwrap_ecb(&changed).err(), Some(Error::WrappedKey), "{bit}");
    }
    for length in [0, 1, 255, 257, 512] {
        assert_eq!(rsa().unwrap(&vec![1; length], "115").err(), Some(Error::WrappedKey), "{length}");
        assert_eq!(rsa().unwrap_oaep_sha256(&vec![1; length]).err(), Some(Error::WrappedKey), "{length}");
    }
    let by_rsa = rsa().public_key().unwrap().wrap(&known(), "115").unwrap();
    for place in [0, 1, 100, 255] {
        let mut changed = by_rsa.clone();
        changed[place] ^= 1;
        assert_eq!(rsa().unwrap(&changed, "115").err(), Some(Error::WrappedKey), "{place}");
        assert_eq!(rsa().unwrap_oaep_sha256(&changed).err(), Some(Error::WrappedKey), "{place}");
    }
    assert_eq!(rsa().unwrap(&[0xff; 256], "115").err(), Some(Error::WrappedKey)); // above every modulus
}

#[test]
fn pkcs1_answers_with_a_key_whatever_it_gets_and_content_does_not_open_under_it() {
    let (wrapped, _) = legacy("RSA (PKCS1");
    let mut changed = wrapped.clone();
    changed[200] ^= 1;
    for wrong in [changed, vec![], vec![0; 256], vec![0xff; 256], wrapped[1..].to_vec()] {
        assert!(!is_known(&rsa().unwrap_pkcs1(&wrong).unwrap()));
    }
}

#[test]
fn a_key_out_of_pkcs1_opens_content_and_does_nothing_else() {
    let (wrapped, unwrap) = legacy("RSA (PKCS1");
    let id = MessageId::from_bytes(&AES_256_GCM, &[1; 12]).unwrap();
    for key in [unwrap(&wrapped).unwrap(), unwrap(&[0; 256]).unwrap()] {
        assert_eq!(aes().wrap(&key, b"115").err(), Some(Error::KeyToOpenOnly));
        assert_eq!(rsa().public_key().unwrap().wrap(&key, "115").err(), Some(Error::KeyToOpenOnly));
        let content_key = || key.to_open(&id, None).unwrap();
        assert_eq!(MessageSealer::new(key.to_seal(&id).unwrap().0).err(), Some(Error::KeyToOpenOnly));
        assert_eq!(UnauthenticatedOpener::new(content_key()).err(), Some(Error::KeyToOpenOnly));
        assert!(MessageOpener::new(content_key(), 16).is_ok());
    }
}

#[test]
fn a_wrapping_key_has_32_bytes_and_one_of_24_or_16_only_unwraps() {
    for length in [0, 15, 17, 23, 25, 31, 33, 64] {
        assert_eq!(AesWrappingKey::new(&vec![1; length]).err(), Some(Error::WrappingKeyLength), "{length}");
    }
    for length in [16, 24] {
        let key = AesWrappingKey::new(&vec![1; length]).unwrap();
        assert_eq!(key.wrap(&known(), b"115").err(), Some(Error::WrappingKeyToUnwrapOnly), "{length}");
    }
}

#[test]
fn a_key_is_found_in_pem_as_it_comes() {
    let pem = rsa_pem();
    let wrapped = rsa().public_key().unwrap().wrap(&known(), "115").unwrap();
    let wide = pem.replace('\n', "\r\n");
    let bundled = format!("-----BEGIN CERTIFICATE-----\nMAMCAQA=\n-----END CERTIFICATE-----\n{pem}");
    for file in [pem.clone(), wide, bundled, format!("Bag Attributes\n    friendlyName: x\n{pem}trailing words")] {
        let key = RsaPrivateKey::new(file.as_bytes()).expect(&file);
        assert!(is_known(&key.unwrap(&wrapped, "115").unwrap()));
    }
}

#[test]
fn a_key_is_found_behind_any_number_of_other_blocks() {
    let others = "-----BEGIN X509 CRL-----\nMAMCAQA=\n-----END X509 CRL-----\n".repeat(100_000);
    assert!(RsaPrivateKey::new(format!("{others}{}", rsa_pem()).as_bytes()).is_ok());
    assert_eq!(RsaPrivateKey::new(others.as_bytes()).err(), Some(Error::PrivateKey));
}

#[test]
fn what_is_no_key_is_named_for_what_it_is() {
    let pem = rsa_pem();
    let encrypted = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nAAAA\n-----END RSA PRIVATE KEY-----\n";
    for (file, error) in [
        (String::new(), Error::PrivateKey),
        ("words".into(), Error::PrivateKey),
        (pem.replace("-----END PRIVATE KEY-----", ""), Error::Pem),
        (pem.replacen("MII", "M!I", 1), Error::Pem),
        (pem.replacen("MII", "MI", 1), Error::Pem),
        (pem.replacen("MII", "MIA", 1), Error::PrivateKey),
        (encrypted.into(), Error::EncryptedKey),
    ] {
        assert_eq!(RsaPrivateKey::new(file.as_bytes()).err(), Some(error), "{file}");
    }
    assert_eq!(RsaPublicKey::new(pem.as_bytes()).err(), Some(Error::PublicKey));
    for length in 0..40 {
        assert_eq!(RsaPrivateKey::new(&vec![0x30; length]).err(), Some(Error::PrivateKey), "{length}");
        assert_eq!(RsaPublicKey::new(&vec![0x30; length]).err(), Some(Error::PublicKey), "{length}");
    }
}
