//! Lowers the links of a topology: in which order they are made.

use std::collections::BTreeSet;

use indexmap::IndexMap;

use crate::net::bond::BondChange;
use crate::net::bond_option::BondOptions;
use crate::net::link::{Link, LinkKind};
use crate::net::link_option::LINK_OPTIONS;
use crate::net::link_option::words::VirtualKind;
use crate::net::name::{DeviceRef, IfName};
use crate::net::nic;
use crate::net::nic::{Netdevsim, Nic, VfSettings};
use crate::net::option::Value;
use crate::plan::op::Op;
use crate::topology::{Namespace, Topology};

/// The operations that make a topology stand.
pub fn build(topology: &Topology) -> Vec<Op> {
    let made = topology.links.clone().into_iter().filter(|(_, link)| !link.later);
    let links: &IndexMap<DeviceRef, Link> = &made.collect();
    let mut ops: Vec<Op> = topology.namespaces.keys().cloned().map(Op::Namespace).collect();
    for (ns, Namespace { sysctls, .. }) in &topology.namespaces {
        let sysctls = sysctls.clone();
        ops.extend((!sysctls.is_empty()).then(|| Op::Sysctls { ns: ns.clone(), sysctls }));
    }
    ops.extend(create_leaves(topology));
    ops.extend(links.values().filter(|link| is_leaf(link)).filter_map(configure));
    // Cables are plugged in before a bond is made: bond_enslave() then finds carrier, and chooses its active port before
    // the bond is up. Otherwise the monitor finds it later, and announces it with gratuitous ARPs among the lab's frames.
    let bond_ports = bond_ports(topology);
    let early = |link: &&Link| link.up && is_leaf(link) && !bond_ports.contains(&link.device);
    let is_vf = |link: &&Link| matches!(link.kind, LinkKind::Vf { .. });
    let up = |link: &Link| Op::Up(link.device.clone());
    ops.extend(links.values().filter(|link| early(link) && !is_vf(link)).map(up));
    // A VF's driver asks the PF for everything, and a PF that is down does not answer (igbvf_probe()). One whose link comes up
    // writes to its VFs of its own (igb_ping_all_vfs()), and what a VF asks meanwhile may get no answer: igbvf_set_mac() then
    // takes an address that the PF would have refused.
    let has_vfs = |link: &&Link| matches!(&link.kind, LinkKind::Pf(nic) if !nic.vfs.is_empty());
    let pfs = links.values().filter(|link| early(link) && has_vfs(link) && can_carry(topology, link));
    ops.extend(ready(pfs));
    ops.extend(adopt_vfs(links));
    ops.extend(links.values().filter(|link| early(link) && is_vf(link)).map(up));
    for (device, link) in links.iter().filter(|(_, link)| !is_leaf(link)) {
        ops.push(Op::Create { link: link.clone(), peer: None });
        // Ports join before anything stands on the controller: a VLAN takes its address from what is below.
        let ports = link.kind.ports().iter().map(|name| DeviceRef::new(&device.ns, name));
        for port in ports {
            let asked = port_options(&link.kind, &port.name);
            ops.push(Op::Join { port: port.clone(), controller: device.clone() });
            ops.extend(asked.map(|change| Op::SetBond { device: port.clone(), change, read_back: false }));
            let settings = link.extras.ports.get(&port.name).cloned();
            ops.extend(settings.map(|settings| Op::BridgePort { port, settings }));
        }
        let vlans = link.extras.vlans.clone();
        ops.extend(vlans.map(|vlans| Op::BridgeVlans { bridge: device.clone(), vlans }));
        ops.extend(configure(link));
    }
    ops.extend(links.values().filter_map(secure));
    let ports = topology.substitutions.iter().flat_map(|substitution| &substitution.ports);
    ops.extend(ports.cloned().map(Op::SwitchPort));
    let late = |link: &&Link| link.up && !early(link);
    ops.extend(links.values().filter(late).map(|link| Op::Up(link.device.clone())));
    for link in links.values() {
        if let Some(qdisc) = &link.qdisc {
            ops.push(Op::Qdisc { device: link.device.clone(), qdisc: qdisc.clone() });
        }
        if !link.addresses.is_empty() {
            ops.push(Op::Addresses(link.clone()));
        }
    }
    ops.extend(links.values().flat_map(entries));
    for (ns, tables) in &topology.namespaces {
        ops.extend(tables.rules.iter().map(|rule| Op::Rule { ns: ns.clone(), rule: rule.clone() }));
        ops.extend(tables.forwarding.then(|| Op::Forward(ns.clone())));
        let masqueraded = tables.masquerade.iter().map(|name| DeviceRef::new(ns, name));
        ops.extend(masqueraded.map(Op::Masquerade));
        ops.extend(tables.routes.iter().map(|route| Op::Route { ns: ns.clone(), route: route.clone() }));
        let neighbours = tables.neighbours.iter();
        ops.extend(
            neighbours.map(|neighbour| Op::Neighbour { ns: ns.clone(), neighbour: neighbour.clone() }),
        );
    }
    ops.extend(topology.attachments.servers.iter().cloned().map(Op::Serve));
    ops.extend(ready(links.values().filter(|link| can_carry(topology, link))));
    ops.extend(links.values().filter_map(activate));
    ops.push(Op::Verify { links: links.values().cloned().collect() });
    ops
}

