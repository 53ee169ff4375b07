//! Counts of what rules for baggage drop, as counters of Envoy.
//!
//! The early hook has no counters, so both hooks add here, and the later one hands over. A request that the first
//! drops something of, and that does not get as far as the second, is counted with the next.

use core::ffi::c_void;
use core::ptr;
use core::sync::atomic::{AtomicU64, Ordering};

use ursa_propagation::baggage::Dropped;

use crate::abi::Buffer;
use crate::callbacks::{DEFINE_COUNTER, INCREMENT_COUNTER, SUCCESS};

/// What a configuration knows its counters by, in the order of [`NAMES`].
pub(crate) type Counters = [usize; 3];

/// Behind the prefix that the configuration of the module gives (`metrics_namespace`).
const NAMES: [&str; 3] =
    ["baggage_denied_members_total", "baggage_invalid_members_total", "baggage_cut_members_total"];

static WAITING: [AtomicU64; 3] = [const { AtomicU64::new(0) }; 3];

/// Adds what a request lost.
pub(crate) fn add(dropped: Dropped) {
    let Dropped { denied, invalid, cut } = dropped;
    for (waiting, count) in WAITING.iter().zip([denied, invalid, cut]) {
        if count != 0 {
            waiting.fetch_add(count as u64, Ordering::Relaxed);
        }
    }
}

/// Defines the counters; none if Envoy does not want them.
///
/// # Safety
///
/// `envoy` is what Envoy passes when it makes an HTTP filter's configuration, and that has not returned.
pub(crate) unsafe fn define(envoy: *mut c_void) -> Option<Counters> {
    let define = DEFINE_COUNTER.get()?;
    let mut counters = Counters::default();
    for (counter, name) in counters.iter_mut().zip(NAMES) {
        let name = Buffer::of(name.as_bytes());
        // SAFETY: by the caller's promise; the name is copied, there are no labels, and there is room for the id.
        let result = unsafe { define(envoy, name, ptr::null(), 0, counter) };
        if result != SUCCESS {
            return None;
        }
    }
    Some(counters)
}

/// Hands over what waits.
///
/// # Safety
///
/// `request` is what Envoy passes to this hook of an HTTP filter, whose configuration has these counters.
pub(crate) unsafe fn hand_over(request: *mut c_void, counters: &Counters) {
    for (waiting, counter) in WAITING.iter().zip(counters) {
        if waiting.load(Ordering::Relaxed) == 0 {
            continue;
        }
        let count = waiting.swap(0, Ordering::Relaxed);
        // Another worker may have been faster.
        if count == 0 {
            continue;
        }
        if let Some(increment) = INCREMENT_COUNTER.get() {
            // SAFETY: by the caller's promise; there are no labels.
            unsafe { increment(request, *counter, ptr::null(), 0, count) };
        }
    }
}
