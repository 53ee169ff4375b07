#![doc = include_str!("../README.md")]
#![no_std]
#![expect(unsafe_code, reason = "Envoy speaks C; the page says why each use holds")]
#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]
#![warn(clippy::multiple_unsafe_ops_per_block)]

mod abi;
mod callbacks;
mod config;
mod dropped;
pub mod early;
pub mod filter;
mod headers;
#[cfg(not(envoy_module))]
mod library;
mod random;

#[cfg(not(envoy_module))]
pub use library::{ENVOYS, LIBRARY, Library};

pub use abi::Buffer;
pub use config::envoy_dynamic_module_on_program_init;

/// There is no way to here: if the compiler found one, the library would need a symbol that nobody has, which a test
/// looks for.
#[cfg(envoy_module)]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    unsafe extern "C" {
        fn ursa_envoy_module_can_panic() -> !;
    }
    // SAFETY: a library with this call in it is not loaded, as the symbol is not found.
    unsafe { ursa_envoy_module_can_panic() }
}
