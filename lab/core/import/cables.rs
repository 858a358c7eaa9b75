//! Veths: pairs within the machine, and those whose other end is in another namespace: an interface of a pod or of a container when
//! it is what frames leave by, or a bridge's port to one, and then a NIC like any other.

use crate::import::model::{Kind, Link, Model};
use crate::net::name::IfName;

/// Ports to containers that one bridge keeps: each gets an end of its own, and a node may have a hundred.
const CONTAINERS_MAX: usize = 4;

/// Finds the cables within the machine: two veths of which each is made on the other.
pub fn pairs(model: &mut Model) {
    let parent = |name: &IfName| model.links.get(name).and_then(|link| link.parent.clone());
    let is_pair = |name: &IfName, other: &IfName| name != other && parent(other).as_ref() == Some(name);
    let pairs: Vec<(IfName, IfName)> = model
        .links
        .keys()
        .filter_map(|name| Some((name.clone(), parent(name).filter(|other| is_pair(name, other))?)))
        .collect();
    for (name, other) in pairs {
        if let Some(link) = model.links.get_mut(&name) {
            (link.kind, link.parent, link.peer) = (Kind::Veth, None, Some(other));
            link.kind_word.clear();
        }
    }
    // One whose other end was taken out is one whose other end the text does not show.
    let names: Vec<IfName> = model.links.keys().cloned().collect();
    for link in model.links.values_mut() {
        if link.kind == Kind::Veth && link.peer.as_ref().is_none_or(|peer| !names.contains(peer)) {
            (link.kind, link.peer) = (Kind::Other, None);
            link.kind_word = "its other end is left out".into();
        }
    }
}

/// Whether its other end is not in the text.
fn is_end(link: &Link) -> bool {
    link.kind == Kind::Other && (link.kind_word == "veth" || link.kind_word.starts_with("its other end"))
}

/// Ports to containers: the first ones of each bridge.
fn of_bridges(model: &Model) -> Vec<IfName> {
    let bridges = model.links.iter().filter(|(_, link)| link.kind == Kind::Bridge);
    let first = |bridge: &IfName| {
        let ports = model.ports(bridge).into_iter().filter(|port| is_end(&model.links[port]));
        ports.take(CONTAINERS_MAX).collect::<Vec<_>>()
    };
    bridges.flat_map(|(name, _)| first(name)).collect()
}

/// Has veths that a bond, a bridge, a VLAN or an address uses play NICs.
pub fn settle(model: &mut Model) {
    let of_bridges = of_bridges(model);
    let is_bond = |name: &IfName| model.links.get(name).is_some_and(|owner| owner.kind == Kind::Bond);
    let is_below = |name: &IfName| model.links.values().any(|link| link.parent.as_ref() == Some(name));
    let used: Vec<IfName> = model
        .links
        .iter()
        .filter(|(name, link)| {
            is_end(link)
                && (link.controller.as_ref().is_some_and(is_bond)
                    || is_below(name)
                    || has_network(link)
                    || of_bridges.contains(name))
        })
        .map(|(name, _)| name.clone())
        .collect();
    for name in used {
        model.note(format!("{name}: a veth whose other end the text does not show; it plays a NIC"));
        if let Some(link) = model.links.get_mut(&name) {
            link.kind = Kind::Nic;
            link.kind_word.clear();
        }
    }
}

/// Whether it has an address with neighbours: ends on the side of the machine have none, or one of a host only.
fn has_network(link: &Link) -> bool {
    let is_network = |bits: u8, prefix: u8| prefix < bits;
    link.controller.is_none()
        && link
            .addresses
            .iter()
            .any(|cidr| is_network(if cidr.address.is_ipv6() { 128 } else { 32 }, cidr.prefix))
}
