//! A request's headers, read in one pass and changed.

use core::mem::MaybeUninit;

use ursa_propagation::{Changes, Header, Headers, LINES_MAX};

use crate::abi::{Buffer, Entry};

/// Headers that are read in one pass. Envoy lets 100 in unless told otherwise; of more, each name is looked up.
const ENTRIES_MAX: usize = 256;

/// The header map of one request, for as long as a hook runs.
pub(crate) trait HeaderMap {
    /// How many headers there are.
    fn size(&self) -> usize;

    /// Writes all headers, [`size`](Self::size) of them; false if there is no map.
    ///
    /// # Safety
    ///
    /// There is room for as many.
    unsafe fn write(&self, entries: *mut Entry) -> bool;

    /// A header's value of that index.
    fn value(&self, name: &[u8], index: usize) -> Option<Buffer>;

    /// Sets a header, in place of all of that name. The value is not empty: what that does differs between versions.
    fn set(&self, name: &str, value: &[u8]);

    /// Removes all headers of that name.
    fn remove(&self, name: &str);
}

/// Finds any header by its name in lower case; of several the first.
pub(crate) type Find<'h> = dyn Fn(&[u8]) -> Option<&'h [u8]> + 'h;

/// Decides on changes, then makes them.
///
/// # Safety
///
/// The map's headers do not change other than by its own functions, and are there until this returns.
pub(crate) unsafe fn change(
    map: &impl HeaderMap,
    decide: impl for<'h> FnOnce(&Headers<'h>, &Find<'h>, &mut Changes),
) {
    let mut changes = Changes::default();
    {
        // SAFETY: nothing is changed as long as the headers are used, which is until this block ends: the changes
        // are copies.
        let headers = unsafe { read(map) };
        // SAFETY: likewise.
        let find = |name: &[u8]| map.value(name, 0).map(|value| unsafe { value.bytes() });
        decide(&headers, &find, &mut changes);
    }
    for (header, value) in changes.iter() {
        match value {
            Some(value) => map.set(header.name(), value),
            None => map.remove(header.name()),
        }
    }
}

/// The headers that matter.
///
/// # Safety
///
/// The map does not change as long as `'a`.
unsafe fn read<'a>(map: &impl HeaderMap) -> Headers<'a> {
    let size = map.size();
    // SAFETY: the caller's promise is passed on.
    if size > ENTRIES_MAX { unsafe { look_up(map) } } else { unsafe { pass(map, size) } }
}

/// # Safety
///
/// As for [`read`]; `size` is the map's, and at most [`ENTRIES_MAX`].
unsafe fn pass<'a>(map: &impl HeaderMap, size: usize) -> Headers<'a> {
    let mut headers = Headers::default();
    let mut entries = [const { MaybeUninit::<Entry>::uninit() }; ENTRIES_MAX];
    // SAFETY: there is room for ENTRIES_MAX, and no more are written.
    if !unsafe { map.write(entries.as_mut_ptr().cast()) } {
        return headers;
    }
    for entry in entries.iter().take(size) {
        // SAFETY: as many were written.
        let entry = unsafe { entry.assume_init_ref() };
        // SAFETY: names and values are the map's.
        let name = unsafe { entry.name.bytes() };
        // SAFETY: as before.
        headers.add(name, unsafe { entry.value.bytes() });
    }
    headers
}

/// # Safety
///
/// As for [`read`].
unsafe fn look_up<'a>(map: &impl HeaderMap) -> Headers<'a> {
    let mut headers = Headers::default();
    for header in Header::ALL {
        // One more than is kept, so that it is known that there were more.
        for index in 0..=LINES_MAX {
            let Some(value) = map.value(header.name().as_bytes(), index) else { break };
            // SAFETY: values are the map's.
            headers.add(header.name().as_bytes(), unsafe { value.bytes() });
        }
    }
    headers
}
