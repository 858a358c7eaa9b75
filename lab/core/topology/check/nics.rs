//! Emulated NICs of a topology: both ends of their cables, and VFs that their PFs have.

use std::collections::BTreeMap;

use indexmap::IndexMap;

use crate::net::link::{Link, LinkKind};
use crate::net::mode::{Backing, NicDriver};
use crate::net::name::{DeviceRef, IfName, NsName};
use crate::net::nic::{NETDEVSIM_VFS_MAX, NICS_MAX, Netdevsim, Nic, VFS_MAX, VfSettings};
use crate::topology::check::Checker;
use crate::topology::file::{At, LinkAttributes, NsTable, PfTable, TopologyFile, VfSettingsTable};
use crate::topology::parse::document::NOWHERE;
use crate::topology::parse::read::is_lost_name;

/// All NICs and PFs with the far end that each names, in the order of the file.
fn ends(file: &TopologyFile) -> Vec<(DeviceRef, &At<DeviceRef>)> {
    let mut ends = Vec::new();
    for (ns, table) in &file.ns {
        let nics = table.nic.iter().map(|(name, nic)| (name, &nic.peer));
        let pfs = table.pf.iter().map(|(name, pf)| (name, &pf.peer));
        ends.extend(nics.chain(pfs).map(|(name, peer)| (DeviceRef::new(&ns.value, &name.value), peer)));
    }
    ends
}

/// Substitutes take the place of a PF and of the NIC at its cable's other end: that end cannot be a PF with VFs of its own.
fn one_substitute(file: &TopologyFile, checker: &mut Checker<'_>) {
    let all = file.ns.iter().flat_map(|(ns, table)| {
        table.pf.iter().map(|(name, pf)| (DeviceRef::new(&ns.value, &name.value), pf))
    });
    let pfs: BTreeMap<DeviceRef, &PfTable> = all.collect();
    let chosen = |pf: &PfTable| pf.backing.unwrap_or(Backing::Hardware);
    for (near, pf) in pfs.iter().filter(|(_, pf)| chosen(pf) != Backing::Hardware) {
        if pf.peer.value != *near && pfs.contains_key(&pf.peer.value) {
            let message = format!("{} is a PF as well, and {} is no hardware", pf.peer.value, near);
            let hint = "only hardware links two PFs: leave `backing` away, or let the cable lead to a `nic`";
            checker.problem(&pf.peer.span, message, hint);
        }
    }
}

/// The far ends that have no table of their own, as the NICs they are.
pub fn implied_peers(file: &TopologyFile, checker: &mut Checker<'_>) -> Vec<(DeviceRef, Nic)> {
    one_substitute(file, checker);
    let ends = ends(file);
    let back: BTreeMap<&DeviceRef, &At<DeviceRef>> =
        ends.iter().map(|(device, peer)| (device, *peer)).collect();
    let mut implied: IndexMap<DeviceRef, Nic> = IndexMap::new();
    for (near, far) in &ends {
        if far.span == NOWHERE {
            continue;
        }
        if far.value == *near {
            checker.problem(&far.span, "a cable with one end", "name a device that is not this one");
        } else if let Some(back) = back.get(&far.value) {
            if back.value != *near && back.span != NOWHERE && !is_lost_name(near.name.as_str()) {
                let message = format!("{} is the peer of {}, not of {near}", far.value, back.value);
                checker.problem(&far.span, message, "the two ends of a cable must name each other");
            }
        } else if let Some(first) = implied.get(&far.value) {
            let message = format!("{} is the peer of {} already", far.value, first.peer);
            checker.problem(&far.span, message, "a cable has two ends: name another device");
        } else if checker.devices.contains_key(&far.value) || far.value.name.as_str() == "lo" {
            let message = format!("{} is there already, and it is no NIC", far.value);
            checker.problem(
                &far.span,
                message,
                "a NIC's cable leads to a NIC: name a device that is not there yet",
            );
        } else {
            checker.devices.insert(far.value.clone(), far.span.clone());
            let (peer, vfs) = (near.clone(), Vec::new());
            let nic = Nic { driver: NicDriver::E1000e, peer, vfs, backing: Backing::Hardware };
            implied.insert(far.value.clone(), nic);
        }
    }
    implied.into_iter().collect()
}

