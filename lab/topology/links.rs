//! Links of a topology: both ends of cables, who stands on whom, and that nobody stands on itself.

use std::collections::{BTreeMap, BTreeSet};

use indexmap::IndexMap;

use super::check::{Checker, resolve_qdisc};
use super::file::{At, BondTable, LinkAttributes, NsTable, TopologyFile, VethTable};
use super::{Bond, Link, LinkKind};
use crate::link::{BondMode, DeviceRef, IfName, Mac, NsName, VlanProtocol};

/// Resolves all links, those below before those above.
pub fn resolve(file: &TopologyFile, checker: &mut Checker<'_>) -> IndexMap<DeviceRef, Link> {
    for (ns, table) in &file.ns {
        for name in names(table) {
            declare(checker, &ns.value, name);
        }
    }
    let implied = implied_peers(file, checker);
    let mut links = IndexMap::new();
    for (ns, table) in &file.ns {
        for link in links_of(&ns.value, table, file, checker) {
            links.insert(link.device.clone(), link);
        }
    }
    for (device, peer) in implied {
        let attributes =
            LinkAttributes { mac: None, mtu: None, txqueuelen: None, up: true, addresses: &[], qdisc: None };
        let link = finish(device, LinkKind::Veth { peer }, &attributes, checker);
        links.insert(link.device.clone(), link);
    }
    one_controller_each(file, checker);
    order(links, checker)
}

fn names(table: &NsTable) -> Vec<&At<IfName>> {
    let mut names: Vec<&At<IfName>> = table.veth.keys().collect();
    names.extend(table.dummy.keys());
    names.extend(table.bond.keys());
    names.extend(table.vlan.keys());
    names.extend(table.bridge.keys());
    names
}

fn declare(checker: &mut Checker<'_>, ns: &NsName, name: &At<IfName>) {
    let device = DeviceRef::new(ns, &name.value);
    if name.value.as_str() == "lo" {
        checker.problem(&name.span, "`lo` is in every namespace already", "choose another name");
    }
    if checker.devices.insert(device, name.span.clone()).is_some() {
        checker.problem(
            &name.span,
            format!("namespace {ns} has two devices `{}`", name.value),
            "a device's name must be unique in its namespace, whatever its kind",
        );
    }
}

/// The far ends that have no table of their own, with the end that named them.
fn implied_peers(file: &TopologyFile, checker: &mut Checker<'_>) -> Vec<(DeviceRef, DeviceRef)> {
    let mut implied: Vec<(DeviceRef, DeviceRef)> = Vec::new();
    for (ns, table) in &file.ns {
        for (name, veth) in &table.veth {
            let near = DeviceRef::new(&ns.value, &name.value);
            let far = &veth.peer;
            if far.value == near {
                checker.problem(&far.span, "a cable with one end", "name a device that is not this one");
            } else if let Some(back) = peer_table(file, &far.value) {
                if back.peer.value != near {
                    checker.problem(
                        &far.span,
                        format!("{} is the peer of {}, not of {near}", far.value, back.peer.value),
                        "the two ends of a cable must name each other",
                    );
                }
            } else if checker.devices.contains_key(&far.value) {
                let what = format!("{} is there already, and it is not the end of a cable", far.value);
                checker.problem(&far.span, what, "name a device that does not exist yet, or another veth");
            } else {
                checker.devices.insert(far.value.clone(), far.span.clone());
                implied.push((far.value.clone(), near));
            }
        }
    }
    implied
}

fn peer_table<'a>(file: &'a TopologyFile, device: &DeviceRef) -> Option<&'a VethTable> {
    let table = &file.ns.iter().find(|(ns, _)| ns.value == device.ns)?.1.veth;
    table.iter().find(|(name, _)| name.value == device.name).map(|(_, veth)| veth)
}

fn links_of(ns: &NsName, table: &NsTable, file: &TopologyFile, checker: &mut Checker<'_>) -> Vec<Link> {
    let mut links = Vec::new();
    let at = |name: &At<IfName>| DeviceRef::new(ns, &name.value);
    for (name, veth) in &table.veth {
        let kind = LinkKind::Veth { peer: veth.peer.value.clone() };
        links.push(finish(at(name), kind, &veth.attributes(), checker));
    }
    for (name, dummy) in &table.dummy {
        links.push(finish(at(name), LinkKind::Dummy, &dummy.attributes(), checker));
    }
    for (name, bond) in &table.bond {
        let kind = LinkKind::Bond(Box::new(resolve_bond(ns, bond, checker)));
        links.push(finish(at(name), kind, &bond.attributes(), checker));
    }
    let mut ids = BTreeSet::new();
    for (name, vlan) in &table.vlan {
        checker.device_in(ns, &vlan.parent);
        let protocol = vlan.protocol.unwrap_or(VlanProtocol::Ieee8021Q);
        if !ids.insert((vlan.parent.value.clone(), vlan.id, protocol)) {
            let message = format!("{} has VLAN {} already", vlan.parent.value, vlan.id.get());
            checker.problem(&name.span, message, "a device carries each VLAN id once for each protocol");
        }
        let kind = LinkKind::Vlan { parent: vlan.parent.value.clone(), id: vlan.id, protocol };
        links.push(finish(at(name), kind, &vlan.attributes(), checker));
    }
    for (name, bridge) in &table.bridge {
        for port in &bridge.ports {
            checker.device_in(ns, port);
        }
        let ports = bridge.ports.iter().map(|port| port.value.clone()).collect();
        let kind = LinkKind::Bridge { ports, vlan_filtering: bridge.vlan_filtering.unwrap_or(false) };
        links.push(finish(at(name), kind, &bridge.attributes(), checker));
    }
    // Position in the file gives the address, so that it is the same in each run and in no two places.
    let ns_number = file.ns.iter().position(|(name, _)| name.value == *ns).unwrap_or(0);
    for (number, link) in links.iter_mut().enumerate() {
        if link.mac.is_none() && matches!(link.kind, LinkKind::Dummy | LinkKind::Veth { .. }) {
            link.mac = Some(Mac([0x02, 0, 0x5e, 0, ns_number as u8, number as u8 + 1]));
        }
    }
    links
}

