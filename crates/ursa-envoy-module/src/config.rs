//! The start, and configurations.
//!
//! A configuration is a word ([`Formats::into_word`]), and the pointer to it that Envoy keeps is that word: nothing is
//! allocated, nothing is freed, and any thread may read it.

use core::ffi::{c_char, c_void};
use core::ptr;

use ursa_propagation::Formats;

use crate::callbacks::{self, log_error};
use crate::random;

/// Called once, when the library is loaded. Envoy 1.40 compares the result with its own `"v0.2.0"`, and warns of
/// another; it protects nothing. What does is that callbacks are looked up here, and that a configuration is refused
/// if one that it needs is missing.
#[cfg_attr(envoy_module, unsafe(no_mangle))]
pub extern "C" fn envoy_dynamic_module_on_program_init() -> *const c_char {
    callbacks::look_up();
    random::seed();
    c"v0.2.0".as_ptr()
}

/// A configuration out of its text; null, and a line in Envoy's log, if it is refused.
pub(crate) fn new(name: &[u8], text: &[u8], hook: &Hook) -> *const c_void {
    match read(name, text, hook) {
        Ok(formats) => {
            usize::try_from(formats.into_word().get()).map_or(ptr::null(), ptr::without_provenance)
        }
        Err(reason) => {
            log_error(reason);
            ptr::null()
        }
    }
}

/// The configuration of a pointer that [`new`] gave.
pub(crate) fn of(pointer: *const c_void) -> Option<Formats> {
    Formats::from_word(pointer.addr() as u64)
}

/// What a hook asks for.
pub(crate) struct Hook {
    /// How configurations call it.
    pub(crate) name: &'static str,
    /// Whether the program has the callbacks that it needs.
    pub(crate) has_callbacks: fn() -> bool,
}

fn read(name: &[u8], text: &[u8], hook: &Hook) -> Result<Formats, &'static str> {
    if name != hook.name.as_bytes() {
        return Err("ursa: this hook has another name; it is \"extract\" or \"inject\"");
    }
    if !(hook.has_callbacks)() {
        return Err(
            "ursa: this Envoy lacks functions that the module needs; it is made for Envoy 1.40",
        );
    }
    if !random::is_seeded() {
        return Err("ursa: the kernel gave no random numbers");
    }
    Formats::parse(text).ok_or(
        "ursa: this is no list of formats; it is as \"w3c_tracecontext,b3;ratio=10000;strip\"",
    )
}
