//! Privileges, QEMU, the accelerator, processors and disk.

use std::num::NonZero;
use std::path::Path;

use crate::host::install;
use crate::host::inventory::{Finding, Mend};
use crate::host::vm::accel;
use crate::host::vm::nics::IGB_SINCE;
use crate::host::vm::qemu::{Qemu, QemuError};

pub(super) fn privileges() -> Finding {
    if nix::unistd::geteuid().is_root() {
        return Finding::ok("privileges", "root");
    }
    let without = "nothing is installed by the lab, and `--kernel host` needs user namespaces";
    Finding::limited("privileges", format!("user {}", nix::unistd::geteuid()), without)
}

pub(super) fn qemu() -> Vec<Finding> {
    let qemu = match Qemu::find() {
        Ok(qemu) => qemu,
        Err(error) => {
            let reason = match &error {
                QemuError::Missing { .. } => "qemu-system-x86_64 is not on PATH".to_owned(),
                other => other.to_string(),
            };
            let without = "no topology runs on a kernel other than the running one";
            return vec![
                Finding::missing("qemu", reason, without)
                    .mended_by(Mend::Package(install::QEMU_PACKAGE))
                    .required(),
            ];
        }
    };
    let release = &qemu.release;
    let warm = if qemu.has_mapped_ram() {
        Finding::ok("qemu", format!("{release}, saves and restores machines"))
    } else {
        let without = "each run boots its kernel, which takes seconds; 9.0 and later restore a saved machine";
        Finding::limited("qemu", release.clone(), without)
    };
    let nics = if qemu.version >= IGB_SINCE {
        Finding::ok("emulated NICs", "this version has igb, with VFs")
    } else {
        let without = "topologies with VFs run on substitutes, or are skipped; 8.0 and later have igb";
        Finding::limited("emulated NICs", "this version has no igb", without)
    };
    let upgrade = || Mend::Command(install::command_line(install::QEMU_PACKAGE));
    [warm.required(), nics]
        .map(|finding| if finding.without.is_some() { finding.mended_by(upgrade()) } else { finding })
        .into()
}

pub(super) fn accelerator() -> Finding {
    match accel::device_failure() {
        None => Finding::limited(
            "kvm",
            "/dev/kvm opens; the first run with it finds out whether a guest boots",
            accel::UNTESTED_WITH_KVM,
        ),
        Some(failure) => Finding::limited(
            "kvm",
            failure,
            format!("QEMU translates each instruction (TCG); {}", accel::UNTESTED_WITH_KVM),
        ),
    }
}

pub(super) fn processors() -> Finding {
    let count = std::thread::available_parallelism().map_or(1, NonZero::get);
    let memory = std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| available_megabytes(&text));
    let memory = memory.map_or("memory unknown".to_owned(), |megabytes| format!("{megabytes} MB available"));
    Finding::ok("processors", format!("{count}, {}; {memory}", accel::host_cpu()))
}

/// `MemAvailable` of /proc/meminfo, which has kB.
fn available_megabytes(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? / 1000)
}

/// What a user may still write to the file system of `path`.
pub(super) fn free_bytes(path: &Path) -> Option<u64> {
    let stat = nix::sys::statvfs::statvfs(path).ok()?;
    Some(stat.blocks_available() * stat.fragment_size())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn available_memory_is_read_in_megabytes() {
        assert_eq!(available_megabytes("MemTotal: 8000000 kB\nMemAvailable:    4096000 kB\n"), Some(4096));
        assert_eq!(available_megabytes("MemTotal: 8000000 kB\n"), None);
        assert_eq!(available_megabytes("MemAvailable: much\n"), None);
    }
}
