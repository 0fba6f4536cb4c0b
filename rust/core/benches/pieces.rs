//! What a message costs besides its bytes: `cargo bench -p arrowseal-core --bench pieces`.
//!
//! Combining the partials of segments to a tag, the arithmetic in GF(2^128) behind it, and deriving keys. The arithmetic
//! is private to the core: its file is compiled into this one as well.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use arrowseal_core::index::{IndexMasks, SEGMENT_BYTES, SegmentOpener, Segmentation};
use arrowseal_core::keys::{ContentKey, DataKey, MessageId};
use arrowseal_core::message::{MessageOpener, MessageSealer};
use arrowseal_core::suite::{AES_256_GCM, AES_256_GCM_COMMIT};
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

#[allow(dead_code, unused_imports)]
#[path = "../src/ghash.rs"]
mod field;

use field::{Element, Factor, inverse, power};

/// The tags of nothing but segments: so many make 64 GiB in segments of 1 MiB.
const SEGMENTS: [usize; 4] = [1, 64, 4_096, 65_536];
const SMALL_SEGMENT_BYTES: usize = 16;

fn data_key() -> DataKey {
    DataKey::new(&[7; 32]).unwrap()
}

fn content_key() -> ContentKey {
    data_key().to_seal(&MessageId::from_bytes(&AES_256_GCM, &[9; 12]).unwrap()).unwrap().0
}

/// The tag of a message from its partials, the check that nothing is missing included: the last step of every seal and
/// open. What comes before it is not on the clock.
fn combine(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("combine");
    for segments in SEGMENTS {
        let sealed_in_segments = || {
            let (sealer, mut content) =
                (MessageSealer::new(content_key()).unwrap(), vec![0x5a; segments * SMALL_SEGMENT_BYTES]);
            for (i, segment) in content.chunks_mut(SMALL_SEGMENT_BYTES).enumerate() {
                sealer.seal_in_place((i * SMALL_SEGMENT_BYTES) as u64, segment).unwrap();
            }
            (sealer, content)
        };
        group.throughput(Throughput::Elements(segments as u64));
        group.bench_function(BenchmarkId::new("tag of a sealed message", segments), |bench| {
            bench.iter_custom(|runs| {
                timed(runs, || sealed_in_segments().0, |sealer| _ = black_box(sealer.finish().unwrap()))
            });
        });
        let (sealer, sealed) = sealed_in_segments();
        let tag = sealer.finish().unwrap();
        let opened_in_segments = || {
            let (opener, mut content) =
                (MessageOpener::new(content_key(), sealed.len() as u64).unwrap(), sealed.clone());
            for (i, segment) in content.chunks_mut(SMALL_SEGMENT_BYTES).enumerate() {
                opener.open_in_place((i * SMALL_SEGMENT_BYTES) as u64, segment).unwrap();
            }
            opener
        };
        group.bench_function(BenchmarkId::new("proof of an opened message", segments), |bench| {
            bench.iter_custom(|runs| timed(runs, opened_in_segments, |opener| opener.finish(&tag).unwrap()));
        });
    }
}

fn arithmetic(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("field");
    let (x, y) = (Element::from_bytes([0x17; 16]), Element::from_bytes([0xa5; 16]));
    let factor = Factor::new(&x);
    group.bench_function("a factor made ready", |bench| bench.iter(|| Factor::new(black_box(&x))));
    group.bench_function("product", |bench| bench.iter(|| factor.times(black_box(&y))));
    group.bench_function("power of 65,536", |bench| bench.iter(|| power(black_box(&x), 65_536)));
    group.bench_function("power of 65,535", |bench| bench.iter(|| power(black_box(&x), 65_535)));
    group.bench_function("inverse", |bench| bench.iter(|| inverse(black_box(&x))));
    let data = vec![0x5a; 1 << 20];
    group.throughput(Throughput::Bytes(data.len() as u64));
    group.bench_function("GHASH of 1 MiB", |bench| bench.iter(|| factor.hash(black_box(&data))));
}

/// The index of a message: made of its partials, and checked and unmasked to open ranges.
fn index(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("index");
    let (key, id) = (data_key(), MessageId::generate(&AES_256_GCM_COMMIT).unwrap());
    for size in [1_usize << 20, 64 << 20] {
        let (content_key, commitment) = key.to_seal(&id).unwrap();
        let sealer = MessageSealer::new(content_key).unwrap();
        let mut content = vec![0x5a; size];
        for (offset, segment) in (0..).step_by(SEGMENT_BYTES as usize).zip(content.chunks_mut(SEGMENT_BYTES as usize)) {
            sealer.seal_in_place(offset, segment).unwrap();
        }
        sealer.finish().unwrap();
        let segmentation = Segmentation::new(SEGMENT_BYTES, size as u64).unwrap();
        let make = || sealer.index(&IndexMasks::new(&key, &id, segmentation).unwrap()).unwrap();
        let (index, told) = (make(), commitment.as_ref().map(|it| it.as_bytes()));
        group.throughput(Throughput::Bytes(size as u64));
        group.bench_function(BenchmarkId::new("made", size), |bench| bench.iter(make));
        group.bench_function(BenchmarkId::new("opened", size), |bench| {
            bench.iter(|| SegmentOpener::from_index(&key, &id, told, size as u64, black_box(&index)).unwrap());
        });
    }
}

fn keys(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("keys");
    let key = data_key();
    for (format, suite) in [("V2", &AES_256_GCM), ("V3", &AES_256_GCM_COMMIT)] {
        let id = MessageId::generate(suite).unwrap();
        let commitment = key.to_seal(&id).unwrap().1;
        let told = commitment.as_ref().map(|it| it.as_bytes());
        group.bench_function(BenchmarkId::new("message id drawn", format), |bench| {
            bench.iter(|| MessageId::generate(suite).unwrap());
        });
        group.bench_function(BenchmarkId::new("derived to seal", format), |bench| {
            bench.iter(|| key.to_seal(black_box(&id)).unwrap());
        });
        group.bench_function(BenchmarkId::new("derived and checked to open", format), |bench| {
            bench.iter(|| key.to_open(black_box(&id), told).unwrap());
        });
        group.bench_function(BenchmarkId::new("a message made ready", format), |bench| {
            let fresh = || key.to_seal(&id).unwrap().0;
            bench.iter_batched(fresh, |key| MessageSealer::new(key).unwrap(), BatchSize::SmallInput);
        });
    }
}

/// The time of `work` alone, on something that `make` makes anew each time.
fn timed<T>(runs: u64, mut make: impl FnMut() -> T, mut work: impl FnMut(&T)) -> Duration {
    (0..runs)
        .map(|_| {
            let made = make();
            let start = Instant::now();
            work(black_box(&made));
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

criterion_group!(name = pieces; config = few_samples(); targets = combine, index, arithmetic, keys);
criterion_main!(pieces);
