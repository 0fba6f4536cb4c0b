//! Segments against one shot, interleaved: `cargo bench -p arrowseal-core --bench ratios [-- ROUNDS]`.
//!
//! Every round runs all contestants one after the other on the same memory, in turning order, and a ratio is the median
//! over the rounds of two times of one round: what disturbs the machine disturbs both. The one-shot cipher of aws-lc-rs
//! has its key schedule ready; ours sets up its message inside the measured time. Every opened buffer is checked.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use arrowseal_core::keys::{ContentKey, DataKey, MessageId};
use arrowseal_core::message::{MessageOpener, MessageSealer};
use arrowseal_core::parallel::{Plan, open_in_place, seal_in_place};
use arrowseal_core::suite::AES_256_GCM;
use aws_lc_rs::aead::{AES_256_GCM as ONE_SHOT, Aad, LessSafeKey, Nonce, UnboundKey};

const KEY: [u8; 32] = [7; 32];
const IV: [u8; 12] = [9; 12];
const MIB: usize = 1 << 20;

/// Times of one way of doing it, in one round: seal, open without knowing the tag, open against known partials.
#[derive(Clone, Copy, Default)]
struct Times {
    seal: Duration,
    open: Duration,
    known: Duration,
}

#[derive(Clone, Copy)]
enum Way {
    OneShot,
    Segments(Plan),
}

fn main() {
    let rounds = std::env::args().filter_map(|argument| argument.parse().ok()).next_back().unwrap_or(15);
    println!("open engine: {:?}; {rounds} rounds; ratios of speed, medians", arrowseal_core::open_engine());
    println!("{:>9} {:>9} | one thread / one shot   | two threads / one thread", "size", "segment");
    println!(
        "{:>9} {:>9} | {:>6} {:>7} {:>8} | {:>6} {:>6} | one shot",
        "", "", "seal", "switch", "known", "seal", "open"
    );
    for (size, segments) in [
        (256 << 10, vec![256 << 10]),
        (MIB, vec![256 << 10, MIB]),
        (16 * MIB, vec![256 << 10, MIB]),
        (256 * MIB, vec![256 << 10, MIB]),
    ] {
        for segment_bytes in segments {
            compare(size, segment_bytes, rounds);
        }
    }
    println!("memcpy of 256 MiB: {:.2} GB/s", memcpy(256 * MIB, rounds));
}

fn compare(size: usize, segment_bytes: usize, rounds: usize) {
    let ways = [
        Way::OneShot,
        Way::Segments(Plan { threads: 1, segment_bytes }),
        Way::Segments(Plan { threads: 2, segment_bytes }),
    ];
    let mut buffer = vec![0x5a; size + 16];
    let mut seen: Vec<[Times; 3]> = Vec::new();
    for round in 0..=rounds {
        let mut times = [Times::default(); 3];
        for turn in 0..ways.len() {
            let way = (turn + round) % ways.len();
            times[way] = run(ways[way], &mut buffer);
        }
        seen.push(times);
    }
    seen.remove(0);
    let median = |ratio: &dyn Fn(&[Times; 3]) -> f64| {
        let mut ratios: Vec<f64> = seen.iter().map(ratio).collect();
        ratios.sort_by(f64::total_cmp);
        ratios[ratios.len() / 2]
    };
    let per = |over: Duration, under: Duration| over.as_secs_f64() / under.as_secs_f64();
    println!(
        "{:>5} KiB {:>5} KiB | {:>6.3} {:>7.3} {:>8.3} | {:>6.2} {:>6.2} | {:.2} GB/s",
        size >> 10,
        segment_bytes >> 10,
        median(&|it| per(it[0].seal, it[1].seal)),
        median(&|it| per(it[0].open, it[1].open)),
        median(&|it| per(it[0].open, it[1].known)),
        median(&|it| per(it[1].seal, it[2].seal)),
        median(&|it| per(it[1].open, it[2].open)),
        median(&|it| size as f64 / 1e9 / it[0].open.as_secs_f64()),
    );
}

/// Seals and opens the buffer often enough to be measured, and checks what comes out.
fn run(way: Way, buffer: &mut [u8]) -> Times {
    let repeats = (16 * MIB / buffer.len()).max(1) as u32;
    let mut sum = Times::default();
    for _ in 0..repeats {
        let times = match way {
            Way::OneShot => one_shot(buffer),
            Way::Segments(plan) => segments(buffer, plan),
        };
        assert!(buffer[..4096] == [0x5a; 4096] && buffer[buffer.len() - 17] == 0x5a, "opened to something else");
        sum = Times { seal: sum.seal + times.seal, open: sum.open + times.open, known: sum.known + times.known };
    }
    Times { seal: sum.seal / repeats, open: sum.open / repeats, known: sum.known / repeats }
}

fn one_shot(buffer: &mut [u8]) -> Times {
    let key = LessSafeKey::new(UnboundKey::new(&ONE_SHOT, &KEY).unwrap());
    let nonce = || Nonce::assume_unique_for_key(IV);
    let (content, tag) = buffer.split_last_chunk_mut::<16>().unwrap();
    let (computed, seal) = timed(|| key.seal_in_place_separate_tag(nonce(), Aad::empty(), content).unwrap());
    tag.copy_from_slice(computed.as_ref());
    let (_, open) = timed(|| key.open_in_place(nonce(), Aad::empty(), buffer).unwrap().len());
    Times { seal, open, known: open }
}

fn segments(buffer: &mut [u8], plan: Plan) -> Times {
    let (content, _) = buffer.split_last_chunk_mut::<16>().unwrap();
    let length = content.len() as u64;
    let seal_all =
        |content: &mut [u8]| seal_in_place(&MessageSealer::new(content_key()).unwrap(), content, plan).unwrap();
    let (tag, seal) = timed(|| seal_all(content));
    let (opener, open) = timed(|| {
        let opener = MessageOpener::new(content_key(), length).unwrap();
        open_in_place(&opener, content, &tag, plan).unwrap();
        opener
    });
    let mut known = Duration::ZERO;
    if plan.threads == 1 {
        seal_all(content);
        let segments = opener.into_segments(plan.segment_bytes as u64).unwrap();
        ((), known) = timed(|| segments.open_in_place(0, content).unwrap());
    }
    Times { seal, open, known }
}

fn content_key() -> ContentKey {
    DataKey::new(&KEY).unwrap().to_seal(&MessageId::from_bytes(&AES_256_GCM, &IV).unwrap()).unwrap().0
}

fn memcpy(size: usize, rounds: usize) -> f64 {
    let (from, mut to) = (vec![1_u8; size], vec![2_u8; size]);
    let mut times: Vec<Duration> =
        (0..rounds).map(|_| timed(|| black_box(&mut to).copy_from_slice(black_box(&from))).1).collect();
    times.sort();
    size as f64 / 1e9 / times[rounds / 2].as_secs_f64()
}

fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let start = Instant::now();
    let outcome = black_box(work());
    (outcome, start.elapsed())
}