/// The hardware of one namespace.
pub fn links_of<'t>(
    ns: &NsName,
    table: &'t NsTable,
    checker: &mut Checker<'_>,
) -> Vec<(&'t At<IfName>, LinkKind, LinkAttributes<'t>)> {
    let mut links = Vec::new();
    for (name, nic) in &table.nic {
        let (peer, vfs) = (nic.peer.value.clone(), Vec::new());
        let kind = Nic { driver: nic.driver.value, peer, vfs, backing: Backing::Hardware };
        links.push((name, LinkKind::Nic(kind), nic.attributes()));
    }
    for (name, pf) in &table.pf {
        if pf.driver.value != NicDriver::Igb {
            let message = format!("an emulated {} has no VFs", pf.driver.value);
            checker.problem(&pf.driver.span, message, "write driver = \"igb\", or make it a `nic`");
        }
        if !(1..=VFS_MAX).contains(&usize::from(pf.vfs.value)) {
            let message = format!("{} VFs are out of range: 1 to {VFS_MAX}", pf.vfs.value);
            checker.problem(&pf.vfs.span, message, "an emulated igb has seven; one without is a `nic`");
        }
        let count = usize::from(pf.vfs.value).min(VFS_MAX);
        let vfs = settings(&DeviceRef::new(ns, &name.value), count, &pf.vf, checker);
        let backing = pf.backing.unwrap_or(Backing::Hardware);
        if backing == Backing::Netdevsim && count > NETDEVSIM_VFS_MAX {
            let message = format!("{count} VFs are out of range: 1 to {NETDEVSIM_VFS_MAX}");
            checker.problem(&pf.vfs.span, message, "a netdevsim has four at the most");
        }
        for (number, settings) in vfs.iter().enumerate().filter(|_| backing == Backing::Switch) {
            let written = pf.vf.keys().find(|key| key.value == number.to_string());
            if let (Some(at), Some(word)) = (written, crate::net::switch_port::unsupported_setting(settings))
            {
                let message = format!("a switch in the place of a PF does no {word}");
                checker.problem(&at.span, message, "leave it away, or take hardware or netdevsim");
            }
        }
        let kind = Nic { driver: pf.driver.value, peer: pf.peer.value.clone(), vfs, backing };
        links.push((name, LinkKind::Pf(kind), pf.attributes()));
    }
    for (name, sim) in &table.netdevsim {
        if let Some(peer) = &sim.peer {
            checker.device(peer);
        }
        let vfs = sim.vfs.as_ref().map_or(0, |vfs| usize::from(vfs.value));
        if let Some(at) = sim.vfs.as_ref().filter(|_| vfs > NETDEVSIM_VFS_MAX) {
            let message = format!("{vfs} VFs are out of range: 0 to {NETDEVSIM_VFS_MAX}");
            checker.problem(&at.span, message, "a netdevsim has four at the most");
        }
        let device = DeviceRef::new(ns, &name.value);
        let vfs = settings(&device, vfs.min(NETDEVSIM_VFS_MAX), &sim.vf, checker);
        let peer = sim.peer.as_ref().map(|peer| peer.value.clone());
        links.push((name, LinkKind::Netdevsim(Netdevsim { peer, vfs }), sim.attributes()));
    }
    for (name, vf) in &table.vf {
        checker.device(&vf.of);
        let kind = LinkKind::Vf { of: vf.of.value.clone(), index: vf.index.value };
        links.push((name, kind, vf.attributes()));
    }
    links
}

fn settings(
    device: &DeviceRef,
    count: usize,
    tables: &IndexMap<At<String>, VfSettingsTable>,
    checker: &mut Checker<'_>,
) -> Vec<VfSettings> {
    let mut vfs = vec![VfSettings::default(); count];
    for (number, table) in tables {
        match number.value.parse::<usize>().ok().and_then(|number| vfs.get_mut(number)) {
            Some(place) => *place = settings_of(table, checker),
            None => {
                let message = format!("{device} has no VF `{}`", number.value);
                let hint = format!("it has {count}, by number, from 0");
                checker.problem(&number.span, message, hint);
            }
        }
    }
    vfs
}

