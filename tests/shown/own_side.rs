//! A machine's own side of a topology, to be compared with what comes back of it.

use std::collections::{BTreeMap, BTreeSet};

use bondlab_core::net::link::{Link, LinkKind};
use bondlab_core::net::link_option::rows_of;
use bondlab_core::net::name::NsName;
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

/// What a machine's own side is, as far as it is the same however it is written: MTUs as they come out, options without defaults.
pub fn own_side(topology: &Topology) -> BTreeMap<String, String> {
    let ns: NsName = NODE.parse().expect("a name");
    let own = topology.links.values().filter(|link| link.device.ns == ns);
    let mut all: BTreeMap<String, String> = own
        .map(|link| {
            let kind = match &link.kind {
                LinkKind::Veth { peer } if peer.ns == ns => format!("cable to {}", peer.name),
                LinkKind::Veth { .. } => {
                    format!("nic {}", link.mac.map_or(String::new(), |mac| mac.to_string()))
                }
                LinkKind::Bond(bond) => {
                    // Without a monitor its interval is 0, which ip and procfs print.
                    let options = bond
                        .values()
                        .into_iter()
                        .filter(|(row, value)| row.key != "miimon" || *value != Value::Number(0))
                        .map(|(row, value)| format!("{} {}", row.key, row.wire.shown(&value)));
                    let ports: BTreeSet<String> = bond.ports.iter().map(ToString::to_string).collect();
                    format!("bond {:?} of {ports:?}", options.collect::<BTreeSet<_>>())
                }
                LinkKind::Bridge { ports, vlan_filtering } => {
                    format!("bridge of {ports:?}, vlan_filtering {vlan_filtering}")
                }
                other => {
                    let options = link.extras.options.words(rows_of(other.word()));
                    let team = link.extras.team.as_ref();
                    format!("{other:?} {:?} {team:?}", options.into_iter().collect::<BTreeSet<_>>())
                }
            };
            let addresses: Vec<String> = link.addresses.iter().map(ToString::to_string).collect();
            let said =
                format!("{kind}, mtu {}, up {}, addresses {addresses:?}", mtu(topology, link), link.up);
            (link.device.name.to_string(), said)
        })
        .collect();
    let routes: Vec<String> = topology.namespaces[&ns].routes.iter().map(ToString::to_string).collect();
    all.insert("routes".into(), routes.join(", "));
    all
}
