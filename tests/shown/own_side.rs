//! A machine's own side of a topology, to be compared with what comes back of it.

use std::collections::{BTreeMap, BTreeSet};

use bondlab_core::net::link::{Link, LinkKind};
use bondlab_core::net::link_option::{BRIDGE_OPTIONS, BRIDGE_PORT_OPTIONS, rows_of};
use bondlab_core::net::name::{IfName, NsName};
use bondlab_core::net::option::Value;
use bondlab_core::topology::Topology;

/// The machine's namespace.
const NODE: &str = "node";

/// As the kernel gives it to a link: its own, its bond's, its parent's, or 1500.
pub fn mtu(topology: &Topology, link: &Link) -> u32 {
    let is_bond = |other: &&Link| matches!(other.kind, LinkKind::Bond(_)) && other.has_port(&link.device);
    if let Some(bond) = topology.links.values().find(is_bond) {
        return bond.mtu.unwrap_or(1500);
    }
    let parent = link.kind.parent().and_then(|parent| topology.link(parent));
    link.mtu.or_else(|| parent.map(|parent| mtu(topology, parent))).unwrap_or(1500)
}

/// An option that each link has; 0 without it.
pub fn common(link: &Link, key: &str) -> i64 {
    match link.extras.common.0.get(key) {
        Some(Value::Number(number)) => *number,
        _ => 0,
    }
}

/// As a driver gives it to a link that asks for none (`tun_net_initialize()`, `ether_setup()`).
pub fn queue_len(link: &Link) -> u32 {
    link.txqueuelen.unwrap_or(if link.kind.word() == "tun" { 500 } else { 1000 })
}

/// VLANs of a bridge or of its port, with PVID and untagged. `br_vlan_init()`: without any of its own it has the first.
pub fn vlans(bridge: &Link, port: &IfName) -> BTreeMap<u16, [bool; 2]> {
    let own = match bridge.extras.ports.get(port) {
        Some(of) => of.vlans.as_ref(),
        None => bridge.extras.vlans.as_ref().filter(|_| *port == bridge.device.name),
    };
    let Some(own) = own else { return BTreeMap::from([(1, [true, true])]) };
    own.iter().flat_map(|vlan| vlan.ids().map(|id| (id, [vlan.pvid, vlan.untagged]))).collect()
}

/// What a link of any kind has.
fn of_any_kind(topology: &Topology, link: &Link) -> String {
    let common = ["group", "promisc", "allmulticast"].map(|key| common(link, key));
    format!("mtu {}, up {}, {common:?}, queue of {}", mtu(topology, link), link.up, queue_len(link))
}

/// What a machine's own side is, as far as it is the same however it is written: MTUs as they come out, options without defaults.
pub fn own_side(topology: &Topology) -> BTreeMap<String, String> {
    let ns: NsName = NODE.parse().expect("a name");
    let own = topology.links.values().filter(|link| link.device.ns == ns);
    let mut all: BTreeMap<String, String> = own
        .map(|link| {
            let kind = match &link.kind {
                LinkKind::Veth { peer } if peer.ns == ns => format!("cable to {}", peer.name),
                // A NIC of any driver comes back as a cable.
                LinkKind::Veth { .. }
                | LinkKind::Nic(_)
                | LinkKind::Netdevsim(_)
                | LinkKind::Pf(_)
                | LinkKind::Vf { .. }
                | LinkKind::Gadget { .. } => {
                    format!("nic {}", link.mac.map_or(String::new(), |mac| mac.to_string()))
                }
                LinkKind::Bond(bond) => {
                    // Without a monitor its interval is 0, which ip and procfs print.
                    let options = bond
                        .values()
                        .into_iter()
                        .filter(|(row, value)| row.key != "miimon" || *value != Value::Number(0))
                        // Shown whether it was asked for or not.
                        .filter(|(row, value)| row.key != "lacp_rate" || row.wire.shown(value) != "slow")
                        .map(|(row, value)| format!("{} {}", row.key, row.wire.shown(&value)));
                    let of_port = |port: &IfName| {
                        let asked = bond.port_options.get(port).map(|of| of.values()).unwrap_or_default();
                        let words = asked
                            .iter()
                            .map(|(row, value)| format!(" {} {}", row.key, row.wire.shown(value)));
                        format!("{port}{}", words.collect::<String>())
                    };
                    let ports: BTreeSet<String> = bond.ports.iter().map(of_port).collect();
                    format!("bond {:?} of {ports:?}", options.collect::<BTreeSet<_>>())
                }
                LinkKind::Bridge { ports, vlan_filtering } => {
                    let all = ports.iter().chain([&link.device.name]);
                    let vlans: Vec<_> = all
                        .filter(|_| *vlan_filtering)
                        .map(|port| (port.to_string(), vlans(link, port)))
                        .collect();
                    let of_port = |port: &IfName| {
                        let asked =
                            link.extras.ports.get(port).map(|of| of.options.words(BRIDGE_PORT_OPTIONS));
                        format!("{port} {:?}", asked.unwrap_or_default())
                    };
                    let ports: BTreeSet<String> = ports.iter().map(of_port).collect();
                    let vlans: BTreeMap<_, _> = vlans.into_iter().collect();
                    let options: BTreeSet<String> =
                        link.extras.options.words(BRIDGE_OPTIONS).into_iter().collect();
                    format!(
                        "bridge of {ports:?}, vlan_filtering {vlan_filtering}, vlans {vlans:?}, {options:?}"
                    )
                }
                other => {
                    let options = link.extras.options.words(rows_of(other.word()));
                    let team = link.extras.team.as_ref();
                    format!("{other:?} {:?} {team:?}", options.into_iter().collect::<BTreeSet<_>>())
                }
            };
            let addresses: Vec<String> = link.addresses.iter().map(ToString::to_string).collect();
            let said = format!("{kind}, addresses {addresses:?}, {}", of_any_kind(topology, link));
            (link.device.name.to_string(), said)
        })
        .collect();
    let of = &topology.namespaces[&ns];
    let routes: BTreeSet<String> = of.routes.iter().map(ToString::to_string).collect();
    all.insert("routes".into(), format!("{routes:?}"));
    let rules: BTreeSet<String> = of.rules.iter().map(|rule| format!("{rule}, ipv6 {}", rule.ipv6)).collect();
    all.insert("rules".into(), format!("{rules:?}"));
    let neighbours: BTreeSet<String> = of.neighbours.iter().map(|one| format!("{one:?}")).collect();
    all.insert("neighbours".into(), format!("{neighbours:?}"));
    all
}
