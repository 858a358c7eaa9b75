//! What the running kernel has for `--kernel host`: modules, user namespaces, and what the drop observer needs.

use std::fs;
use std::path::Path;

use crate::install;
use crate::inventory::{Finding, Mend};

/// The modules of most topologies, and what is not to be had without each.
const MODULES: [(&str, &str); 8] = [
    ("veth", "cables"),
    ("bonding", "bonds"),
    ("8021q", "VLANs"),
    ("dummy", "dummies"),
    ("bridge", "switches"),
    ("macvlan", "substitutes for VFs"),
    ("netdevsim", "netdevsim devices"),
    ("sch_plug", "queues that are held"),
];

/// Findings for the system whose root directory is `root`.
pub(super) fn findings(root: &Path) -> Vec<Finding> {
    vec![modules(root), user_namespaces(root), type_information(root)]
}

fn modules(root: &Path) -> Finding {
    let read = |path: &str| fs::read_to_string(root.join(path)).unwrap_or_default();
    let release = read("proc/sys/kernel/osrelease").trim().to_owned();
    let listed =
        ["modules.builtin", "modules.dep"].map(|file| read(&format!("lib/modules/{release}/{file}")));
    let has = |name: &str| {
        root.join("sys/module").join(name).exists() || listed.iter().any(|list| lists(list, name))
    };
    let missing: Vec<&(&str, &str)> = MODULES.iter().filter(|(name, _)| !has(name)).collect();
    let part = "running kernel";
    if missing.is_empty() {
        return Finding::ok(part, format!("{release}: all modules that `--kernel host` uses"));
    }
    let names: Vec<&str> = missing.iter().map(|(name, _)| *name).collect();
    let lost: Vec<&str> = missing.iter().map(|(_, what)| *what).collect();
    let without = format!("`--kernel host` has no {}; a microVM has them", lost.join(", no "));
    let found = format!("{release}: without {}", names.join(" "));
    if missing.len() == MODULES.len() {
        Finding::missing(part, found, without)
    } else {
        Finding::limited(part, found, without)
    }
}

/// Whether a line of modules.builtin or modules.dep is of the module `name`; file names have `-` or `_`.
fn lists(list: &str, name: &str) -> bool {
    list.lines().any(|line| {
        let path = line.split(':').next().unwrap_or(line);
        let file = path.rsplit('/').next().unwrap_or(path);
        let stem = file.split(".ko").next().unwrap_or(file);
        stem.replace('-', "_") == name
    })
}

fn user_namespaces(root: &Path) -> Finding {
    let value = |path: &str| -> Option<u64> {
        fs::read_to_string(root.join("proc/sys").join(path)).ok()?.trim().parse().ok()
    };
    let part = "user namespaces";
    let without = "`--kernel host` needs root";
    let refused = [
        ("user/max_user_namespaces", 0, "sysctl -w user.max_user_namespaces=10000"),
        ("kernel/unprivileged_userns_clone", 0, "sysctl -w kernel.unprivileged_userns_clone=1"),
        (
            "kernel/apparmor_restrict_unprivileged_userns",
            1,
            "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0",
        ),
    ];
    if value("user/max_user_namespaces").is_none() {
        return Finding::missing(part, "the running kernel has none (CONFIG_USER_NS)", without);
    }
    for (path, refusing, command) in refused {
        if value(path) == Some(refusing) {
            let found = format!("{} is {refusing}", path.replace('/', "."));
            return Finding::missing(part, found, without)
                .mended_by(Mend::Command(install::as_root(command)));
        }
    }
    Finding::ok(part, "no setting forbids them")
}

fn type_information(root: &Path) -> Finding {
    if root.join("sys/kernel/btf/vmlinux").exists() {
        return Finding::ok("drop observer", "the running kernel has type information (BTF)");
    }
    let without = "`--kernel host` cannot say where a frame was dropped: frames stay unattributed, and such a run fails";
    Finding::missing("drop observer", "no /sys/kernel/btf/vmlinux (CONFIG_DEBUG_INFO_BTF)", without)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inventory::State;

    fn root(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        root
    }

    #[test]
    fn modules_are_built_in_loadable_or_loaded() {
        let root = root(&[
            ("proc/sys/kernel/osrelease", "6.1.0-x\n"),
            (
                "lib/modules/6.1.0-x/modules.builtin",
                "kernel/net/8021q/8021q.ko\nkernel/drivers/net/dummy.ko\n",
            ),
            (
                "lib/modules/6.1.0-x/modules.dep",
                "kernel/drivers/net/veth.ko.xz:\nkernel/net/bridge/bridge.ko: kernel/net/llc/llc.ko\n\
                 kernel/drivers/net/bonding/bonding.ko: kernel/net/tls/tls.ko\n",
            ),
            ("sys/module/macvlan/refcnt", "0"),
            ("sys/module/netdevsim/refcnt", "0"),
        ]);
        let found = modules(root.path());
        assert_eq!((found.state, found.found.as_str()), (State::Limited, "6.1.0-x: without sch_plug"));
        assert_eq!(
            found.without.as_deref(),
            Some("`--kernel host` has no queues that are held; a microVM has them")
        );
    }

    #[test]
    fn a_kernel_without_anything_is_reported_as_that() {
        let found = findings(root(&[("proc/sys/kernel/osrelease", "6.1.0\n")]).path());
        assert!(found.iter().all(|finding| finding.state == State::Missing), "{found:?}");
    }

    #[test]
    fn what_forbids_user_namespaces_is_named_with_the_command() {
        let allowed = ("proc/sys/user/max_user_namespaces", "100\n");
        assert_eq!(user_namespaces(root(&[allowed]).path()).state, State::Ok);
        let restricted = ("proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1\n");
        let found = user_namespaces(root(&[allowed, restricted]).path());
        assert_eq!(found.found, "kernel.apparmor_restrict_unprivileged_userns is 1");
        assert!(matches!(found.mend, Some(Mend::Command(command)) if command.ends_with("userns=0")));
    }
}
