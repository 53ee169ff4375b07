//! Before Envoy's tracer looks: `traceparent` and `tracestate` as the listed formats want them.
//!
//! `envoy.http.early_header_mutation.dynamic_modules`, with the name `extract`.

use core::ffi::c_void;

use ursa_propagation::extract;

use crate::abi::{Buffer, Entry};
use crate::callbacks::{EARLY_ENTRIES, EARLY_REMOVE, EARLY_SET, EARLY_SIZE, EARLY_VALUE};
use crate::config::{self, Hook};
use crate::dropped;
use crate::headers::{HeaderMap, change};
use crate::random;

const HOOK: Hook = Hook {
    name: "extract",
    has_callbacks: || {
        EARLY_SIZE.get().is_some()
            && EARLY_ENTRIES.get().is_some()
            && EARLY_VALUE.get().is_some()
            && EARLY_SET.get().is_some()
            && EARLY_REMOVE.get().is_some()
    },
};

/// Makes a configuration out of a text: what [`ursa_propagation::Formats::parse`] reads, and from the second line on
/// what [`ursa_propagation::baggage::Rules::parse`] reads. Null refuses it.
///
/// # Safety
///
/// The bytes of `name` and `text` are there and do not change until it returns.
#[cfg_attr(envoy_module, unsafe(no_mangle))]
pub unsafe extern "C" fn envoy_dynamic_module_on_early_header_mutation_config_new(
    _envoy: *mut c_void,
    name: Buffer,
    text: Buffer,
) -> *const c_void {
    // SAFETY: by the caller's promise.
    let name = unsafe { name.bytes() };
    // SAFETY: by the caller's promise.
    let text = unsafe { text.bytes() };
    config::new(name, text, &HOOK, || None)
}

/// Frees a configuration.
///
/// # Safety
///
/// It is one that was made here, and no request is in the hook with it, or comes to be.
#[cfg_attr(envoy_module, unsafe(no_mangle))]
pub unsafe extern "C" fn envoy_dynamic_module_on_early_header_mutation_config_destroy(
    config: *const c_void,
) {
    // SAFETY: by the caller's promise.
    unsafe { config::free(config) };
}

/// Changes a request's headers. Always true: what comes after this may change them as well.
///
/// # Safety
///
/// `config` is one that was made here and is not freed; `request` is what Envoy passes to this hook, and no other
/// thread uses it.
#[cfg_attr(envoy_module, unsafe(no_mangle))]
pub unsafe extern "C" fn envoy_dynamic_module_on_early_header_mutation_mutate(
    config: *const c_void,
    request: *mut c_void,
) -> bool {
    // SAFETY: by the caller's promise.
    if let Some(config) = unsafe { config::of(config) } {
        // SAFETY: the map is this request's, which is this thread's until the hook returns.
        unsafe {
            change(&Early(request), |headers, header, changes| {
                extract(headers, config.formats, random::next, changes);
                if let Some(rules) = &config.rules {
                    dropped::add(rules.extract(headers, header, changes));
                }
            });
        }
    }
    true
}

/// A request in this hook. Invariant: it is one that Envoy passed, and the hook has not returned.
struct Early(*mut c_void);

impl HeaderMap for Early {
    fn size(&self) -> usize {
        // SAFETY: the request is Envoy's.
        EARLY_SIZE.get().map_or(0, |size| unsafe { size(self.0) })
    }

    unsafe fn write(&self, entries: *mut Entry) -> bool {
        // SAFETY: the request is Envoy's; there is room by the caller's promise.
        EARLY_ENTRIES.get().is_some_and(|write| unsafe { write(self.0, entries) })
    }

    fn value(&self, name: &[u8], index: usize) -> Option<Buffer> {
        let (mut value, mut count) = (Buffer::EMPTY, 0);
        // SAFETY: the request is Envoy's; the name is only read, and there is room for both results.
        let found = unsafe {
            EARLY_VALUE.get()?(self.0, Buffer::of(name), &raw mut value, index, &raw mut count)
        };
        found.then_some(value)
    }

    fn set(&self, name: &str, value: &[u8]) {
        if let Some(set) = EARLY_SET.get() {
            // SAFETY: the request is Envoy's; name and value are copied.
            unsafe { set(self.0, Buffer::of(name.as_bytes()), Buffer::of(value)) };
        }
    }

    fn remove(&self, name: &str) {
        if let Some(remove) = EARLY_REMOVE.get() {
            // SAFETY: the request is Envoy's; the name is only read.
            unsafe { remove(self.0, Buffer::of(name.as_bytes())) };
        }
    }
}
