//! Sealing and opening, 1 KiB to 1 GiB: `cargo bench -p arrowseal-core --bench content`.
//!
//! `segments` is the segmented engine in place, the set-up of its message included, on one thread and on all; `switch` its
//! way to open, `known tag` its way to open what has been proven before. Lines of reference: `one shot` is aws-lc-rs in
//! place with its key schedule ready, `GMAC and CTR` the two passes that opening takes without the switch, `memcpy` what
//! moving the bytes once costs. With `-- --quick` nothing beyond 16 MiB, and fewer samples.
//! Contestants do not interleave here: `--bench ratios` compares.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::hint::black_box;
use std::time::Duration;

use arrowseal_core::OpenEngine;
use arrowseal_core::index::SEGMENT_BYTES;
use arrowseal_core::keys::{ContentKey, DataKey, MessageId};
use arrowseal_core::message::{MessageOpener, MessageSealer};
use arrowseal_core::parallel::{Plan, open_in_place, seal_in_place};
use arrowseal_core::suite::AES_256_GCM;
use aws_lc_rs::aead::{AES_256_GCM as ONE_SHOT, Aad, LessSafeKey, Nonce, UnboundKey};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

const KEY: [u8; 32] = [7; 32];
const IV: [u8; 12] = [9; 12];
const SIZES: [usize; 7] = [1 << 10, 16 << 10, 256 << 10, 1 << 20, 16 << 20, 256 << 20, 1 << 30];
const QUICK_UP_TO: usize = 16 << 20;

fn sizes() -> impl Iterator<Item = usize> {
    let quick = std::env::args().any(|argument| argument == "--quick");
    SIZES.into_iter().filter(move |size| !quick || *size <= QUICK_UP_TO)
}

/// On one thread; and on all, where that makes a difference.
fn plans(size: usize) -> impl Iterator<Item = (&'static str, Plan)> {
    let plans = [("one thread", Plan::new(size, 1)), ("all threads", Plan::new(size, 0))];
    plans.into_iter().filter(|(name, plan)| *name == "one thread" || plan.threads > 1)
}

fn content_key() -> ContentKey {
    DataKey::new(&KEY).unwrap().to_seal(&MessageId::from_bytes(&AES_256_GCM, &IV).unwrap()).unwrap().0
}

fn nonce() -> Nonce {
    Nonce::assume_unique_for_key(IV)
}

fn seal_segments(content: &mut [u8], plan: Plan) -> [u8; 16] {
    seal_in_place(&MessageSealer::new(content_key()).unwrap(), content, plan).unwrap()
}

fn seal(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("seal");
    for size in sizes() {
        let mut content = vec![0x5a; size];
        let key = LessSafeKey::new(UnboundKey::new(&ONE_SHOT, &KEY).unwrap());
        group.throughput(Throughput::Bytes(size as u64));
        group.bench_function(BenchmarkId::new("one shot", size), |bench| {
            bench.iter(|| key.seal_in_place_separate_tag(nonce(), Aad::empty(), &mut content).unwrap());
        });
        for (threads, plan) in plans(size) {
            group.bench_function(BenchmarkId::new(format!("segments, {threads}"), size), |bench| {
                bench.iter(|| seal_segments(&mut content, plan));
            });
        }
        let source = content.clone();
        group.bench_function(BenchmarkId::new("memcpy", size), |bench| {
            bench.iter(|| black_box(&mut content).copy_from_slice(black_box(&source)));
        });
    }
}

fn open(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("open");
    for size in sizes() {
        let mut sealed = vec![0x5a; size + 16];
        let key = LessSafeKey::new(UnboundKey::new(&ONE_SHOT, &KEY).unwrap());
        let mut one_shot = vec![0x5a; size];
        key.seal_in_place_append_tag(nonce(), Aad::empty(), &mut one_shot).unwrap();
        group.throughput(Throughput::Bytes(size as u64));
        group.bench_function(BenchmarkId::new("one shot", size), |bench| {
            bench.iter_custom(|runs| {
                measure(runs, &one_shot, &mut sealed, |it| {
                    key.open_in_place(nonce(), Aad::empty(), it).unwrap();
                })
            });
        });
        for (threads, plan) in plans(size) {
            for (name, engine) in [("switch", OpenEngine::Switched), ("GMAC and CTR", OpenEngine::TwoPass)] {
                group.bench_function(BenchmarkId::new(format!("{name}, {threads}"), size), |bench| {
                    let open = |it: &mut [u8]| open_segments(it, plan, engine);
                    bench.iter_custom(|runs| measure(runs, &one_shot, &mut sealed, open));
                });
            }
        }
        let known = MessageOpener::new(content_key(), size as u64).unwrap();
        let (first, tag) = one_shot.split_last_chunk::<16>().unwrap();
        let plan = Plan { threads: 1, segment_bytes: SEGMENT_BYTES as usize };
        open_in_place(&known, &mut first.to_vec(), tag, plan).unwrap();
        let segments = known.into_segments(SEGMENT_BYTES).unwrap();
        group.bench_function(BenchmarkId::new("known tags", size), |bench| {
            bench.iter_custom(|runs| {
                measure(runs, first, &mut sealed[..size], |it| segments.open_in_place(0, it).unwrap())
            });
        });
    }
}

fn open_segments(sealed: &mut [u8], plan: Plan, engine: OpenEngine) {
    let (content, tag) = sealed.split_last_chunk_mut::<16>().unwrap();
    let opener = MessageOpener::with_engine(content_key(), content.len() as u64, engine).unwrap();
    open_in_place(&opener, content, tag, plan).unwrap();
}

/// The time of `work` alone on fresh copies of `source`.
fn measure(runs: u64, source: &[u8], buffer: &mut [u8], mut work: impl FnMut(&mut [u8])) -> Duration {
    (0..runs)
        .map(|_| {
            buffer.copy_from_slice(source);
            let start = std::time::Instant::now();
            work(black_box(buffer));
            start.elapsed()
        })
        .sum()
}

fn few_samples() -> Criterion {
    Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
}

criterion_group!(name = content; config = few_samples(); targets = seal, open);
criterion_main!(content);
