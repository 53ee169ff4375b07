//! What both sides of the border are made of. Source: `abi.h` of Envoy's dynamic modules, 1.38 to 1.40.

use core::ffi::{CStr, c_char, c_void};
use core::marker::PhantomData;
use core::mem;
use core::ptr;
use core::sync::atomic::{AtomicPtr, Ordering};

/// Bytes of somebody else, passed as two words. `envoy_dynamic_module_type_envoy_buffer`, `…_module_buffer`.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Buffer {
    /// The first byte; anything, also null, if there are none.
    pub data: *const u8,
    /// How many bytes.
    pub length: usize,
}

impl Buffer {
    pub(crate) const EMPTY: Self = Self { data: ptr::null(), length: 0 };

    pub(crate) fn of(bytes: &[u8]) -> Self {
        Self { data: bytes.as_ptr(), length: bytes.len() }
    }

    /// The bytes.
    ///
    /// # Safety
    ///
    /// They are there and do not change as long as `'a`.
    pub(crate) unsafe fn bytes<'a>(self) -> &'a [u8] {
        if self.data.is_null() {
            return &[];
        }
        // SAFETY: not null; there, and unchanged, by the caller's promise.
        unsafe { core::slice::from_raw_parts(self.data, self.length) }
    }
}

/// A header. `envoy_dynamic_module_type_envoy_http_header`.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entry {
    pub(crate) name: Buffer,
    pub(crate) value: Buffer,
}

/// A function of the program that loaded the library, looked up by its name when the library is loaded.
///
/// It is not linked against: Envoy resolves all symbols at once, so an Envoy that lacks one of them would load none.
pub(crate) struct Callback<F> {
    name: &'static CStr,
    address: AtomicPtr<c_void>,
    of: PhantomData<F>,
}

impl<F: Copy> Callback<F> {
    /// # Safety
    ///
    /// `F` is a function pointer, and the type of the function that programs have under that name.
    pub(crate) const unsafe fn new(name: &'static CStr) -> Self {
        Self { name, address: AtomicPtr::new(ptr::null_mut()), of: PhantomData }
    }

    #[cfg(not(miri))]
    pub(crate) fn look_up(&self) {
        self.put(look_up(self.name));
    }

    pub(crate) fn put(&self, address: *mut c_void) {
        self.address.store(address, Ordering::Release);
    }

    /// The function, if the program has it.
    pub(crate) fn get(&self) -> Option<F> {
        let address = self.address.load(Ordering::Acquire);
        if address.is_null() {
            return None;
        }
        // SAFETY: by the promise of `new` F is the type of the function at that address, and as large.
        Some(unsafe { mem::transmute_copy::<*mut c_void, F>(&address) })
    }
}

/// Where the program has a symbol, or null.
#[cfg(not(miri))]
fn look_up(name: &CStr) -> *mut c_void {
    unsafe extern "C" {
        fn dlsym(handle: *mut c_void, symbol: *const c_char) -> *mut c_void;
    }
    // SAFETY: null is RTLD_DEFAULT on Linux, where alone this is loaded; the name ends with a zero byte.
    unsafe { dlsym(ptr::null_mut(), name.as_ptr()) }
}
