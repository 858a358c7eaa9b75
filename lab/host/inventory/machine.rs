//! Privileges, QEMU, the accelerator, processors and disk.

use std::fs;
use std::io;
use std::num::NonZero;
use std::path::Path;

use crate::install;
use crate::inventory::{Finding, Mend};
use crate::vm::accel::{self, Choice};
use crate::vm::nics::IGB_SINCE;
use crate::vm::qemu::{Accelerator, Qemu, QemuError};

pub(super) fn privileges() -> Finding {
    if nix::unistd::geteuid().is_root() {
        return Finding::ok("privileges", "root");
    }
    let without = "the lab installs no packages, and `--kernel host` needs user namespaces";
    Finding::limited("privileges", format!("user {}, not root", nix::unistd::geteuid()), without)
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
    let upgrade = || Mend::Command(install::as_root(&install::command_line(install::QEMU_PACKAGE)));
    [warm.required(), nics]
        .map(|finding| if finding.without.is_some() { finding.mended_by(upgrade()) } else { finding })
        .into()
}

/// KVM, as far as the device, or an earlier run with this cache, tells without a boot.
pub(super) fn accelerator(cache: Option<&Path>) -> Finding {
    let known =
        cache.zip(Qemu::find().ok()).and_then(|(cache, qemu)| accel::known(Choice::Auto, &qemu, cache));
    let boots = known.map(|decision| match decision.accelerator {
        Accelerator::Kvm => Ok(()),
        Accelerator::Tcg => Err(decision.note.unwrap_or_default()),
    });
    let processor = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    kvm(accel::open_device(), boots, &processor)
}

/// `boots` is what a boot with it showed, if one was tried; `processor` is /proc/cpuinfo.
fn kvm(device: io::Result<()>, boots: Option<Result<(), String>>, processor: &str) -> Finding {
    let part = "kvm";
    let translated = || format!("QEMU translates each instruction (TCG); {}", accel::UNTESTED_WITH_KVM);
    let Err(error) = device else {
        return match boots {
            None => {
                let found = "/dev/kvm opens; the first run with it finds out whether a guest boots";
                Finding::limited(part, found, accel::UNTESTED_WITH_KVM)
            }
            Some(Ok(())) => Finding::limited(part, "a guest has booted with it", accel::UNTESTED_WITH_KVM),
            Some(Err(note)) => {
                Finding::limited(part, note.strip_prefix("no kvm: ").unwrap_or(&note), translated())
            }
        };
    };
    let found = accel::device_error(&error);
    if error.kind() == io::ErrorKind::PermissionDenied {
        return Finding::limited(part, found, translated())
            .mended_by(Mend::Command(install::as_root("usermod -aG kvm $USER; newgrp kvm")));
    }
    let flags = processor.lines().find(|line| line.starts_with("flags")).unwrap_or_default();
    let module = [("vmx", "kvm_intel"), ("svm", "kvm_amd")]
        .into_iter()
        .find(|(flag, _)| flags.split_whitespace().any(|word| word == *flag));
    match module {
        Some((_, module)) => Finding::limited(part, found, translated())
            .mended_by(Mend::Command(install::as_root(&format!("modprobe {module}")))),
        // The firmware has it off, or this is a virtual machine whose host does not pass it on.
        None => {
            Finding::limited(part, format!("{found}; the processor shows neither vmx nor svm"), translated())
        }
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
    fn kvm_is_reported_with_what_an_earlier_boot_showed() {
        let opens = || Ok(());
        let failure = Err("no kvm: /dev/kvm is there, but a guest does not boot with it: why".to_owned());
        let failed = kvm(opens(), Some(failure), "");
        assert_eq!(failed.found, "/dev/kvm is there, but a guest does not boot with it: why");
        assert!(failed.without.is_some_and(|without| without.starts_with("QEMU translates")));
        let worked = kvm(opens(), Some(Ok(())), "");
        assert_eq!(worked.found, "a guest has booted with it");
        assert!(kvm(opens(), None, "").found.contains("the first run with it"));
    }

    #[test]
    fn a_missing_or_forbidden_kvm_has_its_command() {
        let missing = || Err(io::ErrorKind::NotFound.into());
        let command = |finding: Finding| match finding.mend {
            Some(Mend::Command(command)) => command,
            _ => String::new(),
        };
        assert!(command(kvm(missing(), None, "flags\t: fpu svm\n")).contains("modprobe kvm_amd"));
        assert!(command(kvm(missing(), None, "flags\t: vmx fpu\n")).contains("modprobe kvm_intel"));
        let neither = kvm(missing(), None, "flags\t: fpu\n");
        assert!(neither.found.ends_with("neither vmx nor svm") && neither.mend.is_none(), "{neither:?}");
        let forbidden = kvm(Err(io::ErrorKind::PermissionDenied.into()), None, "");
        assert!(command(forbidden).contains("usermod -aG kvm"));
    }

    #[test]
    fn available_memory_is_read_in_megabytes() {
        assert_eq!(available_megabytes("MemTotal: 8000000 kB\nMemAvailable:    4096000 kB\n"), Some(4096));
        assert_eq!(available_megabytes("MemTotal: 8000000 kB\n"), None);
        assert_eq!(available_megabytes("MemAvailable: much\n"), None);
    }
}
