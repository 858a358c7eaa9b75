//! Programs that `lab exec`, `lab shell` and a build of netdevsim use from this machine.

use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::inventory::{Finding, Mend};
use crate::run::plugins::INSTALLED;

/// A group of programs: the part, the package, the programs, and what does not work without them.
type Group = (&'static str, &'static str, &'static [&'static str], &'static str);

/// Programs of this machine that are run in a guest.
const IN_GUESTS: [Group; 6] = [
    ("iproute2", "iproute2", &["ip", "tc", "bridge"], "`lab shell` shows no links, queues and bridges"),
    ("ethtool", "ethtool", &["ethtool"], "`lab shell` shows no features and driver statistics"),
    ("tcpdump", "tcpdump", &["tcpdump"], "`lab shell` cannot watch frames"),
    ("bpftool", "bpftool", &["bpftool"], "`lab shell` cannot list BPF programs"),
    ("nftables", "nftables", &["nft"], "`lab shell` shows no nftables rules"),
    ("ping", "iputils-ping", &["ping"], "`lab shell` cannot ping"),
];

/// What builds netdevsim.
const COMPILER: Group = (
    "compiler",
    "build-essential",
    &["make", "gcc", "ld"],
    "netdevsim is not built; topologies with it are skipped",
);

/// Findings for programs on `path`, the variable `PATH`, and for those that a guest finds on `guest_path`: a user's own has no
/// /usr/sbin on Debian, a guest's has.
pub(super) fn findings(path: &OsStr, guest_path: &OsStr) -> Vec<Finding> {
    let mut findings: Vec<Finding> = IN_GUESTS.iter().map(|group| group_on(guest_path, group)).collect();
    findings.push(group_on(path, &COMPILER));
    findings.push(plugins());
    findings
}

fn group_on(path: &OsStr, (part, package, programs, without): &Group) -> Finding {
    let is_there = |program: &&str| {
        let candidates = std::env::split_paths(path).map(|dir| dir.join(program));
        candidates
            .filter_map(|file| file.metadata().ok())
            .any(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
    };
    let (there, missing): (Vec<&str>, Vec<&str>) = programs.iter().partition(|program| is_there(program));
    if missing.is_empty() {
        return Finding::ok(*part, there.join(" "));
    }
    Finding::missing(*part, format!("not found: {}", missing.join(" ")), *without)
        .mended_by(Mend::Package(package))
}

fn plugins() -> Finding {
    if Path::new(INSTALLED).join("macvlan").is_file() {
        return Finding::ok("CNI plugins", INSTALLED);
    }
    let without = "`--cni real` needs --cni-plugins DIR; else the lab's own implementation attaches pods";
    Finding::missing("CNI plugins", format!("none in {INSTALLED}"), without)
        .mended_by(Mend::Package("containernetworking-plugins"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inventory::State;

    #[test]
    fn a_program_is_an_executable_file_on_path() {
        let dir = tempfile::tempdir().unwrap();
        for (name, mode) in [("ip", 0o755), ("tc", 0o644)] {
            let file = dir.path().join(name);
            std::fs::write(&file, "").unwrap();
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
        }
        std::fs::create_dir(dir.path().join("bridge")).unwrap();
        let found = findings(OsStr::new(""), dir.path().as_os_str());
        assert_eq!((found[0].state, found[0].found.as_str()), (State::Missing, "not found: tc bridge"));
        assert_eq!(found[0].mend, Some(Mend::Package("iproute2")));
        // What a guest runs is not looked for where the user's own programs are, and the compiler is only there.
        let found = findings(dir.path().as_os_str(), OsStr::new(""));
        assert_eq!(found[0].found, "not found: ip tc bridge");
        std::fs::write(dir.path().join("gcc"), "").unwrap();
        let executable = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(dir.path().join("gcc"), executable).unwrap();
        let found = findings(dir.path().as_os_str(), OsStr::new(""));
        let compiler = found.iter().find(|finding| finding.part == "compiler").unwrap();
        assert_eq!(compiler.found, "not found: make ld");
    }
}
