//! The catalogue of causes, in the binary: imports need no repository.

use lab::import::Cause;

macro_rules! catalogue {
    ($($name:literal),+ $(,)?) => {
        /// All files of topologies/causes, those with one kind of socket first.
        pub const CAUSES: &[Cause<'static>] =
            &[$(($name, include_str!(concat!("../../topologies/causes/", $name, ".toml")))),+];
    };
}

catalogue![
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
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::CAUSES;

    #[test]
    fn the_catalogue_has_each_file_of_its_folder() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("topologies/causes");
        let files = std::fs::read_dir(folder).expect("the folder is there");
        let paths = files.map(|file| file.expect("it can be read").path());
        let names: BTreeSet<String> =
            paths.filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned())).collect();
        let known: BTreeSet<String> = CAUSES.iter().map(|(name, _)| (*name).to_owned()).collect();
        assert_eq!(known, names);
    }
}
