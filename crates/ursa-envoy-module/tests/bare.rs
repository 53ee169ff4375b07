//! A program without Envoy's functions: the library is loaded, and refuses every configuration.

#![cfg(all(target_os = "linux", target_env = "gnu"))]
#![expect(unsafe_code, reason = "libraries are loaded by functions of C")]

use std::ffi::{CString, c_char, c_int, c_void};
use std::mem;
use std::ptr;

use ursa_envoy_module::{Buffer, LIBRARY};

unsafe extern "C" {
    fn dlopen(path: *const c_char, flags: c_int) -> *mut c_void;
    fn dlsym(handle: *mut c_void, name: *const c_char) -> *mut c_void;
}

#[test]
fn a_program_that_lacks_callbacks_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let library = LIBRARY.unwrap();
    let path = folder.path().join(library.file_name);
    std::fs::write(&path, library.bytes).unwrap();
    let path = CString::new(path.into_os_string().into_encoded_bytes()).unwrap();
    // SAFETY: the path ends with a zero byte, and nothing runs when the library is loaded. 2 is RTLD_NOW.
    let handle = unsafe { dlopen(path.as_ptr(), 2) };
    assert!(!handle.is_null());
    // SAFETY: the handle is a library's, and the names end with a zero byte.
    let [init, early, filter] = [
        c"envoy_dynamic_module_on_program_init",
        c"envoy_dynamic_module_on_early_header_mutation_config_new",
        c"envoy_dynamic_module_on_http_filter_config_new",
    ]
    .map(|name| unsafe { dlsym(handle, name.as_ptr()) });
    assert!(!init.is_null());
    // SAFETY: that is the function's type, and the pointer is not null.
    let init: extern "C" fn() -> *const c_char = unsafe { mem::transmute(init) };
    assert!(!init().is_null());
    let buffer = |text: &str| Buffer { data: text.as_ptr(), length: text.len() };
    for (config_new, name) in [(early, "extract"), (filter, "inject")] {
        assert!(!config_new.is_null());
        // SAFETY: that is the functions' type, and the pointer is not null.
        let config_new: unsafe extern "C" fn(*mut c_void, Buffer, Buffer) -> *const c_void =
            unsafe { mem::transmute(config_new) };
        // SAFETY: the texts are there until the function returns.
        let config = unsafe { config_new(ptr::null_mut(), buffer(name), buffer("b3")) };
        assert!(config.is_null(), "{name}");
    }
}