fn finish(
    device: DeviceRef,
    kind: LinkKind,
    attributes: &LinkAttributes<'_>,
    checker: &mut Checker<'_>,
) -> Link {
    if let Some(mtu) = attributes.mtu
        && !(68..=65535).contains(&mtu.value)
    {
        checker.problem(
            &mtu.span,
            format!("mtu {} is out of range: 68 to 65535", mtu.value),
            "Ethernet's is 1500",
        );
    }
    Link {
        device,
        kind,
        mac: attributes.mac,
        mtu: attributes.mtu.map(|mtu| mtu.value),
        txqueuelen: attributes.txqueuelen,
        up: attributes.up,
        addresses: attributes.addresses.iter().map(|cidr| cidr.value).collect(),
        qdisc: attributes.qdisc.and_then(|qdisc| resolve_qdisc(qdisc, checker)),
    }
}

fn resolve_bond(ns: &NsName, table: &BondTable, checker: &mut Checker<'_>) -> Bond {
    for port in &table.ports {
        checker.device_in(ns, port);
    }
    if let Some(primary) = &table.primary {
        if !table.ports.iter().any(|port| port.value == primary.value) {
            checker.problem(
                &primary.span,
                format!("`{}` is not a port of this bond", primary.value),
                "add it to `ports`",
            );
        }
        if !matches!(table.mode.value, BondMode::ActiveBackup | BondMode::BalanceTlb | BondMode::BalanceAlb) {
            let message = format!("`primary` has no meaning in mode {}", table.mode.value);
            checker.problem(&primary.span, message, "use it with active-backup, balance-tlb or balance-alb");
        }
    }
    for (delay, name) in [(&table.updelay, "updelay"), (&table.downdelay, "downdelay")] {
        if let Some(delay) = delay
            && table.miimon.unwrap_or(0) == 0
        {
            checker.problem(
                &delay.span,
                format!("`{name}` without `miimon`"),
                "the kernel refuses it: set `miimon` too",
            );
        }
    }
    Bond {
        mode: table.mode.value,
        ports: table.ports.iter().map(|port| port.value.clone()).collect(),
        miimon: table.miimon,
        updelay: table.updelay.as_ref().map(|at| at.value),
        downdelay: table.downdelay.as_ref().map(|at| at.value),
        use_carrier: table.use_carrier,
        arp_interval: table.arp_interval,
        arp_ip_target: table.arp_ip_target.clone(),
        arp_validate: table.arp_validate,
        primary: table.primary.as_ref().map(|at| at.value.clone()),
        primary_reselect: table.primary_reselect,
        fail_over_mac: table.fail_over_mac,
        xmit_hash_policy: table.xmit_hash_policy,
        lacp_rate: table.lacp_rate,
        lacp_active: table.lacp_active,
        ad_select: table.ad_select,
        min_links: table.min_links,
        all_slaves_active: table.all_slaves_active,
        tlb_dynamic_lb: table.tlb_dynamic_lb,
        num_grat_arp: table.num_grat_arp,
    }
}

fn one_controller_each(file: &TopologyFile, checker: &mut Checker<'_>) {
    for (ns, table) in &file.ns {
        let bonds = table.bond.iter().map(|(name, bond)| (name, &bond.ports));
        let bridges = table.bridge.iter().map(|(name, bridge)| (name, &bridge.ports));
        let mut controller_of: BTreeMap<&IfName, &IfName> = BTreeMap::new();
        for (controller, ports) in bonds.chain(bridges) {
            for port in ports {
                if let Some(first) = controller_of.insert(&port.value, &controller.value) {
                    checker.problem(
                        &port.span,
                        format!("`{}` of namespace {} is a port of `{first}` already", port.value, ns.value),
                        "a device has one controller at the most",
                    );
                }
            }
        }
    }
}

/// Those below before those above; a ring is a problem.
fn order(mut links: IndexMap<DeviceRef, Link>, checker: &mut Checker<'_>) -> IndexMap<DeviceRef, Link> {
    let mut ordered: IndexMap<DeviceRef, Link> = IndexMap::new();
    loop {
        let ready: Vec<DeviceRef> = links
            .values()
            .filter(|link| {
                let mut below =
                    link.kind.below().into_iter().map(|name| DeviceRef::new(&link.device.ns, name));
                below.all(|device| !links.contains_key(&device))
            })
            .map(|link| link.device.clone())
            .collect();
        if ready.is_empty() {
            break;
        }
        for device in ready {
            if let Some(link) = links.shift_remove(&device) {
                ordered.insert(device, link);
            }
        }
    }
    let rest: BTreeSet<DeviceRef> = links.keys().cloned().collect();
    for (device, link) in &links {
        let ring =
            link.kind.below().into_iter().find(|name| rest.contains(&DeviceRef::new(&device.ns, name)));
        if let (Some(name), Some(span)) = (ring, checker.devices.get(device).cloned()) {
            checker.problem(
                &span,
                format!("`{}` stands on `{name}`, which stands on `{}`", device.name, device.name),
                "a device cannot be below itself; the kernel answers such a request with EBUSY or ELOOP",
            );
        }
    }
    ordered.extend(links);
    ordered
}
