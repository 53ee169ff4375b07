//! What Envoy offers to modules, over a plain list of headers. The library finds it by `dlsym`.

use std::cell::RefCell;
use std::ffi::c_void;
use std::ptr;
use std::slice;
use std::sync::Mutex;

use ursa_envoy_module::Buffer;

use crate::cases::List;

/// Counters: their names, and what they count. Ids are their places, from 1 on as in Envoy.
pub(crate) static COUNTERS: Mutex<Vec<(String, u64)>> = Mutex::new(Vec::new());

/// What was logged.
pub(crate) static LOG: Mutex<Vec<String>> = Mutex::new(Vec::new());

#[repr(C)]
pub(crate) struct Entry {
    name: Buffer,
    value: Buffer,
}

fn text(buffer: Buffer) -> String {
    // SAFETY: what the library passes are bytes of its own.
    let bytes = unsafe { slice::from_raw_parts(buffer.data, buffer.length) };
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn buffer(bytes: &[u8]) -> Buffer {
    Buffer { data: bytes.as_ptr(), length: bytes.len() }
}

fn list<'a>(request: *const c_void) -> &'a RefCell<List> {
    // SAFETY: the tests pass this to the hooks, which pass it on.
    unsafe { &*request.cast() }
}

fn write(request: *const c_void, entries: *mut Entry) -> bool {
    for (index, (name, value)) in list(request).borrow().iter().enumerate() {
        let entry = Entry { name: buffer(name.as_bytes()), value: buffer(value) };
        // SAFETY: the library has room for as many as it was told.
        unsafe { entries.add(index).write(entry) };
    }
    true
}

fn value(
    request: *const c_void,
    name: Buffer,
    at: *mut Buffer,
    index: usize,
    count: *mut usize,
) -> bool {
    let name = text(name);
    let list = list(request).borrow();
    let values: Vec<_> = list.iter().filter(|(other, _)| *other == name).collect();
    let found = values.get(index).map(|(_, value)| buffer(value));
    // SAFETY: the library has room for both results.
    unsafe {
        count.write(values.len());
        at.write(found.unwrap_or(Buffer { data: ptr::null(), length: 0 }));
    }
    found.is_some()
}

/// As Envoy, removes all of that name first. What is removed is overwritten: whoever looks at it later is found out.
fn put(request: *const c_void, name: Buffer, value: Option<Buffer>) -> bool {
    let (name, value) = (text(name), value.map(text));
    let mut list = list(request).borrow_mut();
    for (_, value) in list.iter_mut().filter(|(other, _)| *other == name) {
        value.fill(b'!');
    }
    list.retain(|(other, _)| *other != name);
    list.extend(value.map(|value| (name, value.into_bytes())));
    true
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_callback_log(_level: u32, message: Buffer) {
    LOG.lock().unwrap().push(text(message));
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_callback_early_header_mutation_get_headers_size(
    request: *const c_void,
) -> usize {
    list(request).borrow().len()
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_callback_early_header_mutation_get_headers(
    request: *const c_void,
    entries: *mut Entry,
) -> bool {
    write(request, entries)
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_callback_early_header_mutation_get_header_value(
    request: *const c_void,
    name: Buffer,
    at: *mut Buffer,
    index: usize,
    count: *mut usize,
) -> bool {
    value(request, name, at, index, count)
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_callback_early_header_mutation_set_header(
    request: *const c_void,
    name: Buffer,
    value: Buffer,
) -> bool {
    put(request, name, Some(value))
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_callback_early_header_mutation_remove_header(
    request: *const c_void,
    name: Buffer,
) -> bool {
    put(request, name, None)
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_callback_http_get_headers_size(
    request: *const c_void,
    _kind: u32,
) -> usize {
    list(request).borrow().len()
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_callback_http_get_headers(
    request: *const c_void,
    _kind: u32,
    entries: *mut Entry,
) -> bool {
    write(request, entries)
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_callback_http_get_header(
    request: *const c_void,
    _kind: u32,
    name: Buffer,
    at: *mut Buffer,
    index: usize,
    count: *mut usize,
) -> bool {
    value(request, name, at, index, count)
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_callback_http_set_header(
    request: *const c_void,
    _kind: u32,
    name: Buffer,
    value: Buffer,
) -> bool {
    put(request, name, (!value.data.is_null()).then_some(value))
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_callback_http_filter_config_define_counter(
    _config: *const c_void,
    name: Buffer,
    _labels: *const Buffer,
    labels: usize,
    id: *mut usize,
) -> u32 {
    assert_eq!(labels, 0);
    let (name, mut counters) = (text(name), COUNTERS.lock().unwrap());
    let place = counters.iter().position(|(other, _)| *other == name).unwrap_or_else(|| {
        counters.push((name, 0));
        counters.len() - 1
    });
    // SAFETY: the library has room for it.
    unsafe { id.write(place + 1) };
    0
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_callback_http_filter_increment_counter(
    _request: *const c_void,
    id: usize,
    _labels: *const Buffer,
    labels: usize,
    by: u64,
) -> u32 {
    assert!(labels == 0 && by > 0);
    COUNTERS.lock().unwrap()[id - 1].1 += by;
    0
}
