//! Takes the agent on this kernel out of the machine's own network before it does anything.

use std::fs;
use std::io;

use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{getegid, geteuid};

/// Why the agent has no namespaces of its own. It does nothing then.
#[derive(Debug, thiserror::Error)]
pub enum ConfineError {
    /// Not root, and user namespaces are switched off.
    #[error(
        "no namespaces of its own ({0}): run as root, or allow user namespaces (sysctl user.max_user_namespaces, kernel.unprivileged_userns_clone)"
    )]
    Unshare(#[source] Errno),
    /// The user namespace has no mapping.
    #[error("map the user namespace ({path}): {source}")]
    Map {
        /// Which file.
        path: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// Mounts would reach the machine's own.
    #[error("make the mounts private: {0}")]
    Mount(#[source] Errno),
}

/// Enters a network and a mount namespace of its own, and as a normal user a user namespace that owns them.
///
/// # Errors
/// When the system does not allow it; nothing has been touched then.
pub fn confine() -> Result<(), ConfineError> {
    let (user, group) = (geteuid(), getegid());
    if !user.is_root() {
        unshare(CloneFlags::CLONE_NEWUSER).map_err(ConfineError::Unshare)?;
        // A group may be mapped without CAP_SETGID only after setgroups() is given up (user_namespaces(7)).
        for (path, text) in [
            ("/proc/self/setgroups", "deny".to_owned()),
            ("/proc/self/uid_map", format!("0 {user} 1")),
            ("/proc/self/gid_map", format!("0 {group} 1")),
        ] {
            fs::write(path, text).map_err(|source| ConfineError::Map { path, source })?;
        }
    }
    unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS).map_err(ConfineError::Unshare)?;
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)
        .map_err(ConfineError::Mount)
}
