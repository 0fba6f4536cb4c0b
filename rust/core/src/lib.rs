//! AES-256-GCM messages of the Amazon S3 Encryption Client formats V2 and V3, sealed and opened in segments.
//!
//! An object is one AES-GCM message, `ciphertext || tag`. Its segments are sealed or opened in place, at any offset, in any
//! order, on any thread, by the fused cipher of aws-lc; their partials combine to the tag of the whole message.
//!
//! [`suite`] and [`keys`] say what the formats are, [`message`] seals and opens segments, [`parallel`] whole messages,
//! [`index`] proves segments on their own, [`wrap`] wraps data keys,
//! [`legacy`] decrypts what old clients wrote.
//! No Python, no I/O, no clock.
//!
//! ```
//! use arrowseal_core::{keys::{DataKey, MessageId}, message::{MessageOpener, MessageSealer}, suite::AES_256_GCM_COMMIT};
//!
//! let data_key = DataKey::new(&[7; 32])?;
//! let id = MessageId::generate(&AES_256_GCM_COMMIT)?;
//! let (key, commitment) = data_key.to_seal(&id)?;
//! let mut content = *b"sixteen bytes ..and a tail";
//! let sealer = MessageSealer::new(key)?;
//! let (front, tail) = content.split_at_mut(16);
//! sealer.seal_in_place(16, tail)?;
//! sealer.seal_in_place(0, front)?;
//! let tag = sealer.finish()?;
//!
//! let key = data_key.to_open(&id, commitment.as_ref().map(|it| it.as_bytes()))?;
//! let opener = MessageOpener::new(key, content.len() as u64)?;
//! opener.open_in_place(0, &mut content)?;
//! opener.finish(&tag)?;
//! assert_eq!(&content, b"sixteen bytes ..and a tail");
//! # Ok::<(), arrowseal_core::error::Error>(())
//! ```
#![deny(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing))]

pub mod error;
mod evp;
mod gcm;
mod ghash;
pub mod index;
pub mod keys;
mod ledger;
pub mod legacy;
pub mod message;
pub mod parallel;
mod ranges;
mod rsa_keys;
mod self_test;
pub mod suite;
pub mod wrap;

pub use evp::wipe;
pub use gcm::OpenEngine;
pub use ranges::DisjointRanges;
pub use self_test::open_engine;
