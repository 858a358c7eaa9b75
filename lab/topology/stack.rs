//! Who stands on whom: one controller each, nobody on itself, and those below before those above.

use std::collections::{BTreeMap, BTreeSet};

use indexmap::IndexMap;

use super::Link;
use super::check::Checker;
use super::file::{At, NsTable, TopologyFile};
use crate::link::{DeviceRef, IfName};

/// A device and one it stands on, at the place where the file says so.
struct Edge<'a> {
    upper: &'a IfName,
    lower: &'a At<IfName>,
    is_port: bool,
}

/// All of one namespace, in the order of the file.
fn edges(table: &NsTable) -> Vec<Edge<'_>> {
    let bonds = table.bond.iter().map(|(name, bond)| (name, &bond.ports));
    let bridges = table.bridge.iter().map(|(name, bridge)| (name, &bridge.ports));
    let mut edges = Vec::new();
    for (name, ports) in bonds.chain(bridges) {
        edges.extend(ports.iter().map(|lower| Edge { upper: &name.value, lower, is_port: true }));
    }
    let vlans = table.vlan.iter();
    edges.extend(vlans.map(|(name, vlan)| Edge { upper: &name.value, lower: &vlan.parent, is_port: false }));
    edges.sort_by_key(|edge| edge.lower.span.start);
    edges
}

/// Checks that no device is a port twice.
pub fn one_controller_each(file: &TopologyFile, checker: &mut Checker<'_>) {
    for (ns, table) in &file.ns {
        let mut controller_of: BTreeMap<&IfName, &IfName> = BTreeMap::new();
        for edge in edges(table).into_iter().filter(|edge| edge.is_port) {
            if let Some(first) = controller_of.get(&edge.lower.value) {
                let message = format!(
                    "`{}` of namespace {} is a port of `{first}` already",
                    edge.lower.value, ns.value
                );
                checker.problem(&edge.lower.span, message, "a device has one controller at the most");
            } else {
                controller_of.insert(&edge.lower.value, edge.upper);
            }
        }
    }
}

/// Checks that no device is below itself; tells each ring once, where the file closes it.
pub fn no_rings(file: &TopologyFile, checker: &mut Checker<'_>) {
    for table in file.ns.values() {
        let mut below: BTreeMap<&IfName, Vec<&IfName>> = BTreeMap::new();
        for edge in edges(table) {
            if let Some(way) = way(&below, &edge.lower.value, edge.upper) {
                let ring =
                    way.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", which stands on ");
                let message = format!("`{}` would stand on {ring}", edge.upper);
                let hint =
                    "a device cannot be below itself; the kernel refuses it with EBUSY, EINVAL or ELOOP";
                checker.problem(&edge.lower.span, message, hint);
            } else {
                below.entry(edge.upper).or_default().push(&edge.lower.value);
            }
        }
    }
}

/// The way down from one device to another, both included.
fn way<'a>(
    below: &BTreeMap<&'a IfName, Vec<&'a IfName>>,
    from: &'a IfName,
    to: &IfName,
) -> Option<Vec<&'a IfName>> {
    let mut came_from: BTreeMap<&IfName, &IfName> = BTreeMap::new();
    let mut open = vec![from];
    while let Some(name) = open.pop() {
        if name == to {
            let mut way = vec![name];
            while let Some(upper) =
                way.last().filter(|name| **name != from).and_then(|name| came_from.get(name))
            {
                way.push(upper);
            }
            way.reverse();
            return Some(way);
        }
        for lower in below.get(name).into_iter().flatten() {
            if *lower != from && !came_from.contains_key(lower) {
                came_from.insert(lower, name);
                open.push(lower);
            }
        }
    }
    None
}

/// Checks that a VLAN that is to be up has a parent that is: `vlan_dev_open()` answers ENETDOWN otherwise.
pub fn up_on_up(file: &TopologyFile, links: &IndexMap<DeviceRef, Link>, checker: &mut Checker<'_>) {
    for (ns, table) in &file.ns {
        for (name, vlan) in &table.vlan {
            let parent_is_down =
                links.get(&DeviceRef::new(&ns.value, &vlan.parent.value)).is_some_and(|parent| !parent.up);
            if vlan.up.unwrap_or(true) && parent_is_down && !checker.lost.field(&name.span, "up") {
                let message = format!("`{}` cannot be up while its parent is down", name.value);
                checker.problem(&vlan.parent.span, message, "say up = false here too, or take it away there");
            }
        }
    }
}

/// Checks that no bond's port is to stay down: `bond_enslave()` sets it up.
pub fn ports_go_up(file: &TopologyFile, links: &IndexMap<DeviceRef, Link>, checker: &mut Checker<'_>) {
    for (ns, table) in &file.ns {
        for port in table.bond.values().flat_map(|bond| &bond.ports) {
            if links.get(&DeviceRef::new(&ns.value, &port.value)).is_some_and(|link| !link.up) {
                let message = format!("`{}` is a bond's port and cannot stay down", port.value);
                let hint =
                    "a bond sets its ports up when they join: take `up = false` away, and use a `down` fault";
                checker.problem(&port.span, message, hint);
            }
        }
    }
}

/// Those below before those above, else in the order they come; what stands on a ring comes last.
pub fn order(mut links: IndexMap<DeviceRef, Link>) -> IndexMap<DeviceRef, Link> {
    let mut ordered: IndexMap<DeviceRef, Link> = IndexMap::new();
    loop {
        let stands = |link: &Link| {
            let mut below = link.kind.below().into_iter().map(|name| DeviceRef::new(&link.device.ns, name));
            below.all(|device| !links.contains_key(&device))
        };
        let ready: BTreeSet<DeviceRef> =
            links.values().filter(|link| stands(link)).map(|link| link.device.clone()).collect();
        if ready.is_empty() {
            break;
        }
        links.retain(|device, link| {
            let goes = ready.contains(device);
            if goes {
                ordered.insert(device.clone(), link.clone());
            }
            !goes
        });
    }
    ordered.extend(links);
    ordered
}
