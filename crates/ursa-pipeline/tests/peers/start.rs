//! Programs of others: where they lie, and starting them.

use std::collections::BTreeSet;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Mutex;

use tokio::process::{Child, Command};

/// A program in the user's cache; the variable says otherwise.
pub(crate) fn program(variable: &str, below: &str) -> PathBuf {
    let given = std::env::var_os(variable).map(PathBuf::from);
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let home = || Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache"));
    let cached = || Some(cache.or_else(home)?.join("ursa").join(below));
    let path = given.or_else(cached).expect("HOME is set");
    assert!(path.exists(), "{} is missing: run cargo xtask peers", path.display());
    path
}

/// An address that nobody listens on, another one each time.
pub(crate) fn free() -> SocketAddr {
    static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    let mut given = GIVEN.lock().unwrap();
    loop {
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        if given.insert(address.port()) {
            return address;
        }
    }
}

/// Starts it; it is killed with what is returned. What it says goes to `log`.
pub(crate) fn start(command: &mut Command, log: impl Into<Stdio>) -> Child {
    command.stdout(Stdio::null()).stderr(log).kill_on_drop(true).spawn().expect("it can be run")
}
