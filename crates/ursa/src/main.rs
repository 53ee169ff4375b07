//! `ursa`: observability for Envoy meshes, in one binary.
//!
//! The program itself, and the journeys that use it as people do. All that it does is in `ursa-cli`, so
//! that what need not be fast is made small, while this is linked for speed.

use std::process::ExitCode;

fn main() -> ExitCode {
    ursa_cli::run()
}
