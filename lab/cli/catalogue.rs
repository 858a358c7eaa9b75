//! The catalogue of causes and what was measured of them, in the binary: imports and diagnoses need no repository.

use bondlab_core::diagnose::Measured;

macro_rules! measured {
    ($(#[$doc:meta])* $list:ident = $folder:literal { $($name:literal),+ $(,)? }) => {
        $(#[$doc])*
        pub const $list: &[Measured<'static>] = &[$(Measured {
            name: $name,
            topology: include_str!(concat!("../../topologies/", $folder, $name, ".toml")),
            snapshot: include_str!(concat!("../../snapshots/", $name, ".snap")),
        }),+];
    };
}

measured! {
    /// All files of topologies/causes, those with one kind of socket first.
    CAUSES = "causes/" {
        "arp-target-silent",
        "arrives-at-backup-port",
        "backlog-full",
        "bond-down",
        "bond-queue-full",
        "broadcast-to-full-port",
        "far-end-mtu-smaller",
        "filter-on-bond",
        "filter-on-bond-by-tag",
        "filter-on-bond-ingress",
        "filter-on-bond-nft",
        "filter-on-bond-tcx",
        "filter-on-gateway",
        "filter-on-port",
        "filter-on-port-ingress",
        "filter-on-vlan",
        "gateway-lacks-vlan",
        "gateway-vlan-down",
        "hash-to-dead-port",
        "lacp-partner-out-of-sync",
        "neighbour-silent",
        "peer-ring-full",
        "port-carrier-lost",
        "port-carrier-lost-before-miimon",
        "port-carrier-lost-unnoticed",
        "port-down",
        "port-down-unnoticed",
        "port-driver-stopped",
        "port-mtu-smaller",
        "port-queue-cake-full",
        "port-queue-codel-full",
        "port-queue-delays",
        "port-queue-drains-slowly",
        "port-queue-fq-codel-full",
        "port-queue-fq-full",
        "port-queue-full",
        "port-queue-full-for-large-frames",
        "port-queue-head-drop-full",
        "port-queue-held",
        "port-queue-loses",
        "port-queue-pfifo-fast-full",
        "port-queue-sfq-full",
        "port-queue-stopped",
        "port-released",
        "port-stopped-without-queue",
        "receiver-buffer-full",
        "round-robin-to-dead-port",
        "switch-lacks-vlan",
        "switch-port-down",
        "switch-port-mtu-smaller",
        "tap-ring-full",
        "too-few-links",
        "vlan-down",
        "vlan-mtu-smaller",
        "vlan-queue-full",
        "xdp-generic-on-port",
        "xdp-in-nic-driver",
        "xdp-on-port",
        "no-port-each-socket",
        "port-queue-full-each-socket",
    }
}

measured! {
    /// Topologies with explanations, of which some are the catalogue's causes.
    STUDIES = "" {
        "vlan-over-bond-tx-drop",
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{CAUSES, STUDIES};

    #[test]
    fn each_cause_with_accepted_results_is_in_the_binary() {
        let top = Path::new(env!("CARGO_MANIFEST_DIR"));
        let files = std::fs::read_dir(top.join("topologies/causes")).expect("the folder is there");
        for file in files {
            let path = file.expect("it can be read").path();
            let name = path.file_stem().and_then(|name| name.to_str()).expect("a name").to_owned();
            let has_results = top.join(format!("snapshots/{name}.snap")).exists();
            let is_known = CAUSES.iter().any(|measured| measured.name == name);
            assert_eq!(is_known, has_results, "{name}: name it in lab/cli/catalogue.rs");
        }
    }

    #[test]
    fn all_of_them_can_be_read() {
        let catalogue = bondlab_core::diagnose::Catalogue::new(CAUSES, STUDIES);
        let read: Vec<&str> = catalogue.causes().map(|(name, _)| name).collect();
        let named: Vec<&str> = CAUSES.iter().map(|measured| measured.name).collect();
        assert_eq!(read, named);
    }
}
