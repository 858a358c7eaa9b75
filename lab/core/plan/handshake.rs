//! What the host and PID 1 of a guest agree on before the first plan: where they talk, and how a machine ends.

use serde::{Deserialize, Serialize};

/// Name of the virtio-serial port that carries requests and records, one JSON value a line.
pub const PORT_NAME: &str = "org.bondlab.agent";

/// Raised when a line changes its meaning: a saved machine may be older than the host that restores it.
pub const PROTOCOL: u32 = 1;

/// What every line starts with that PID 1 or the agent writes to the console, to tell it from the kernel's.
pub const CONSOLE_MARK: &str = "lab: ";

/// The last file of a guest's initramfs. The kernel goes on with what it could unpack (init/initramfs.c,
/// `do_populate_rootfs()` only logs "Initramfs unpacking failed"), so a guest has all files only if it has this one.
pub const INITRAMFS_END: &str = "lab/end";

/// I/O port of QEMU's `isa-debug-exit`: a byte written there ends the machine at once, without a shutdown.
pub const EXIT_PORT: u16 = 0xf4;

/// How the guest ended the machine itself. The values are arbitrary, but no status that QEMU has of its own (0 and 1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum GuestExit {
    /// The agent did its work to the end.
    Finished = 0x2a,
    /// The agent panicked, returned an error or was killed; the console has its last words.
    AgentDied = 0x2b,
    /// PID 1 could not prepare the guest; the console says what was missing.
    SetupFailed = 0x2c,
    /// The kernel did not unpack all of the initramfs.
    NotUnpacked = 0x2d,
}

impl GuestExit {
    /// Every way for a guest to end its machine.
    pub const ALL: [Self; 4] = [Self::Finished, Self::AgentDied, Self::SetupFailed, Self::NotUnpacked];

    /// The status QEMU exits with: `isa-debug-exit` shifts the byte and sets the lowest bit (hw/misc/debugexit.c).
    #[must_use]
    pub fn qemu_status(self) -> i32 {
        (i32::from(self as u8) << 1) | 1
    }

    /// The exit that made QEMU return `status`, if a guest did.
    #[must_use]
    pub fn from_qemu_status(status: i32) -> Option<Self> {
        Self::ALL.into_iter().find(|exit| exit.qemu_status() == status)
    }
}

/// The first line of a guest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hello {
    /// Said once, when the guest waits for work.
    pub ready: Ready,
}

/// A guest that waits for work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ready {
    /// [`PROTOCOL`] of the guest.
    pub protocol: u32,
    /// `uname -r`.
    pub release: String,
    /// How many modules were loaded, or were there already.
    pub modules: usize,
    /// Modules the kernel refused: name and reason. Whether that matters depends on the plan.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refused_modules: Vec<RefusedModule>,
}

/// A module the kernel did not take.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RefusedModule {
    /// As it stands in the list, without parameters.
    pub name: String,
    /// What the kernel or the initramfs said.
    pub reason: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_names_one_exit_and_never_one_of_qemus_own() {
        for exit in GuestExit::ALL {
            assert_eq!(GuestExit::from_qemu_status(exit.qemu_status()), Some(exit));
        }
        assert_eq!(GuestExit::from_qemu_status(0), None);
        assert_eq!(GuestExit::from_qemu_status(1), None);
    }

    #[test]
    fn hello_is_one_line_with_the_agreed_names() {
        let line = r#"{"ready":{"protocol":1,"release":"6.12.57","modules":3}}"#;
        let hello: Hello = serde_json::from_str(line).unwrap();
        assert_eq!(hello.ready.modules, 3);
        assert_eq!(serde_json::to_string(&hello).unwrap(), line);
    }
}
