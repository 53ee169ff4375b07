//! Where things are kept, by the XDG base directory specification.

use std::path::PathBuf;

use crate::environment;
use crate::failure::{Failure, Outcome};

/// `$XDG_DATA_HOME/ursa/<name>`: what a control plane keeps.
pub(crate) fn data(name: &str) -> Outcome<PathBuf> {
    Ok(base("XDG_DATA_HOME", ".local/share", "--data-dir")?.join("ursa").join(name))
}

/// `$XDG_STATE_HOME/ursa/<name>`: what is to outlive a restart of the program.
pub(crate) fn state(name: &str) -> Outcome<PathBuf> {
    Ok(base("XDG_STATE_HOME", ".local/state", "--data-dir")?.join("ursa").join(name))
}

/// `$XDG_CACHE_HOME/ursa`: what can be fetched again.
pub(crate) fn cache() -> Outcome<PathBuf> {
    Ok(base("XDG_CACHE_HOME", ".cache", "--envoy")?.join("ursa"))
}

fn base(variable: &str, below_home: &str, flag: &str) -> Outcome<PathBuf> {
    if let Some(set) =
        environment::get(variable).map(PathBuf::from).filter(|path| path.is_absolute())
    {
        return Ok(set);
    }
    let home = environment::get("HOME").map(PathBuf::from).ok_or_else(|| {
        Failure::new(format!("neither {variable} nor HOME is set"))
            .help(format!("set one of them, or say where with {flag}"))
    })?;
    Ok(home.join(below_home))
}