fn settings_of(table: &VfSettingsTable, checker: &mut Checker<'_>) -> VfSettings {
    if let Some(qos) = &table.qos {
        if table.vlan.is_none() {
            checker.problem(
                &qos.span,
                "`qos` without `vlan`",
                "the priority is part of the tag: set `vlan` too",
            );
        } else if qos.value > 7 {
            let message = format!("qos {} is out of range: 0 to 7", qos.value);
            checker.problem(&qos.span, message, "the tag has three bits for it");
        }
    }
    VfSettings {
        mac: table.mac,
        vlan: table.vlan,
        qos: table.qos.as_ref().map(|at| at.value),
        spoofchk: table.spoofchk,
        trust: table.trust,
        link_state: table.link_state,
        max_tx_rate: table.max_tx_rate,
        min_tx_rate: table.min_tx_rate,
    }
}

/// Checks that the two ends of a cable of netdevsim name each other.
fn linked(ns: &NsName, table: &NsTable, links: &IndexMap<DeviceRef, Link>, checker: &mut Checker<'_>) {
    for (name, sim) in &table.netdevsim {
        let near = DeviceRef::new(ns, &name.value);
        let Some(far) = &sim.peer else { continue };
        let Some(peer) = links.get(&far.value).filter(|_| !is_lost_name(near.name.as_str())) else {
            continue;
        };
        let hint = "the two ends of a cable must name each other";
        match &peer.kind {
            _ if far.value == near => {
                checker.problem(&far.span, "a cable with one end", "name a device that is not this one");
            }
            LinkKind::Netdevsim(Netdevsim { peer: Some(back), .. }) if *back == near => {}
            LinkKind::Netdevsim(Netdevsim { peer: Some(back), .. }) => {
                let message = format!("{} is the peer of {back}, not of {near}", far.value);
                checker.problem(&far.span, message, hint);
            }
            LinkKind::Netdevsim(_) => {
                checker.problem(&far.span, format!("{} names no peer", far.value), hint);
            }
            other => {
                let message =
                    format!("{} is a {}, and a netdevsim is linked to its like", far.value, other.word());
                checker.problem(&far.span, message, "name a `netdevsim`");
            }
        }
    }
}

/// Checks that every VF is one of its PF's and is used once, and that there are slots for all NICs. A VF whose PF
/// gives it an address has that.
pub fn bounded(file: &TopologyFile, links: &mut IndexMap<DeviceRef, Link>, checker: &mut Checker<'_>) {
    let mut used: BTreeMap<(DeviceRef, u8), DeviceRef> = BTreeMap::new();
    for (ns, table) in &file.ns {
        linked(&ns.value, table, links, checker);
        for (name, vf) in &table.vf {
            let device = DeviceRef::new(&ns.value, &name.value);
            let of = &vf.of.value;
            let Some(pf) = links.get(of) else { continue };
            let LinkKind::Pf(nic) = &pf.kind else {
                let of_netdevsim = matches!(pf.kind, LinkKind::Netdevsim(_));
                let lacks = if of_netdevsim { "whose VFs have no devices" } else { "which has no VFs" };
                let message = format!("{of} is a {}, {lacks}", pf.kind.word());
                checker.problem(&vf.of.span, message, "name a `pf`");
                continue;
            };
            if nic.backing == Backing::Netdevsim {
                let message = format!("{of} is replaced by a netdevsim, whose VFs have no devices");
                checker.problem(&vf.of.span, message, "write backing = \"switch\", or leave the VF away");
            }
            let Some(settings) = nic.vfs.get(usize::from(vf.index.value)) else {
                let message = format!("{of} has no VF {}", vf.index.value);
                let hint = format!("it has {}, counted from 0", nic.vfs.len());
                checker.problem(&vf.index.span, message, hint);
                continue;
            };
            if let Some(other) = used.insert((of.clone(), vf.index.value), device.clone()) {
                let message = format!("VF {} of {of} is {other} already", vf.index.value);
                checker.problem(&vf.index.span, message, "a VF is in one namespace: take another one");
            }
            let mac = settings.mac;
            if let Some(link) = links.get_mut(&device) {
                link.mac = link.mac.or(mac);
            }
        }
    }
    let nics = links.values().filter(|link| matches!(link.kind, LinkKind::Nic(_) | LinkKind::Pf(_))).count();
    if nics > NICS_MAX
        && let Some((_, far)) = ends(file).last()
    {
        let message = format!("{nics} NICs, {NICS_MAX} at the most");
        checker.problem(&far.span, message, "cables of `veth` cost nothing: use NICs where a driver matters");
    }
}
