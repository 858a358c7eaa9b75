//! Links of a topology: both ends of cables, and what each kind may say.

use std::collections::BTreeSet;

use indexmap::IndexMap;

use crate::net::address::Mac;
use crate::net::link::{Link, LinkKind, Tun, Virtual};
use crate::net::link_extras::Extras;
use crate::net::link_option::words::VirtualKind;
use crate::net::mode::{MacvlanMode, VlanProtocol};
use crate::net::name::{DeviceRef, IfName, NsName, VlanId};
use crate::topology::check::{
    Checker, bonds, extras, nics, qdiscs, shared_parent, stack, tuns, virtual_links,
};
use crate::topology::file::{At, GadgetTable, LinkAttributes, NsTable, TopologyFile, VethTable};
use crate::topology::parse::document::NOWHERE;
use crate::topology::parse::read::is_lost_name;

/// Resolves all links, those below before those above.
pub fn resolve(file: &TopologyFile, checker: &mut Checker<'_>) -> IndexMap<DeviceRef, Link> {
    for (ns, table) in &file.ns {
        for name in names(table) {
            declare(checker, &ns.value, name);
        }
    }
    let implied = implied_peers(file, checker);
    let hosts = gadget_hosts(file, checker);
    let implied_nics = nics::implied_peers(file, checker);
    let mut links = IndexMap::new();
    let mut ids = VlanIds::new();
    for (ns, table) in &file.ns {
        for link in links_of(&ns.value, table, &mut ids, checker) {
            links.insert(link.device.clone(), link);
        }
    }
    for (device, peer) in implied {
        let link = finish(device, LinkKind::Veth { peer }, &LinkAttributes::NONE, checker);
        links.insert(link.device.clone(), link);
    }
    for (device, peer, table) in hosts {
        let attributes = LinkAttributes { addresses: &table.peer_addresses, ..LinkAttributes::NONE };
        let link = finish(device, LinkKind::GadgetHost { peer }, &attributes, checker);
        links.insert(link.device.clone(), link);
    }
    for (device, nic) in implied_nics {
        let link = finish(device, LinkKind::Nic(nic), &LinkAttributes::NONE, checker);
        links.insert(link.device.clone(), link);
    }
    nics::bounded(file, &mut links, checker);
    tuns::read_by_one_program(file, &links, checker);
    virtual_links::finish(file, &mut links, checker);
    extras::forwarding(file, &mut links, checker);
    address_by_position(&mut links);
    stack::one_holder_each(file, checker);
    shared_parent::agree(file, checker);
    stack::no_rings(file, checker);
    stack::up_on_up(file, &links, checker);
    stack::ports_go_up(file, &links, checker);
    stack::order(links)
}

/// In the order of the file.
fn names(table: &NsTable) -> Vec<&At<IfName>> {
    let mut names = table.link_names();
    names.retain(|name| !is_lost_name(name.value.as_str()));
    names.sort_by_key(|name| name.span.start);
    names
}

fn declare(checker: &mut Checker<'_>, ns: &NsName, name: &At<IfName>) {
    let device = DeviceRef::new(ns, &name.value);
    if name.value.as_str() == "lo" {
        checker.problem(&name.span, "`lo` is in every namespace already", "choose another name");
    }
    if checker.devices.contains_key(&device) {
        let message = format!("namespace {ns} has two devices `{}`", name.value);
        let hint = "a device's name must be unique in its namespace, whatever its kind";
        checker.problem(&name.span, message, hint);
    } else {
        checker.devices.insert(device, name.span.clone());
    }
}

/// The far ends that have no table of their own, with the end that named them.
fn implied_peers(file: &TopologyFile, checker: &mut Checker<'_>) -> Vec<(DeviceRef, DeviceRef)> {
    let mut implied: IndexMap<DeviceRef, DeviceRef> = IndexMap::new();
    for (ns, table) in &file.ns {
        for (name, veth) in &table.veth {
            let near = DeviceRef::new(&ns.value, &name.value);
            let far = &veth.peer;
            if far.span == NOWHERE {
                continue;
            }
            if far.value == near {
                checker.problem(&far.span, "a cable with one end", "name a device that is not this one");
            } else if far.value.name.as_str() == "lo" {
                let message = format!("{} is in every namespace already", far.value);
                checker.problem(&far.span, message, "choose another name");
            } else if let Some(back) = peer_table(file, &far.value) {
                let unreadable = back.peer.span == NOWHERE || is_lost_name(name.value.as_str());
                if back.peer.value != near && !unreadable {
                    let message = format!("{} is the peer of {}, not of {near}", far.value, back.peer.value);
                    checker.problem(&far.span, message, "the two ends of a cable must name each other");
                }
            } else if let Some(first) = implied.get(&far.value) {
                let message = format!("{} is the peer of {first} already", far.value);
                checker.problem(&far.span, message, "a cable has two ends: name another device");
            } else if checker.devices.contains_key(&far.value) {
                let what = format!("{} is there already, and it is not the end of a cable", far.value);
                checker.problem(&far.span, what, "name a device that does not exist yet, or another veth");
            } else {
                checker.devices.insert(far.value.clone(), far.span.clone());
                implied.insert(far.value.clone(), near);
            }
        }
    }
    implied.into_iter().collect()
}

