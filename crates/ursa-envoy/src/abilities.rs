//! What one proxy's Envoy can do that another's cannot.

/// A place that no file is at; it stands for the module's where no agent has said where that is.
const ASSUMED: &str = "/run/ursa/libursa-envoy-module.so";

/// What a proxy's Envoy can do, as its agent says. Default: what is assumed of a proxy that is not connected, which is
/// the newest Envoy with the module.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Abilities {
    /// Its version, for example `1.40.0`; unset where nobody said.
    pub envoy: Option<String>,
    /// Whether it loads the module.
    pub module: Module,
}

/// The library that Envoy loads for trace context in more formats than its tracer knows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Module {
    /// The proxy is not connected: it is assumed that it will have it.
    #[default]
    Assumed,
    /// The agent put it at this absolute path, and its Envoy loads it.
    At(String),
    /// It is not to be had, for this reason: a clause like `there is no module for this platform`.
    Missing(String),
}

impl Module {
    /// Where it lies; `None` if it is not to be had.
    pub fn path(&self) -> Option<&str> {
        match self {
            Self::Assumed => Some(ASSUMED),
            Self::At(path) => Some(path),
            Self::Missing(_) => None,
        }
    }

    /// Why it is not to be had.
    pub fn problem(&self) -> Option<&str> {
        match self {
            Self::Missing(why) => Some(why),
            Self::Assumed | Self::At(_) => None,
        }
    }
}
