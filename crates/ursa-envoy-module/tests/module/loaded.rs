//! The library, loaded into this process as Envoy loads it; and the same code without the loading.

use std::cell::RefCell;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::mem;
use std::path::PathBuf;

use ursa_envoy_module::{Buffer, LIBRARY, early, envoy_dynamic_module_on_program_init, filter};

use crate::cases::List;

unsafe extern "C" {
    fn dlopen(path: *const c_char, flags: c_int) -> *mut c_void;
    fn dlsym(handle: *mut c_void, name: *const c_char) -> *mut c_void;
    fn dlerror() -> *const c_char;
}

const RTLD_NOW: c_int = 2;

type ConfigDestroy = unsafe extern "C" fn(*const c_void);
type ConfigNew = unsafe extern "C" fn(*mut c_void, Buffer, Buffer) -> *const c_void;

/// Writes the library into a folder.
pub(crate) fn written(folder: &tempfile::TempDir) -> PathBuf {
    let library = LIBRARY.expect("there is a library for this platform");
    let path = folder.path().join(library.file_name);
    std::fs::write(&path, library.bytes).unwrap();
    path
}

/// A hook of the library.
///
/// # Safety
///
/// `F` is a function pointer, and the type of the hook of that name.
unsafe fn find<F>(handle: *mut c_void, name: &str) -> F {
    let name = CString::new(format!("envoy_dynamic_module_on_{name}")).unwrap();
    // SAFETY: the handle is a library's, and the name ends with a zero byte.
    let address = unsafe { dlsym(handle, name.as_ptr()) };
    assert!(!address.is_null(), "{name:?}");
    // SAFETY: by the caller's promise.
    unsafe { mem::transmute_copy(&address) }
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Loaded {
    extract_new: ConfigNew,
    extract: unsafe extern "C" fn(*const c_void, *mut c_void) -> bool,
    inject_new: ConfigNew,
    inject_filter: extern "C" fn(*const c_void, *mut c_void) -> *const c_void,
    inject: unsafe extern "C" fn(*mut c_void, *const c_void, bool) -> u32,
    destroy: [ConfigDestroy; 2],
}

impl Loaded {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = CString::new(written(&folder).into_os_string().into_encoded_bytes()).unwrap();
        // SAFETY: the path ends with a zero byte, and nothing runs when the library is loaded.
        let handle = unsafe { dlopen(path.as_ptr(), RTLD_NOW) };
        // SAFETY: it failed, so there is a message.
        assert!(!handle.is_null(), "{:?}", unsafe { CStr::from_ptr(dlerror()) });
        // SAFETY: these are the types of the functions of those names.
        unsafe {
            let init: extern "C" fn() -> *const c_char = find(handle, "program_init");
            assert_eq!(CStr::from_ptr(init()), c"v0.2.0");
            Self {
                extract_new: find(handle, "early_header_mutation_config_new"),
                extract: find(handle, "early_header_mutation_mutate"),
                inject_new: find(handle, "http_filter_config_new"),
                inject_filter: find(handle, "http_filter_new"),
                inject: find(handle, "http_filter_request_headers"),
                destroy: [
                    find(handle, "early_header_mutation_config_destroy"),
                    find(handle, "http_filter_config_destroy"),
                ],
            }
        }
    }

    /// The same code as a part of this program, where lines that are run are counted.
    pub(crate) fn linked() -> Self {
        assert!(!envoy_dynamic_module_on_program_init().is_null());
        Self {
            extract_new: early::envoy_dynamic_module_on_early_header_mutation_config_new,
            extract: early::envoy_dynamic_module_on_early_header_mutation_mutate,
            inject_new: filter::envoy_dynamic_module_on_http_filter_config_new,
            inject_filter: filter::envoy_dynamic_module_on_http_filter_new,
            inject: filter::envoy_dynamic_module_on_http_filter_request_headers,
            destroy: [
                early::envoy_dynamic_module_on_early_header_mutation_config_destroy,
                filter::envoy_dynamic_module_on_http_filter_config_destroy,
            ],
        }
    }

    /// Both; under Miri, which loads no libraries, the latter.
    pub(crate) fn all() -> Vec<Self> {
        let loaded = (!cfg!(miri)).then(Self::new);
        loaded.into_iter().chain([Self::linked()]).collect()
    }

    /// Both hooks with a list; none if it is refused.
    pub(crate) fn hooks(self, names: [&str; 2], list: &str) -> [Option<Hook>; 2] {
        let buffer = |text: &str| Buffer { data: text.as_ptr(), length: text.len() };
        let null = std::ptr::null_mut();
        let [extract, inject] = names.map(buffer);
        // SAFETY: the texts are there until the functions return.
        let configs = unsafe {
            [
                (self.extract_new)(null, extract, buffer(list)),
                (self.inject_new)(null, inject, buffer(list)),
            ]
        };
        configs.map(|config| (!config.is_null()).then_some(Hook { library: self, config }))
    }
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Hook {
    library: Loaded,
    config: *const c_void,
}

// SAFETY: the library's configurations are for all threads; that is tested.
unsafe impl Send for Hook {}

impl Hook {
    /// As Envoy does when a listener is gone: hooks of a pair, in their order.
    pub(crate) fn destroy(pair: [Self; 2]) {
        for (index, hook) in pair.into_iter().enumerate() {
            // SAFETY: it is not used any more.
            unsafe { (hook.library.destroy[index])(hook.config) };
        }
    }

    pub(crate) fn extract(&self, list: List) -> List {
        let mut request = RefCell::new(list);
        // SAFETY: this is what the callbacks take for a request.
        assert!(unsafe { (self.library.extract)(self.config, (&raw mut request).cast()) });
        request.into_inner()
    }

    pub(crate) fn inject(&self, list: List) -> List {
        let mut request = RefCell::new(list);
        // SAFETY: this is what the callbacks take for a request.
        let status = unsafe {
            let filter = (self.library.inject_filter)(self.config, (&raw mut request).cast());
            (self.library.inject)((&raw mut request).cast(), filter, true)
        };
        assert_eq!(status, 0);
        request.into_inner()
    }
}