/// The host's ends of USB pairs, each with the gadget's end and its table. A machine has one pair.
fn gadget_hosts<'f>(
    file: &'f TopologyFile,
    checker: &mut Checker<'_>,
) -> Vec<(DeviceRef, DeviceRef, &'f GadgetTable)> {
    let mut hosts = Vec::new();
    for (ns, name, table) in file
        .ns
        .iter()
        .flat_map(|(ns, table)| table.gadget.iter().map(move |(name, gadget)| (ns, name, gadget)))
    {
        let far = &table.peer;
        if let Some((_, first, _)) = hosts.first() {
            let message = format!("{first} is a gadget already");
            checker.problem(
                &name.span,
                message,
                "g_ether makes one pair in a machine: use veth for the others",
            );
        }
        if far.span == NOWHERE {
            continue;
        }
        if checker.devices.contains_key(&far.value) || far.value.name.as_str() == "lo" {
            let message = format!("{} is there already", far.value);
            let hint = "the host's end is made with the gadget's: name a device that does not exist yet";
            checker.problem(&far.span, message, hint);
            continue;
        }
        checker.devices.insert(far.value.clone(), far.span.clone());
        hosts.push((far.value.clone(), DeviceRef::new(&ns.value, &name.value), table));
    }
    hosts
}

/// Gives the lowest devices their Ethernet addresses by position in the file: the same in each run, and all different.
fn address_by_position(links: &mut IndexMap<DeviceRef, Link>) {
    let mut position_in: IndexMap<NsName, usize> = IndexMap::new();
    for link in links.values_mut() {
        let entry = position_in.entry(link.device.ns.clone());
        let [.., ns_high, ns_low] = entry.index().to_be_bytes();
        let position = entry.or_insert(0);
        *position += 1;
        let [.., high, low] = position.to_be_bytes();
        if link.mac.is_none() && has_own_address(link) {
            link.mac = Some(Mac([0x02, high, 0x5e, ns_high, ns_low, low]));
        }
    }
}

/// Whether a kernel gives it a random address, rather than that of a device below.
fn has_own_address(link: &Link) -> bool {
    match &link.kind {
        LinkKind::Dummy
        | LinkKind::Veth { .. }
        | LinkKind::Gadget { .. }
        | LinkKind::GadgetHost { .. }
        | LinkKind::Tun(Tun { is_tap: true, .. }) => true,
        LinkKind::Netdevsim(_) | LinkKind::Nic(_) | LinkKind::Pf(_) | LinkKind::Vf { .. } => true,
        LinkKind::Macvlan { mode, .. } => *mode != MacvlanMode::Passthru,
        LinkKind::Virtual(Virtual { kind, .. }) => match kind {
            // With gpe it carries packets without an Ethernet header (vxlan_raw_setup()).
            VirtualKind::Vxlan => link.has_ethernet_header(),
            VirtualKind::Ifb | VirtualKind::Vrf | VirtualKind::Geneve | VirtualKind::Gretap => true,
            VirtualKind::Gre | VirtualKind::Macsec | VirtualKind::Team => false,
        },
        LinkKind::Vlan { .. }
        | LinkKind::Ipvlan { .. }
        | LinkKind::Bond(_)
        | LinkKind::Bridge { .. }
        | LinkKind::Tun(_) => false,
    }
}

fn peer_table<'a>(file: &'a TopologyFile, device: &DeviceRef) -> Option<&'a VethTable> {
    let table = &file.ns.iter().find(|(ns, _)| ns.value == device.ns)?.1.veth;
    table.iter().find(|(name, _)| name.value == device.name).map(|(_, veth)| veth)
}

/// The VLANs that a device carries; its VLAN devices may be in several namespaces.
type VlanIds = BTreeSet<(DeviceRef, VlanId, VlanProtocol)>;

