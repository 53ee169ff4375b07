//! The start, and configurations.
//!
//! A configuration is made on the main thread and only read after that, by all threads, until Envoy says that it is
//! done with it. It is one block of the C library's memory: a [`Config`], and behind it the text of the rules, which
//! the rules are read out of for every request.

use core::ffi::{c_char, c_void};
use core::ptr;

use ursa_propagation::Formats;
use ursa_propagation::baggage::Rules;

use crate::callbacks::{self, FREE, MALLOC, log_error};
use crate::dropped::Counters;
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

/// What a hook does. Without references to anything but its own block, so that any thread may read it.
#[derive(Debug)]
pub(crate) struct Config {
    /// The formats that are read and written.
    pub(crate) formats: Formats,
    /// What becomes of baggage; none: it is not looked at. It borrows the block's text.
    pub(crate) rules: Option<Rules<'static>>,
    /// Where it is counted what rules drop, if this hook can count.
    pub(crate) counters: Option<Counters>,
}

/// What a hook asks for.
pub(crate) struct Hook {
    /// How configurations call it.
    pub(crate) name: &'static str,
    /// Whether the program has the callbacks that it needs.
    pub(crate) has_callbacks: fn() -> bool,
}

/// A configuration out of its text: formats, and if a line follows, rules for baggage. Null, and a line in Envoy's log,
/// if it is refused. `counters` are asked for if there are rules.
pub(crate) fn new(
    name: &[u8],
    text: &[u8],
    hook: &Hook,
    counters: impl FnOnce() -> Option<Counters>,
) -> *const c_void {
    match read(name, text, hook, counters) {
        Ok(config) => config.cast(),
        Err(reason) => {
            log_error(reason);
            ptr::null()
        }
    }
}

/// The configuration of a pointer.
///
/// # Safety
///
/// [`new`] gave the pointer, and it is not freed as long as `'a`.
pub(crate) unsafe fn of<'a>(pointer: *const c_void) -> Option<&'a Config> {
    // SAFETY: by the caller's promise there is a configuration, which nobody writes to.
    unsafe { pointer.cast::<Config>().as_ref() }
}

/// Frees a configuration.
///
/// # Safety
///
/// [`new`] gave the pointer, and nobody uses it any more.
pub(crate) unsafe fn free(pointer: *const c_void) {
    if let Some(free) = FREE.get() {
        // SAFETY: the pointer is one of malloc, or null. What is there needs no destructor: it owns nothing.
        unsafe { free(pointer.cast_mut()) };
    }
}

fn read(
    name: &[u8],
    text: &[u8],
    hook: &Hook,
    counters: impl FnOnce() -> Option<Counters>,
) -> Result<*const Config, &'static str> {
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
    let mut parts = text.splitn(2, |byte| *byte == b'\n');
    let formats = parts.next().and_then(Formats::parse).ok_or(
        "ursa: this is no list of formats; it is as \"w3c_tracecontext,b3;ratio=10000;strip\"",
    )?;
    let rules = parts.next();
    if rules.is_some_and(|rules| Rules::parse(rules).is_none()) {
        return Err("ursa: these are no rules for baggage; one is as \"in deny secret\"");
    }
    let counters = rules.and_then(|_| counters());
    keep(formats, rules, counters).ok_or("ursa: there is no memory")
}

/// Makes the block; none if there is no memory.
fn keep(
    formats: Formats,
    rules: Option<&[u8]>,
    counters: Option<Counters>,
) -> Option<*const Config> {
    // What malloc aligns to on the platforms that Envoy is released for.
    const { assert!(align_of::<Config>() <= 16) };
    let text = rules.unwrap_or_default();
    let size = size_of::<Config>().checked_add(text.len())?;
    let (malloc, _) = (MALLOC.get()?, FREE.get()?);
    // SAFETY: any size may be asked for.
    let block = unsafe { malloc(size) };
    if block.is_null() {
        return None;
    }
    // SAFETY: the block has as many bytes, and more.
    let copy = unsafe { block.cast::<u8>().add(size_of::<Config>()) };
    // SAFETY: there is room for the text behind the configuration, and both are apart.
    unsafe { ptr::copy_nonoverlapping(text.as_ptr(), copy, text.len()) };
    // SAFETY: the bytes were just written. They stay as they are until `free`, after which nobody has the configuration,
    // by which alone they are reached: that is what 'static means here.
    let text: &'static [u8] = unsafe { core::slice::from_raw_parts(copy, text.len()) };
    let rules = rules.and_then(|_| Rules::parse(text));
    let config = block.cast::<Config>();
    // SAFETY: the block is large enough and aligned.
    unsafe { config.write(Config { formats, rules, counters }) };
    Some(config)
}
