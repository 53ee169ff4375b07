//! The library itself, as bytes to be written beside Envoy.

/// A shared library.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Library {
    /// A name that is another one when the bytes are others: Envoy does not load a new file at the path of one that
    /// it uses.
    pub file_name: &'static str,
    /// The content of the file.
    pub bytes: &'static [u8],
}

/// The Envoys that the library is tested with, by the first two numbers of their versions.
pub const ENVOYS: &[(u32, u32)] = &[(1, 40)];

/// The library for this platform; none where there is no Envoy that could load it.
#[cfg(has_library)]
pub const LIBRARY: Option<Library> = Some(Library {
    file_name: concat!("libursa-envoy-module-", env!("URSA_ENVOY_MODULE_HASH"), ".so"),
    bytes: include_bytes!(concat!(env!("OUT_DIR"), "/module.so")),
});

/// The library for this platform; none where there is no Envoy that could load it.
#[cfg(not(has_library))]
pub const LIBRARY: Option<Library> = None;
