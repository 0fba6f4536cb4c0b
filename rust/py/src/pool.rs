//! Memory that is used again, since the page faults of new memory cost more than decrypting into it.

use std::sync::{Mutex, PoisonError};

use crate::memory::Region;

/// What is kept at most while nobody uses it: an encrypted and a plain object of 1 GiB, which never take each other's
/// place, with tags and what rounding adds. It is lent rather than kept: the system may take the pages of a large idle
/// region whenever it runs short of memory. Larger regions go back at once.
const MAX_BYTES: usize = (2 << 30) + (16 << 20);
/// Small regions are cheap to get: a few for each thread of a busy reader.
const MAX_REGIONS: usize = 64;
/// A region serves a request of half its size at least, so that a small buffer does not keep a large one.
const MAX_WASTE: usize = 2;

static POOL: Mutex<Pool> = Mutex::new(Pool { regions: Vec::new(), bytes: 0 });

/// What a region may hold from its last use. Bytes of encrypted objects never come up again in a buffer that takes any
/// bytes without proof.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trace {
    Encrypted,
    Plain,
}

/// Idle regions, the longest idle first.
struct Pool {
    regions: Vec<(Trace, Region)>,
    bytes: usize,
}

/// The smallest idle region that fits, with whatever bytes its last use left.
pub(crate) fn take(trace: Trace, capacity: usize) -> Option<Region> {
    let mut pool = POOL.lock().unwrap_or_else(PoisonError::into_inner);
    let fits = |region: &Region| (capacity..=capacity.saturating_mul(MAX_WASTE)).contains(&region.capacity());
    let idle = pool.regions.iter().enumerate();
    let (place, _) =
        idle.filter(|(_, (left, region))| *left == trace && fits(region)).min_by_key(|(_, (_, it))| it.capacity())?;
    let (_, region) = pool.regions.remove(place);
    pool.bytes -= region.capacity();
    Some(region)
}

/// Keeps a region for later, or gives it and older ones back to the system.
pub(crate) fn give(trace: Trace, region: Region) {
    if region.capacity() > MAX_BYTES {
        return;
    }
    region.lend();
    let mut pool = POOL.lock().unwrap_or_else(PoisonError::into_inner);
    pool.bytes += region.capacity();
    pool.regions.push((trace, region));
    while pool.bytes > MAX_BYTES || pool.regions.len() > MAX_REGIONS {
        let (_, oldest) = pool.regions.remove(0);
        pool.bytes -= oldest.capacity();
    }
}

/// Gives everything back to the system. False if there was nothing.
pub(crate) fn empty() -> bool {
    let mut pool = POOL.lock().unwrap_or_else(PoisonError::into_inner);
    pool.bytes = 0;
    !std::mem::take(&mut pool.regions).is_empty()
}
