//! Files of a sosreport or a supportconfig: which of them are read, and the commands that their names stand for.

use crate::net::name::IfName;

/// Beginnings of names below `sos_commands`, with the folders that have them. sos writes a command's output into a file that is
/// called as the command, with `_` for spaces (`sos_get_command_output()`, `mangle_command()`).
const COMMANDS: [(&str, &[&str]); 3] = [
    ("sos_commands/networking/", &["ip_", "ethtool_", "bridge_", "tc_", "nft_"]),
    ("sos_commands/firewall_tables/", &["nft_"]),
    ("sos_commands/kernel/", &["uname_-a", "dmesg"]),
];

/// Configurations and states, by the place that they have on the machine.
const PLACES: [&str; 14] = [
    "proc/net/bonding/",
    "proc/net/vlan/",
    "proc/version_signature",
    "etc/sysconfig/network-scripts/ifcfg-",
    "etc/sysconfig/network/ifcfg-",
    "etc/NetworkManager/system-connections/",
    "etc/netplan/",
    "etc/network/interfaces",
    "etc/systemd/network/",
    "etc/os-release",
    "etc/redhat-release",
    "etc/cni/net.d/",
    "etc/pve/.version",
    "usr/lib/os-release",
];

/// Files of supportconfig that are read: several commands and configurations in each.
const SUPPORTCONFIG: [&str; 3] = ["network.txt", "basic-environment.txt", "boot.txt"];

/// What a tree of files is a report of, by the paths in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Report {
    /// `sos report`.
    Sosreport,
    /// SUSE's.
    Supportconfig,
}

impl Report {
    /// What it is called.
    pub fn word(self) -> &'static str {
        match self {
            Self::Sosreport => "sosreport",
            Self::Supportconfig => "supportconfig",
        }
    }

    /// By one path in it.
    pub fn of(path: &str) -> Option<Self> {
        let path = plain(path);
        if path.starts_with("sos_commands/") || path.contains("/sos_commands/") {
            return Some(Self::Sosreport);
        }
        let name = path.rsplit('/').next().unwrap_or_default();
        (name == "basic-environment.txt" || name == "supportconfig.txt").then_some(Self::Supportconfig)
    }
}

fn plain(path: &str) -> &str {
    path.trim_start_matches("./").trim_start_matches('/')
}

/// The part of a path from one of these folders on, wherever it begins.
fn below<'p>(path: &'p str, part: &str) -> Option<&'p str> {
    let path = plain(path);
    let at = if path.starts_with(part) { 0 } else { path.find(&format!("/{part}"))? + 1 };
    Some(&path[at..])
}

/// Whether a file of a report's tree says something of the network. The others are logs, packages and hardware.
pub fn is_wanted(path: &str) -> bool {
    if path.contains("/namespaces/") {
        return false;
    }
    let name = path.rsplit('/').next().unwrap_or_default();
    let is_command = COMMANDS.iter().any(|(folder, begins)| {
        below(path, folder).is_some_and(|rest| {
            let name = &rest[folder.len()..];
            !name.contains('/') && begins.iter().any(|begin| name.starts_with(begin))
        })
    });
    let is_backup = name.ends_with('~') || name.ends_with(".bak") || name.ends_with(".rpmsave");
    is_command
        || SUPPORTCONFIG.contains(&name)
        || (!is_backup && PLACES.iter().any(|place| below(path, place).is_some()))
}

/// The command that a file's name stands for: what a transcript would have above it.
pub fn heading(path: &str) -> Option<String> {
    for (folder, begins) in COMMANDS {
        let Some(rest) = below(path, folder) else { continue };
        let name = &rest[folder.len()..];
        return begins.iter().any(|begin| name.starts_with(begin)).then(|| format!("# {}", unmangled(name)));
    }
    let place = PLACES.iter().find_map(|place| below(path, place))?;
    Some(format!("# cat /{place}"))
}

/// `ethtool_-S_eth0_1` is `ethtool -S eth0_1`: a device's name may have an underscore, a flag has none.
fn unmangled(name: &str) -> String {
    let Some(rest) = name.strip_prefix("ethtool_") else { return name.replace('_', " ") };
    let (flag, device) = match rest.strip_prefix('-').and_then(|rest| rest.split_once('_')) {
        Some((flag, device)) => (format!("-{flag} "), device),
        None => (String::new(), rest),
    };
    if device.parse::<IfName>().is_err() {
        return name.replace('_', " ");
    }
    format!("ethtool {flag}{device}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[rstest::rstest]
    #[case("sosreport-a-1/sos_commands/networking/ip_-s_-d_link", Some("# ip -s -d link"))]
    #[case("sosreport-a-1/sos_commands/networking/ethtool_-S_eth0_1", Some("# ethtool -S eth0_1"))]
    #[case("sosreport-a-1/sos_commands/networking/ethtool_bond0", Some("# ethtool bond0"))]
    #[case("sosreport-a-1/proc/net/bonding/bond0", Some("# cat /proc/net/bonding/bond0"))]
    #[case("./etc/sysconfig/network/ifcfg-eth0", Some("# cat /etc/sysconfig/network/ifcfg-eth0"))]
    #[case("sosreport-a-1/sos_commands/networking/netstat_-neopa", None)]
    #[case("sosreport-a-1/sos_commands/networking/namespaces/x/ip_netns_exec_x_ip_-d_a", None)]
    #[case("sosreport-a-1/var/log/messages", None)]
    #[case("scc_a_1/network.txt", None)]
    fn files_of_a_report_have_the_commands_that_they_are_called_after(
        #[case] path: &str,
        #[case] expected: Option<&str>,
    ) {
        assert_eq!(heading(path).filter(|_| is_wanted(path)).as_deref(), expected);
        assert_eq!(is_wanted(path), expected.is_some() || path.ends_with("network.txt"), "{path}");
    }

    #[test]
    fn a_report_is_known_by_its_paths() {
        assert_eq!(Report::of("sosreport-a/sos_commands/x/y"), Some(Report::Sosreport));
        assert_eq!(Report::of("scc_a/basic-environment.txt"), Some(Report::Supportconfig));
        assert_eq!(Report::of("backup/etc/hosts"), None);
    }
}
