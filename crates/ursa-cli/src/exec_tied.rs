//! `ursa exec-tied`: becomes another program that cannot outlive its parent.
//!
//! The kernel's parent-death signal is a setting of the child, so something must run in the child
//! between fork and exec. Rust can do that there only unsafely; this shim does it after its own exec
//! and then execs the program, which keeps the setting. The signal fires when the *thread* that
//! forked ends, so whoever starts the shim does it from a thread that lasts.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal};

/// Replaces this process by `program`, which is killed (SIGKILL) when process `parent` ends.
///
/// Returns only if that failed: the reason, which is also given when `parent` has ended already.
pub(crate) fn run(parent: u32, program: &OsStr, args: &[OsString]) -> io::Error {
    if let Err(error) = set_parent_process_death_signal(Some(Signal::KILL)) {
        return error.into();
    }
    // Asked after the signal was set: a parent that ended before then sends none any more.
    if i32::try_from(parent) != Ok(Pid::as_raw(getppid())) {
        return io::Error::other(format!("process {parent} is not the parent any more"));
    }
    Command::new(program).args(args).exec()
}
