//! Random numbers for ids that a caller left out.
//!
//! The kernel is asked once, when the library is loaded. What follows is a counter, mixed: no system calls, no locks.
//! They tell traces apart and are no secrets.

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::callbacks::GETRANDOM;

static SEEDED: AtomicBool = AtomicBool::new(false);
static COUNTER: AtomicU64 = AtomicU64::new(0);
static KEY: AtomicU64 = AtomicU64::new(0);

/// The golden ratio, by which SplitMix64 counts.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// Asks the kernel.
pub(crate) fn seed() {
    let Some(getrandom) = GETRANDOM.get() else { return };
    let mut seed = [0_u64; 2];
    // SAFETY: it writes 16 bytes at most, for which there is room, and any bytes are numbers.
    let got = unsafe { getrandom(seed.as_mut_ptr().cast(), size_of_val(&seed), 0) };
    if got.cast_unsigned() == size_of_val(&seed) {
        let [counter, key] = seed;
        COUNTER.store(counter, Ordering::Relaxed);
        KEY.store(key, Ordering::Relaxed);
        SEEDED.store(true, Ordering::Release);
    }
}

/// Whether the kernel answered.
pub(crate) fn is_seeded() -> bool {
    SEEDED.load(Ordering::Acquire)
}

/// The next number, for all threads.
pub(crate) fn next() -> u64 {
    let count = COUNTER.fetch_add(STEP, Ordering::Relaxed);
    mix(mix(count) ^ KEY.load(Ordering::Relaxed))
}

/// SplitMix64's finisher: one to one, each bit of the result depends on all.
fn mix(value: u64) -> u64 {
    let value = (value ^ value >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ value >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ value >> 31
}
