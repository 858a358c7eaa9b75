//! Which device is below which: none below itself, each held by one only, and those below before those above.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use indexmap::IndexMap;

use crate::net::link::Link;
use crate::net::name::{DeviceRef, IfName, NsName, ParentRef};
use crate::topology::check::Checker;
use crate::topology::file::{At, NsTable, TopologyFile};

/// A device and one it stands on, at the place where the file says so.
struct Edge<'a> {
    upper: DeviceRef,
    lower: DeviceRef,
    span: &'a Range<usize>,
    kind: EdgeKind,
}

/// What a device is to the one above it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum EdgeKind {
    Port,
    ParentOfVlan,
    ParentOfIpvlan,
    ParentOfMacvlan,
    /// Of a device that takes none of its frames away, or only those that are its own.
    ParentOfOther,
}

/// All of one namespace's devices, in the order of the file.
fn edges<'a>(ns: &NsName, table: &'a NsTable) -> Vec<Edge<'a>> {
    let at = |name: &At<IfName>| DeviceRef::new(ns, &name.value);
    let bonds = table.bond.iter().map(|(name, bond)| (name, &bond.ports[..]));
    let bridges = table.bridge.iter().map(|(name, bridge)| (name, &bridge.ports[..]));
    let vrfs = table.vrf.iter().map(|(name, vrf)| (name, &vrf.ports[..]));
    let teams = table.team.iter().map(|(name, team)| (name, &team.ports[..]));
    let mut edges = Vec::new();
    for (name, ports) in bonds.chain(bridges).chain(vrfs).chain(teams) {
        edges.extend(ports.iter().map(|port| Edge {
            upper: at(name),
            lower: at(port),
            span: &port.span,
            kind: EdgeKind::Port,
        }));
    }
    let parents = parents(table);
    edges.extend(parents.into_iter().map(|(name, parent, kind)| Edge {
        upper: at(name),
        lower: parent.value.seen_from(ns),
        span: &parent.span,
        kind,
    }));
    edges.sort_by_key(|edge| edge.span.start);
    edges
}

/// The devices of one namespace that were made on another device.
fn parents(table: &NsTable) -> Vec<(&At<IfName>, &At<ParentRef>, EdgeKind)> {
    let vlans = table.vlan.iter().map(|(name, vlan)| (name, &vlan.parent, EdgeKind::ParentOfVlan));
    let ipvlans = table.ipvlan.iter().map(|(name, ipvlan)| (name, &ipvlan.parent, EdgeKind::ParentOfIpvlan));
    let macvlans =
        table.macvlan.iter().map(|(name, macvlan)| (name, &macvlan.parent, EdgeKind::ParentOfMacvlan));
    let vxlans = table.vxlan.iter().filter_map(|(name, vxlan)| Some((name, vxlan.parent.as_ref()?)));
    let gres = table.gre.iter().filter_map(|(name, gre)| Some((name, gre.parent.as_ref()?)));
    let gretaps = table.gretap.iter().filter_map(|(name, gre)| Some((name, gre.parent.as_ref()?)));
    let macsecs = table.macsec.iter().map(|(name, macsec)| (name, &macsec.parent));
    let others = vxlans.chain(gres).chain(gretaps).chain(macsecs);
    let others = others.map(|(name, parent)| (name, parent, EdgeKind::ParentOfOther));
    vlans.chain(ipvlans).chain(macvlans).chain(others).collect()
}

fn all_edges(file: &TopologyFile) -> Vec<Edge<'_>> {
    let mut all: Vec<Edge<'_>> = file.ns.iter().flat_map(|(ns, table)| edges(&ns.value, table)).collect();
    all.sort_by_key(|edge| edge.span.start);
    all
}

/// Checks that no device is a port twice, and that what takes all of a device's frames is alone there: a controller,
/// its ipvlans or its macvlans. `netdev_rx_handler_register()` answers EBUSY otherwise.
pub fn one_holder_each(file: &TopologyFile, checker: &mut Checker<'_>) {
    let mut holder_of: BTreeMap<DeviceRef, (DeviceRef, EdgeKind)> = BTreeMap::new();
    let is_shared = |kind| matches!(kind, EdgeKind::ParentOfVlan | EdgeKind::ParentOfOther);
    for edge in all_edges(file).into_iter().filter(|edge| !is_shared(edge.kind)) {
        let Some((first, kind)) = holder_of.get(&edge.lower) else {
            holder_of.insert(edge.lower, (edge.upper, edge.kind));
            continue;
        };
        let lower = &edge.lower;
        let (message, hint) = match (kind, edge.kind) {
            (EdgeKind::Port, EdgeKind::Port) => (
                format!("`{}` of namespace {} is a port of `{}` already", lower.name, lower.ns, first.name),
                "a device has one controller at the most",
            ),
            (one, other) if *one == other => continue,
            _ => (
                format!("{lower} is taken by {first} already"),
                "a bond or bridge, ipvlans, or macvlans: one of them takes all frames of a device; the kernel \
                 refuses the second with EBUSY",
            ),
        };
        checker.problem(edge.span, message, hint);
    }
}

/// Checks that no device is below itself; tells each ring once, where the file closes it.
pub fn no_rings(file: &TopologyFile, checker: &mut Checker<'_>) {
    let mut below: BTreeMap<DeviceRef, Vec<DeviceRef>> = BTreeMap::new();
    for edge in all_edges(file) {
        let Some(way) = way(&below, &edge.lower, &edge.upper) else {
            below.entry(edge.upper).or_default().push(edge.lower);
            continue;
        };
        let is_local = way.iter().all(|device| device.ns == edge.upper.ns);
        let shown = |device: &DeviceRef| if is_local { device.name.to_string() } else { device.to_string() };
        let ring: Vec<String> = way.iter().map(|device| format!("`{}`", shown(device))).collect();
        let message = format!("`{}` would stand on {}", shown(&edge.upper), ring.join(", which stands on "));
        let hint = "a device cannot be below itself; the kernel refuses it with EBUSY, EINVAL or ELOOP";
        checker.problem(edge.span, message, hint);
    }
}

/// The way down from one device to another, both included.
fn way<'a>(
    below: &'a BTreeMap<DeviceRef, Vec<DeviceRef>>,
    from: &'a DeviceRef,
    to: &DeviceRef,
) -> Option<Vec<&'a DeviceRef>> {
    let mut came_from: BTreeMap<&DeviceRef, &DeviceRef> = BTreeMap::new();
    let mut open = vec![from];
    while let Some(device) = open.pop() {
        if device == to {
            let mut way = vec![device];
            while let Some(upper) =
                way.last().filter(|device| **device != from).and_then(|device| came_from.get(device))
            {
                way.push(upper);
            }
            way.reverse();
            return Some(way);
        }
        for lower in below.get(device).into_iter().flatten() {
            if lower != from && !came_from.contains_key(lower) {
                came_from.insert(lower, device);
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
            let parent = vlan.parent.value.seen_from(&ns.value);
            let parent_is_down = links.get(&parent).is_some_and(|parent| !parent.up);
            if vlan.up.unwrap_or(true) && parent_is_down && !checker.lost.field(&name.span, "up") {
                let message = format!("`{}` cannot be up while its parent is down", name.value);
                checker.problem(&vlan.parent.span, message, "say up = false here too, or remove it there");
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
        let stands = |link: &&Link| link.below().iter().all(|device| !links.contains_key(device));
        let ready: BTreeSet<DeviceRef> =
            links.values().filter(stands).map(|link| link.device.clone()).collect();
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
