//! Lint of who stands on whom: MTUs, VLANs below bonds, bridges over bonds, addresses, VLANs of bridges.

use std::collections::BTreeMap;

use crate::net::address::Mac;
use crate::net::link::{Link, LinkKind};
use crate::net::mode::BondMode;
use crate::net::name::DeviceRef;
use crate::topology::Topology;
use crate::topology::lint::table::{
    BRIDGE_LACKS_VLAN, BRIDGE_OVER_ALB, DUPLICATE_MAC, MTU_ORDER, VLAN_ON_BOND_PORT,
};
use crate::topology::lint::{NOWHERE, Scope};

/// The kernel's MTU of an Ethernet device of which nothing is said (ETH_DATA_LEN), in bytes.
const MTU: u32 = 1500;
/// The VLAN that ports of a vlan-aware bridge have without a word (`br_vlan_init()`).
const DEFAULT_PVID: u16 = 1;
/// Devices above devices: the kernel has a limit of 8 (MAX_NEST_DEV).
const DEPTH_MAX: usize = 8;

/// In bytes: its own, else what it gets from the device below or its bond.
fn mtu_of(scope: &Scope<'_>, device: &DeviceRef, depth: usize) -> u32 {
    let Some(link) = scope.topology.link(device).filter(|_| depth < DEPTH_MAX) else { return MTU };
    if let Some(bond) = scope.bond_of(device) {
        return bond.mtu.unwrap_or(MTU);
    }
    match (link.mtu, link.kind.parent()) {
        (Some(mtu), _) => mtu,
        (None, Some(parent)) => mtu_of(scope, parent, depth + 1),
        (None, None) => MTU,
    }
}

pub(super) fn mtu_order(scope: &mut Scope<'_>) {
    let topology = scope.topology;
    for link in topology.links.values() {
        let Some(own) = link.mtu else { continue };
        let span = scope.place_of(&link.device).unwrap_or(NOWHERE);
        if let Some(bond) = scope.bond_of(&link.device) {
            let most = bond.mtu.unwrap_or(MTU);
            if own != most {
                let message = format!(
                    "{} has an MTU of {own}, and its bond {} gives it {most}",
                    link.device, bond.device
                );
                scope.find(&MTU_ORDER, &span, message);
            }
        } else if let Some(parent) = link.kind.parent() {
            let most = mtu_of(scope, parent, 0);
            if own > most {
                let message = format!("{} has an MTU of {own}, and {parent} below it {most}", link.device);
                scope.find(&MTU_ORDER, &span, message);
            }
        }
    }
}

pub(super) fn vlan_on_bond_port(scope: &mut Scope<'_>) {
    let topology = scope.topology;
    for link in topology.links.values() {
        let LinkKind::Vlan { parent, .. } = &link.kind else { continue };
        if let Some(bond) = scope.bond_of(parent) {
            let message = format!("{} is a VLAN on {parent}, a port of {}", link.device, bond.device);
            let span = scope.place_of(&link.device).unwrap_or(NOWHERE);
            scope.find(&VLAN_ON_BOND_PORT, &span, message);
        }
    }
}

pub(super) fn bridge_over_alb(scope: &mut Scope<'_>) {
    let topology = scope.topology;
    let alb = |device: &DeviceRef| match topology.link(device) {
        Some(Link { kind: LinkKind::Bond(bond), device, .. }) if bond.mode == BondMode::BalanceAlb => {
            Some(device)
        }
        _ => None,
    };
    for link in topology.links.values() {
        let LinkKind::Bridge { ports, .. } = &link.kind else { continue };
        for port in ports.iter().map(|port| DeviceRef::new(&link.device.ns, port)) {
            let below = topology.link(&port).and_then(|port| port.kind.parent());
            if let Some(bond) = alb(&port).or_else(|| alb(below?)) {
                let message = format!("{} is a bridge over {bond} in mode balance-alb", link.device);
                let span = scope.place_of(&link.device).unwrap_or(NOWHERE);
                scope.find(&BRIDGE_OVER_ALB, &span, message);
            }
        }
    }
}

/// Whether one stands on the other, at any height: then they may have one address.
fn is_one_stack(topology: &Topology, one: &DeviceRef, other: &DeviceRef) -> bool {
    let stands = |upper: &DeviceRef, lower: &DeviceRef| {
        let mut level = vec![upper.clone()];
        for _ in 0..DEPTH_MAX {
            level = level
                .iter()
                .filter_map(|device| topology.link(device))
                .flat_map(Link::below)
                .take(2048)
                .collect();
            if level.contains(lower) {
                return true;
            }
        }
        false
    };
    stands(one, other) || stands(other, one)
}

pub(super) fn duplicate_mac(scope: &mut Scope<'_>) {
    let topology = scope.topology;
    let mut first_with: BTreeMap<Mac, &DeviceRef> = BTreeMap::new();
    for link in topology.links.values() {
        let Some(mac) = link.mac else { continue };
        match first_with.get(&mac) {
            Some(first) if !is_one_stack(topology, first, &link.device) => {
                let message = format!("{} and {first} both have the address {mac}", link.device);
                let span = scope.place_of(&link.device).unwrap_or(NOWHERE);
                scope.find(&DUPLICATE_MAC, &span, message);
            }
            Some(_) => {}
            None => drop(first_with.insert(mac, &link.device)),
        }
    }
}

/// The bridges by which frames of a device go on: the one it stands on, or the one at the other end of a cable below it.
fn bridges_of(topology: &Topology, device: &DeviceRef) -> Vec<DeviceRef> {
    let mut level = vec![device.clone()];
    let mut found = Vec::new();
    let holder = |port: &DeviceRef| topology.links.values().find(|link| link.has_port(port));
    for _ in 0..DEPTH_MAX {
        let mut next = Vec::new();
        for device in &level {
            let Some(link) = topology.links.get(device) else { continue };
            match &link.kind {
                LinkKind::Bridge { .. } => found.push(device.clone()),
                LinkKind::Veth { peer } => {
                    let above = holder(peer);
                    let bond = above.filter(|link| matches!(link.kind, LinkKind::Bond(_)));
                    let bridge = bond.map_or(above, |bond| holder(&bond.device));
                    found.extend(bridge.map(|bridge| bridge.device.clone()));
                }
                _ => next.extend(link.below()),
            }
        }
        level = next;
    }
    found.sort();
    found.dedup();
    found
}

pub(super) fn bridge_lacks_vlan(scope: &mut Scope<'_>) {
    let topology = scope.topology;
    for link in topology.all_links() {
        let LinkKind::Vlan { id, parent, .. } = &link.kind else { continue };
        if id.get() == DEFAULT_PVID {
            continue;
        }
        for bridge in bridges_of(topology, parent) {
            let lacks = |link: &Link| {
                let ports = link.extras.ports.values().filter_map(|port| port.vlans.as_ref());
                let mut all = link.extras.vlans.iter().chain(ports).flatten();
                matches!(link.kind, LinkKind::Bridge { vlan_filtering: true, .. })
                    && !all.any(|vlan| vlan.ids().any(|is| is == id.get()))
            };
            let is_aware = topology.links.get(&bridge).is_some_and(lacks);
            // A bridge that the lab makes in place of a NIC gets the NIC's VLANs.
            if let Some(span) = scope.place_of(&bridge).filter(|_| is_aware) {
                let message =
                    format!("{bridge} filters VLANs, and does not have VLAN {} of {}", id.get(), link.device);
                scope.find(&BRIDGE_LACKS_VLAN, &span, message);
            }
        }
    }
}
