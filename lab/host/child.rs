//! Child processes that do not outlive the lab.

use std::io;
use std::os::unix::process::{CommandExt, parent_id};
use std::process::Command;

use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;

/// Arguments that keep apt, run by root, from becoming its sandbox user even for a moment.
///
/// In a cache that only root can read it downloads without the sandbox anyway.
pub const APT_AS_CALLER: [&str; 2] = ["-o", "APT::Sandbox::User=root"];

/// Has the kernel kill the child when the thread that starts it ends, however it ends.
///
/// A child must be waited for by the thread that spawned it: PR_SET_PDEATHSIG follows the thread. A child
/// that changes its user loses the signal (commit_creds()); apt does so, see [`APT_AS_CALLER`].
pub fn die_with_parent(command: &mut Command) {
    let lab = std::process::id();
    let arm = move || {
        set_pdeathsig(Signal::SIGKILL)?;
        // The parent may have died between fork and prctl; then no signal comes.
        if parent_id() != lab {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        Ok(())
    };
    // SAFETY: between fork and exec `arm` makes two system calls, and neither allocates nor locks.
    unsafe { command.pre_exec(arm) };
}