/// Waits for the carriers of all of them, if there are any.
fn ready<'a>(links: impl Iterator<Item = &'a Link>) -> Option<Op> {
    let devices: Vec<DeviceRef> = links.map(|link| link.device.clone()).collect();
    (!devices.is_empty()).then_some(Op::Ready { devices })
}

/// Whether a link stands on nothing, and has no ports either.
fn is_leaf(link: &Link) -> bool {
    link.below().is_empty() && !link.kind.takes_ports()
}

/// What is not in the message that makes a link.
fn configure(link: &Link) -> Option<Op> {
    let extras = &link.extras;
    let late = extras.common.rows(LINK_OPTIONS).iter().any(|(row, _)| !row.wire.is_of_message());
    let is_asked = late
        || !extras.features.is_empty()
        || !extras.sysctls.is_empty()
        || ["carrier", "proto_down"].iter().any(|key| extras.common.0.contains_key(*key))
        || extras.team.is_some();
    is_asked.then(|| Op::Configure(link.clone()))
}

/// The associations of a MACsec device: both ends are made.
fn secure(link: &Link) -> Option<Op> {
    let macsec = link.extras.macsec.clone()?;
    Some(Op::Secure { device: link.device.clone(), macsec })
}

/// Entries of a forwarding database, and filters.
fn entries(link: &Link) -> Vec<Op> {
    let device = || link.device.clone();
    let entries = link.extras.fdb.iter().cloned().map(|entry| Op::Forwarding { device: device(), entry });
    let groups = link.extras.mdb.iter().cloned().map(|entry| Op::Multicast { device: device(), entry });
    let entries = entries.chain(groups);
    let filters = (0..).zip(link.extras.filters.iter().cloned());
    entries.chain(filters.map(|(number, filter)| Op::Filter { device: device(), number, filter })).collect()
}

/// Cables with both ends, and what else stands on nothing.
fn create_leaves(topology: &Topology) -> Vec<Op> {
    let slots = nic::slots(&topology.links);
    let mut far_ends: BTreeSet<&DeviceRef> = BTreeSet::new();
    let mut ops = Vec::new();
    for link in topology.links.values() {
        match &link.kind {
            LinkKind::Virtual(_) if !is_leaf(link) => {}
            LinkKind::Dummy | LinkKind::Tun(_) | LinkKind::Virtual(_) => {
                ops.push(Op::Create { link: link.clone(), peer: None });
            }
            LinkKind::Gadget { peer } => {
                ops.push(Op::Create { link: link.clone(), peer: topology.links.get(peer).cloned() });
            }
            LinkKind::Veth { .. } if far_ends.contains(&link.device) => {}
            LinkKind::Veth { peer } => {
                far_ends.insert(peer);
                ops.push(Op::Create { link: link.clone(), peer: topology.links.get(peer).cloned() });
            }
            LinkKind::Netdevsim(_) if far_ends.contains(&link.device) => {}
            LinkKind::Netdevsim(sim) => {
                far_ends.extend(&sim.peer);
                let peer = sim.peer.as_ref().and_then(|peer| topology.links.get(peer));
                ops.push(Op::Create { link: link.clone(), peer: peer.cloned() });
            }
            LinkKind::Nic(_) | LinkKind::Pf(_) => {
                let slot = slots.iter().position(|slot| slot.device == link.device);
                let slot = slot.expect("every NIC has a slot");
                ops.push(Op::Adopt { link: link.clone(), slot });
            }
            LinkKind::GadgetHost { .. }
            | LinkKind::Vf { .. }
            | LinkKind::Bond(_)
            | LinkKind::Vlan { .. }
            | LinkKind::Ipvlan { .. }
            | LinkKind::Macvlan { .. }
            | LinkKind::Bridge { .. } => {}
        }
    }
    ops
}

