//! Builds the library that Envoy loads out of this crate's own source, so that the crate can hold it.
//!
//! Cargo builds this crate as a part of programs, with their profile, and has no stable way to have it a second time
//! as a shared library of another kind. So the compiler is called twice here: for `ursa-propagation`, then for the
//! library. It has one profile, whatever that of the program: a debug build holds the same library as a release.

#![expect(
    clippy::disallowed_methods,
    reason = "a build script is told everything by its environment"
)]

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where Envoy is released for, and loads libraries.
const TARGETS: [&str; 2] = ["x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu"];

/// For both crates. Level 2 is nearly as fast as 3, and the library two thirds as large. Overflow checks and unwinding
/// would only bring panics, of which there are none.
const PROFILE: [&str; 7] = [
    "-Copt-level=2",
    "-Cpanic=abort",
    "-Ccodegen-units=1",
    "-Cforce-unwind-tables=no",
    "-Cdebug-assertions=no",
    "-Coverflow-checks=no",
    "--cap-lints=allow",
];

/// Nothing is linked: what the library needs is in the process already.
const LINK: [&str; 8] = [
    "-Clto=fat",
    "-Cstrip=symbols",
    "-Clink-arg=-nostartfiles",
    "-Clink-arg=-nodefaultlibs",
    "-Clink-arg=-Wl,--build-id=none",
    "-Clink-arg=-Wl,--gc-sections",
    "-Clink-arg=-Wl,-z,now,-z,relro,-z,noexecstack",
    "--cfg=envoy_module",
];

fn main() {
    println!("cargo::rustc-check-cfg=cfg(envoy_module)");
    println!("cargo::rustc-check-cfg=cfg(has_library)");
    // The tests stand in for Envoy: the library finds its callbacks in the program that loads it.
    println!("cargo::rustc-link-arg-tests=-rdynamic");
    let target = env::var("TARGET").expect("cargo says the target");
    // Miri runs no libraries, only the same code as a part of the tests.
    if !TARGETS.contains(&target.as_str()) || env::var_os("CARGO_CFG_MIRI").is_some() {
        return;
    }
    let own = PathBuf::from(env::var("CARGO_MANIFEST_DIR").expect("cargo says where this is"));
    let out = PathBuf::from(env::var("OUT_DIR").expect("cargo says where output goes"));
    let propagation = own.with_file_name("ursa-propagation").join("src");
    for source in [&own.join("src"), &propagation] {
        println!("cargo::rerun-if-changed={}", source.display());
    }
    println!("cargo::rerun-if-changed=build.rs");

    let rlib = out.join("libursa_propagation.rlib");
    let mut first = rustc(&target);
    first.args(["--crate-name=ursa_propagation", "--crate-type=rlib"]);
    run(first.arg(propagation.join("lib.rs")).arg("-o").arg(&rlib));

    let library = out.join("module.so");
    let mut extern_ = OsString::from("--extern=ursa_propagation=");
    extern_.push(&rlib);
    let mut second = rustc(&target);
    second.args(["--crate-name=ursa_envoy_module", "--crate-type=cdylib"]).args(LINK);
    if let Some(linker) = env::var_os("RUSTC_LINKER") {
        let mut flag = OsString::from("-Clinker=");
        flag.push(linker);
        second.arg(flag);
    }
    run(second.arg(extern_).arg(own.join("src/lib.rs")).arg("-o").arg(&library));

    println!("cargo::rustc-cfg=has_library");
    println!("cargo::rustc-env=URSA_ENVOY_MODULE_HASH={:016x}", hash(&library));
}

/// The compiler that cargo uses, without wrappers and flags that are for programs.
fn rustc(target: &str) -> Command {
    let mut command = Command::new(env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
    command.arg("--edition=2024").arg(format!("--target={target}")).args(PROFILE);
    if target.starts_with("aarch64") {
        // Atomic operations in place, rather than by functions that look at the processor first.
        command.arg("-Ctarget-feature=-outline-atomics");
    }
    for variable in ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "RUSTC_WRAPPER"] {
        command.env_remove(variable);
    }
    command
}

fn run(command: &mut Command) {
    let status = command.status().expect("the compiler can be started");
    assert!(status.success(), "{command:?}: {status}");
}

/// FNV-1a, 64 bits.
fn hash(path: &Path) -> u64 {
    let bytes = std::fs::read(path).expect("the compiler wrote the library");
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
