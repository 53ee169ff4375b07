//! The only place that reads the environment. Every variable that `ursa` itself obeys is named here or in an
//! argument's help.

use std::collections::BTreeMap;
use std::ffi::OsString;

/// Everything, for the agent: backends and resource attributes may refer to any variable. Values that are not
/// Unicode are left out.
pub(crate) fn all() -> BTreeMap<String, String> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

/// Whether a variable is set to something.
pub(crate) fn is_set(name: &str) -> bool {
    std::env::var_os(name).is_some_and(|value| !value.is_empty())
}

/// A variable's value, unless empty.
pub(crate) fn get(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}
