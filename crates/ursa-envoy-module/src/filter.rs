//! After Envoy's tracer wrote: every listed format, for each attempt.
//!
//! `envoy.filters.http.dynamic_modules` among the upstream HTTP filters, with the name `inject`.

use core::ffi::c_void;

use ursa_propagation::inject;

use crate::abi::{Buffer, Entry};
use crate::callbacks::{
    DEFINE_COUNTER, HTTP_ENTRIES, HTTP_SET, HTTP_SIZE, HTTP_VALUE, INCREMENT_COUNTER, REQUEST,
};
use crate::config::{self, Hook};
use crate::dropped;
use crate::headers::{HeaderMap, change};

/// The first value of every status that Envoy asks for: go on.
const CONTINUE: u8 = 0;

const HOOK: Hook = Hook {
    name: "inject",
    has_callbacks: || {
        HTTP_SIZE.get().is_some()
            && HTTP_ENTRIES.get().is_some()
            && HTTP_VALUE.get().is_some()
            && HTTP_SET.get().is_some()
            && DEFINE_COUNTER.get().is_some()
            && INCREMENT_COUNTER.get().is_some()
    },
};

/// Makes a configuration out of a text: what [`ursa_propagation::Formats::parse`] reads, and from the second line on
/// what [`ursa_propagation::baggage::Rules::parse`] reads. Null refuses it.
///
/// # Safety
///
/// `envoy` is what Envoy passes to this hook; the bytes of `name` and `text` are there and do not change until it
/// returns.
#[cfg_attr(envoy_module, unsafe(no_mangle))]
pub unsafe extern "C" fn envoy_dynamic_module_on_http_filter_config_new(
    envoy: *mut c_void,
    name: Buffer,
    text: Buffer,
) -> *const c_void {
    // SAFETY: by the caller's promise.
    let name = unsafe { name.bytes() };
    // SAFETY: by the caller's promise.
    let text = unsafe { text.bytes() };
    // SAFETY: by the caller's promise.
    config::new(name, text, &HOOK, || unsafe { dropped::define(envoy) })
}

/// Frees a configuration.
///
/// # Safety
///
/// It is one that was made here, and no request has it as its filter.
#[cfg_attr(envoy_module, unsafe(no_mangle))]
pub unsafe extern "C" fn envoy_dynamic_module_on_http_filter_config_destroy(config: *const c_void) {
    // SAFETY: by the caller's promise.
    unsafe { config::free(config) };
}

/// A filter of a request: it is its configuration.
#[cfg_attr(envoy_module, unsafe(no_mangle))]
pub extern "C" fn envoy_dynamic_module_on_http_filter_new(
    config: *const c_void,
    _request: *mut c_void,
) -> *const c_void {
    config
}

/// Nothing was allocated, nothing is freed.
#[cfg_attr(envoy_module, unsafe(no_mangle))]
pub extern "C" fn envoy_dynamic_module_on_http_filter_destroy(_filter: *const c_void) {}

/// Changes the headers of a request to the next service, and goes on.
///
/// # Safety
///
/// `filter` is a configuration that was made here and is not freed; `request` is what Envoy passes to this hook, and no
/// other thread uses it.
#[cfg_attr(envoy_module, unsafe(no_mangle))]
pub unsafe extern "C" fn envoy_dynamic_module_on_http_filter_request_headers(
    request: *mut c_void,
    filter: *const c_void,
    _is_end: bool,
) -> u32 {
    // SAFETY: by the caller's promise.
    if let Some(config) = unsafe { config::of(filter) } {
        // SAFETY: the map is this request's, which is this thread's until the hook returns.
        unsafe {
            change(&Filter(request), |headers, _, changes| {
                inject(headers, config.formats, changes);
                if let Some(rules) = &config.rules {
                    dropped::add(rules.inject(headers, changes));
                }
            });
        }
        if let Some(counters) = &config.counters {
            // SAFETY: they were defined for this configuration, which is the request's filter.
            unsafe { dropped::hand_over(request, counters) };
        }
    }
    CONTINUE.into()
}

/// Hooks that Envoy asks for and that do nothing.
macro_rules! idle {
    ($($name:ident($($argument:ty),*) $(-> $status:ident)?;)*) => {$(
        /// Does nothing.
        #[cfg_attr(envoy_module, unsafe(no_mangle))]
        pub extern "C" fn $name(_: *mut c_void, _: *const c_void, $(_: $argument),*) $(-> $status)? {
            $($status::from(CONTINUE))?
        }
    )*};
}

type Pointer = *const c_void;

idle! {
    envoy_dynamic_module_on_http_filter_request_body(bool) -> u32;
    envoy_dynamic_module_on_http_filter_request_trailers() -> u32;
    envoy_dynamic_module_on_http_filter_response_headers(bool) -> u32;
    envoy_dynamic_module_on_http_filter_response_body(bool) -> u32;
    envoy_dynamic_module_on_http_filter_response_trailers() -> u32;
    envoy_dynamic_module_on_http_filter_stream_complete();
    envoy_dynamic_module_on_http_filter_scheduled(u64);
    envoy_dynamic_module_on_http_filter_http_callout_done(u64, u32, Pointer, usize, Pointer, usize);
    envoy_dynamic_module_on_http_filter_http_stream_headers(u64, Pointer, usize, bool);
    envoy_dynamic_module_on_http_filter_http_stream_data(u64, Pointer, usize, bool);
    envoy_dynamic_module_on_http_filter_http_stream_trailers(u64, Pointer, usize);
    envoy_dynamic_module_on_http_filter_http_stream_complete(u64);
    envoy_dynamic_module_on_http_filter_http_stream_reset(u64, u32);
    envoy_dynamic_module_on_http_filter_downstream_above_write_buffer_high_watermark();
    envoy_dynamic_module_on_http_filter_downstream_below_write_buffer_low_watermark();
}

/// A request in this hook. Invariant: it is one that Envoy passed, and the hook has not returned.
struct Filter(*mut c_void);

impl HeaderMap for Filter {
    fn size(&self) -> usize {
        // SAFETY: the request is Envoy's.
        HTTP_SIZE.get().map_or(0, |size| unsafe { size(self.0, REQUEST) })
    }

    unsafe fn write(&self, entries: *mut Entry) -> bool {
        // SAFETY: the request is Envoy's; there is room by the caller's promise.
        HTTP_ENTRIES.get().is_some_and(|write| unsafe { write(self.0, REQUEST, entries) })
    }

    fn value(&self, name: &[u8], index: usize) -> Option<Buffer> {
        let (mut value, mut count) = (Buffer::EMPTY, 0);
        let name = Buffer::of(name);
        // SAFETY: the request is Envoy's; the name is only read, and there is room for both results.
        let found = unsafe {
            HTTP_VALUE.get()?(self.0, REQUEST, name, &raw mut value, index, &raw mut count)
        };
        found.then_some(value)
    }

    fn set(&self, name: &str, value: &[u8]) {
        self.put(name, Buffer::of(value));
    }

    fn remove(&self, name: &str) {
        self.put(name, Buffer::EMPTY);
    }
}

impl Filter {
    /// Sets a header; no bytes at null removes it.
    fn put(&self, name: &str, value: Buffer) {
        if let Some(set) = HTTP_SET.get() {
            // SAFETY: the request is Envoy's; name and value are copied.
            unsafe { set(self.0, REQUEST, Buffer::of(name.as_bytes()), value) };
        }
    }
}
