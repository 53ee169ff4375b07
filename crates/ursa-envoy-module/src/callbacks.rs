//! What the library calls: functions of Envoy, and some of the C library.

use core::ffi::{CStr, c_void};

use crate::abi::{Buffer, Callback, Entry};

/// Which header map of an HTTP filter: the request's. `envoy_dynamic_module_type_http_header_type_RequestHeader`.
pub(crate) const REQUEST: u32 = 0;

/// `envoy_dynamic_module_type_log_level_Error`
const ERROR: u32 = 4;

/// `envoy_dynamic_module_type_metrics_result_Success`
pub(crate) const SUCCESS: u32 = 0;

type Request = *mut c_void;
type FilterConfig = *mut c_void;

macro_rules! callbacks {
    ($($static:ident = $symbol:ident: $function:ty;)*) => {
        $(
            // SAFETY: the type is that of the declaration in Envoy's abi.h; of getrandom in getrandom(2), of
            // malloc and free in malloc(3).
            pub(crate) static $static: Callback<$function> = unsafe {
                Callback::new(name(concat!(stringify!($symbol), "\0")))
            };
        )*

        /// Looks all of them up.
        #[cfg(not(miri))]
        pub(crate) fn look_up() {
            $($static.look_up();)*
        }

        /// Takes all of them as they are linked: Miri knows no `dlsym`.
        #[cfg(miri)]
        pub(crate) fn look_up() {
            unsafe extern "C" {
                $(fn $symbol();)*
            }
            $($static.put($symbol as *mut c_void);)*
        }
    };
}

/// What `dlsym` takes for a name.
const fn name(symbol: &'static str) -> &'static CStr {
    match CStr::from_bytes_with_nul(symbol.as_bytes()) {
        Ok(name) => name,
        Err(_) => c"",
    }
}

callbacks! {
    LOG = envoy_dynamic_module_callback_log:
        unsafe extern "C" fn(u32, Buffer);
    GETRANDOM = getrandom:
        unsafe extern "C" fn(*mut c_void, usize, u32) -> isize;
    MALLOC = malloc:
        unsafe extern "C" fn(usize) -> *mut c_void;
    FREE = free:
        unsafe extern "C" fn(*mut c_void);

    EARLY_SIZE = envoy_dynamic_module_callback_early_header_mutation_get_headers_size:
        unsafe extern "C" fn(Request) -> usize;
    EARLY_ENTRIES = envoy_dynamic_module_callback_early_header_mutation_get_headers:
        unsafe extern "C" fn(Request, *mut Entry) -> bool;
    EARLY_VALUE = envoy_dynamic_module_callback_early_header_mutation_get_header_value:
        unsafe extern "C" fn(Request, Buffer, *mut Buffer, usize, *mut usize) -> bool;
    EARLY_SET = envoy_dynamic_module_callback_early_header_mutation_set_header:
        unsafe extern "C" fn(Request, Buffer, Buffer) -> bool;
    EARLY_REMOVE = envoy_dynamic_module_callback_early_header_mutation_remove_header:
        unsafe extern "C" fn(Request, Buffer) -> bool;

    HTTP_SIZE = envoy_dynamic_module_callback_http_get_headers_size:
        unsafe extern "C" fn(Request, u32) -> usize;
    HTTP_ENTRIES = envoy_dynamic_module_callback_http_get_headers:
        unsafe extern "C" fn(Request, u32, *mut Entry) -> bool;
    HTTP_VALUE = envoy_dynamic_module_callback_http_get_header:
        unsafe extern "C" fn(Request, u32, Buffer, *mut Buffer, usize, *mut usize) -> bool;
    HTTP_SET = envoy_dynamic_module_callback_http_set_header:
        unsafe extern "C" fn(Request, u32, Buffer, Buffer) -> bool;
    DEFINE_COUNTER = envoy_dynamic_module_callback_http_filter_config_define_counter:
        unsafe extern "C" fn(FilterConfig, Buffer, *const Buffer, usize, *mut usize) -> u32;
    INCREMENT_COUNTER = envoy_dynamic_module_callback_http_filter_increment_counter:
        unsafe extern "C" fn(Request, usize, *const Buffer, usize, u64) -> u32;
}

/// Says in Envoy's log why a configuration is refused.
pub(crate) fn log_error(message: &str) {
    if let Some(log) = LOG.get() {
        // SAFETY: Envoy copies the message, which is there for ever, before it returns.
        unsafe { log(ERROR, Buffer::of(message.as_bytes())) }
    }
}
