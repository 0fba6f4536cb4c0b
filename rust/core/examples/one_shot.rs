//! AWS-LC's one-shot open of AES-256-GCM from memory, as a line of reference for other processes.
//!
//! `cargo run --release -p arrowseal-core --example one_shot`: every line of standard input is a size in bytes, every line
//! of the answer the seconds that opening so many took, in memory that the line before has used already.
#![allow(clippy::unwrap_used, missing_docs)]

use std::io::{BufRead, Write};
use std::time::Instant;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

fn main() {
    let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &[7; 32]).unwrap());
    let nonce = || Nonce::assume_unique_for_key([9; 12]);
    let mut buffer = Vec::new();
    for line in std::io::stdin().lock().lines() {
        let size: usize = line.unwrap().trim().parse().unwrap();
        buffer.resize(size, 0x5a);
        key.seal_in_place_append_tag(nonce(), Aad::empty(), &mut buffer).unwrap();
        let start = Instant::now();
        let opened = key.open_in_place(nonce(), Aad::empty(), &mut buffer).unwrap().len();
        let seconds = start.elapsed().as_secs_f64();
        assert_eq!(opened, size);
        let mut out = std::io::stdout().lock();
        writeln!(out, "{seconds}").unwrap();
        out.flush().unwrap();
    }
}