/// What PFs say of their VFs, and then the VFs: their drivers find at their start what was said.
fn adopt_vfs(links: &IndexMap<DeviceRef, Link>) -> Vec<Op> {
    let mut ops = Vec::new();
    for link in links.values() {
        let (LinkKind::Pf(Nic { vfs, .. }) | LinkKind::Netdevsim(Netdevsim { vfs, .. })) = &link.kind else {
            continue;
        };
        for (index, settings) in (0..).zip(vfs) {
            if *settings != VfSettings::default() {
                ops.push(Op::SetVf { pf: link.device.clone(), index, settings: settings.clone() });
            }
        }
    }
    for link in links.values() {
        let LinkKind::Vf { of, index } = &link.kind else { continue };
        let is_addressed = match links.get(of).map(|pf| &pf.kind) {
            Some(LinkKind::Pf(nic)) => nic.vfs[usize::from(*index)].mac.is_some(),
            _ => false,
        };
        ops.push(Op::AdoptVf { link: link.clone(), of: of.clone(), index: *index, is_addressed });
    }
    ops
}

/// What is asked of a bond's port.
fn port_options(kind: &LinkKind, port: &IfName) -> Option<BondChange> {
    let LinkKind::Bond(bond) = kind else { return None };
    bond.port_options.get(port).cloned().map(BondChange::Port)
}

/// The active port that is asked for: the kernel takes one that has joined and whose link is up
/// (`bond_option_active_slave_set()`).
fn activate(link: &Link) -> Option<Op> {
    let LinkKind::Bond(bond) = &link.kind else { return None };
    let active_slave = Some(bond.options.active_slave.clone()?);
    let options = Box::new(BondOptions { active_slave, ..BondOptions::default() });
    let change = BondChange::Bond { mode: None, options };
    Some(Op::SetBond { device: link.device.clone(), change, read_back: false })
}

/// Ports that are down when they join: a team refuses one that is up (`team_port_add()`).
fn bond_ports(topology: &Topology) -> BTreeSet<DeviceRef> {
    let takes_down = |link: &&Link| match &link.kind {
        LinkKind::Bond(_) => true,
        LinkKind::Virtual(link) => link.kind == VirtualKind::Team,
        _ => false,
    };
    topology.links.values().filter(takes_down).flat_map(Link::below).collect()
}

/// Whether a link will have carrier once everything is up: itself, what it stands on, and a cable's other end.
fn can_carry(topology: &Topology, link: &Link) -> bool {
    let asked = |key: &str, number: i64| link.extras.common.0.get(key) == Some(&Value::Number(number));
    if !link.up || asked("carrier", 0) || asked("proto_down", 1) {
        return false;
    }
    // Of 802.3ad: fewer ports than min_links are no carrier (`bond_3ad_set_carrier()`).
    let fewest = match &link.kind {
        LinkKind::Bond(bond) => bond.options.min_links.unwrap_or(0).max(1) as usize,
        _ => 1,
    };
    match &link.kind {
        LinkKind::Dummy | LinkKind::Tun(_) => true,
        // A VRF and a tunnel have carrier by themselves; a MACsec device has its parent's, a team that of any port.
        LinkKind::Virtual(virtual_link) => {
            !matches!(virtual_link.kind, VirtualKind::Macsec | VirtualKind::Team)
                || link
                    .below()
                    .iter()
                    .any(|below| topology.links.get(below).is_some_and(|it| can_carry(topology, it)))
        }
        LinkKind::Veth { peer } | LinkKind::Gadget { peer } | LinkKind::GadgetHost { peer } => {
            topology.links.get(peer).is_some_and(|peer| peer.up)
        }
        LinkKind::Netdevsim(sim) => {
            sim.peer.as_ref().is_none_or(|peer| topology.links.get(peer).is_some_and(|peer| peer.up))
        }
        // QEMU's NICs have carrier by themselves, as long as the cable is in.
        LinkKind::Nic(_) | LinkKind::Pf(_) => true,
        LinkKind::Vf { of, .. } => topology.links.get(of).is_some_and(|pf| pf.up),
        LinkKind::Vlan { .. }
        | LinkKind::Ipvlan { .. }
        | LinkKind::Macvlan { .. }
        | LinkKind::Bond(_)
        | LinkKind::Bridge { .. } => {
            let below = link.below();
            let below = below.iter().filter_map(|below| topology.links.get(below));
            below.filter(|it| can_carry(topology, it)).count() >= fewest
        }
    }
}