fn links_of(ns: &NsName, table: &NsTable, ids: &mut VlanIds, checker: &mut Checker<'_>) -> Vec<Link> {
    let mut links = Vec::new();
    let at = |name: &At<IfName>| DeviceRef::new(ns, &name.value);
    for (name, veth) in &table.veth {
        let kind = LinkKind::Veth { peer: veth.peer.value.clone() };
        links.push(finish(at(name), kind, &veth.attributes(), checker));
    }
    for (name, dummy) in &table.dummy {
        links.push(finish(at(name), LinkKind::Dummy, &dummy.attributes(), checker));
    }
    for (name, gadget) in &table.gadget {
        let kind = LinkKind::Gadget { peer: gadget.peer.value.clone() };
        links.push(finish(at(name), kind, &gadget.attributes(), checker));
    }
    for (name, kind, attributes) in tuns::links_of(table) {
        links.push(finish(at(name), kind, &attributes, checker));
    }
    for (name, bond) in &table.bond {
        let kind = LinkKind::Bond(Box::new(bonds::resolve(ns, name, bond, checker)));
        links.push(finish(at(name), kind, &bond.attributes(), checker));
    }
    for (name, vlan) in &table.vlan {
        checker.parent(ns, &vlan.parent);
        let parent = vlan.parent.value.seen_from(ns);
        let protocol = vlan.protocol.unwrap_or(VlanProtocol::Ieee8021Q);
        let later = vlan.later.unwrap_or(false);
        let known = vlan.parent.span != NOWHERE && vlan.id.span != NOWHERE && !later;
        if known && !ids.insert((parent.clone(), vlan.id.value, protocol)) {
            let message = format!("{} has VLAN {} already", vlan.parent.value, vlan.id.value.get());
            checker.problem(&vlan.id.span, message, "a device carries each VLAN id once for each protocol");
        }
        let kind = LinkKind::Vlan { parent, id: vlan.id.value, protocol };
        let mut link = Link { later, ..finish(at(name), kind, &vlan.attributes(), checker) };
        link.extras.options = extras::settings(&vlan.written(), checker);
        links.push(link);
    }
    for (name, ipvlan) in &table.ipvlan {
        let kind = shared_parent::resolve_ipvlan(ns, ipvlan, checker);
        links.push(finish(at(name), kind, &ipvlan.attributes(), checker));
    }
    for (name, macvlan) in &table.macvlan {
        let kind = shared_parent::resolve_macvlan(ns, macvlan, checker);
        let mut link = finish(at(name), kind, &macvlan.attributes(), checker);
        link.extras.options = extras::macvlan(macvlan, checker);
        links.push(link);
    }
    for (name, bridge) in &table.bridge {
        for port in &bridge.ports {
            checker.device_in(ns, port);
        }
        let ports = bridge.ports.iter().map(|port| port.value.clone()).collect();
        let kind = LinkKind::Bridge { ports, vlan_filtering: bridge.vlan_filtering.unwrap_or(false) };
        let Extras { options, ports, vlans, .. } = extras::bridge(ns, name, bridge, checker);
        let mut link = finish(at(name), kind, &bridge.attributes(), checker);
        *link.extras = Extras { options, ports, vlans, ..*link.extras };
        links.push(link);
    }
    for table in table.virtual_links() {
        let kind = virtual_links::kind(ns, &table, checker);
        let mut link = finish(at(table.name), kind, &table.attributes, checker);
        link.extras.options = extras::settings(&table.written, checker);
        links.push(link);
    }
    for (name, kind, attributes) in nics::links_of(ns, table, checker) {
        links.push(finish(at(name), kind, &attributes, checker));
    }
    links
}

fn finish(
    device: DeviceRef,
    kind: LinkKind,
    attributes: &LinkAttributes<'_>,
    checker: &mut Checker<'_>,
) -> Link {
    if let Some(mtu) = attributes.mtu {
        mtu_in_range(mtu, checker);
    }
    empty_queue_beside_qdisc(&kind, attributes, checker);
    let extras = Box::new(extras::common(&kind, attributes, checker));
    Link {
        device,
        kind,
        extras,
        mac: attributes.mac,
        mtu: attributes.mtu.map(|mtu| mtu.value),
        txqueuelen: attributes.txqueuelen,
        up: attributes.up,
        later: false,
        addresses: attributes.addresses.iter().map(|cidr| cidr.value).collect(),
        qdisc: attributes.qdisc.and_then(|qdisc| qdiscs::resolve(qdisc, checker)),
    }
}

/// A queue of length 0 beside a queueing discipline: of a device without a queue of its own (IFF_NO_QUEUE) the kernel takes it for a mistake
/// and makes it 1000 packets, "Caught tx_queue_len zero misconfig" (`qdisc_create()`, commit 84c46dd86538).
fn empty_queue_beside_qdisc(kind: &LinkKind, attributes: &LinkAttributes<'_>, checker: &mut Checker<'_>) {
    let Some(qdisc) = attributes.qdisc.filter(|_| attributes.txqueuelen == Some(0)) else { return };
    let has_no_queue = matches!(
        kind,
        LinkKind::Dummy
            | LinkKind::Veth { .. }
            | LinkKind::Bond(_)
            | LinkKind::Vlan { .. }
            | LinkKind::Ipvlan { .. }
            | LinkKind::Macvlan { .. }
            | LinkKind::Bridge { .. }
            | LinkKind::Netdevsim(_)
    );
    if has_no_queue {
        let hint = "the kernel makes such a queue 1000 packets long: give the discipline a `limit`, or set the length by a step";
        checker.problem(&qdisc.span, "a queueing discipline beside `txqueuelen = 0`", hint);
    }
}

/// Checks a largest packet: `dev_validate_mtu()` knows the device's own limits, which are narrower.
pub fn mtu_in_range(mtu: &At<u32>, checker: &mut Checker<'_>) {
    if !(68..=65535).contains(&mtu.value) {
        let message = format!("mtu {} is out of range: 68 to 65535", mtu.value);
        checker.problem(&mtu.span, message, "Ethernet's is 1500");
    }
}
