//! Faults, resolved and checked.

use std::collections::BTreeSet;

use indexmap::IndexMap;

use crate::net::link::{Link, LinkKind, Tun};
use crate::net::mode::BondMode;
use crate::net::name::DeviceRef;
use crate::net::nic::slot_of;
use crate::topology::check::Checker;
use crate::topology::check::links::mtu_in_range;
use crate::topology::fault::{Fault, Hook, PartnerScript, PartnerSends};
use crate::topology::file::faults as written;
use crate::topology::file::{
    At, BacklogFaultTable, FilterFaultTable, MtuFaultTable, PartnerFaultTable, TopologyFile,
};
use crate::topology::{Topology, substitute};

/// ETH_DATA_LEN: a device's MTU by default.
const MTU_DEFAULT: u32 = 1500;

/// The kernel reads the limit as a signed number (`proc_dointvec()`).
const BACKLOG_MAX: u32 = i32::MAX.cast_unsigned();

/// A partner sends for ten minutes at the most.
const FLAP_S_MAX: u16 = 300;

/// Resolves all faults, in the order of the file.
pub fn resolve(
    file: &TopologyFile,
    topology: &Topology,
    checker: &mut Checker<'_>,
) -> IndexMap<String, Fault> {
    let mut found = written::of_each_kind(&file.fault, topology, checker);
    found.sort_by_key(|(name, _)| name.span.start);
    let mut faults = IndexMap::new();
    let mut names = BTreeSet::new();
    for (name, fault) in found {
        if !names.insert(&name.value) {
            let message = format!("two faults are called `{}`", name.value);
            checker.problem(&name.span, message, "a fault's name must be unique, whatever its kind");
        }
        match fault {
            Some(fault) => drop(faults.insert(name.value.clone(), fault)),
            None => checker.lost.add_name(&name.value),
        }
    }
    faults
}

pub(crate) fn backlog(table: &BacklogFaultTable, checker: &mut Checker<'_>) -> Fault {
    if table.limit.value > BACKLOG_MAX {
        let message = format!("{} frames are out of range: 0 to {BACKLOG_MAX}", table.limit.value);
        checker.problem(&table.limit.span, message, "the kernel's own limit is 1000");
    }
    Fault::Backlog { device: table.device.value.clone(), limit: table.limit.value }
}

pub(crate) fn unplug(
    device: &At<DeviceRef>,
    topology: &Topology,
    checker: &mut Checker<'_>,
) -> Option<Fault> {
    checker.device(device);
    let link = topology.links.get(&device.value)?;
    if let Some(fault) = substitute::unplug(topology, &device.value) {
        return Some(fault);
    }
    if !matches!(link.kind, LinkKind::Nic(_) | LinkKind::Pf(_)) {
        let message = format!("{} is a {}, which has no cable of its own", device.value, link.kind.word());
        checker.problem(&device.span, message, "name a `nic` or `pf`; of a veth, take the other end `down`");
        return None;
    }
    let slot = slot_of(&topology.links, &device.value)?;
    Some(Fault::Unplug { device: device.value.clone(), slot })
}

pub(crate) fn filter(table: &FilterFaultTable, checker: &mut Checker<'_>) -> Fault {
    checker.device(&table.device);
    let kind = table.kind.unwrap_or_default();
    if let Some(vlan) = table.vlan.as_ref().filter(|_| !kind.sees_vlans()) {
        let hint = "use kind = \"clsact\" or \"tcx\" with `vlan`";
        checker.problem(&vlan.span, format!("an {} filter drops every frame", kind.word()), hint);
    }
    if kind.is_ingress_only() && table.hook.value == Hook::Egress {
        let message = format!("an {} filter exists on ingress only", kind.word());
        checker.problem(&table.hook.span, message, "use hook = \"ingress\"");
    }
    let vlan = table.vlan.as_ref().map(|vlan| vlan.value);
    Fault::Filter { device: table.device.value.clone(), hook: table.hook.value, vlan, kind }
}

pub(crate) fn release(
    device: &At<DeviceRef>,
    topology: &Topology,
    checker: &mut Checker<'_>,
) -> Option<Fault> {
    checker.device(device);
    let has_port = |link: &&Link| link.has_port(&device.value);
    let Some(controller) = topology.links.values().find(has_port) else {
        let unreadable = topology.links.keys().any(|device| checker.lost_of(device, "ports"));
        if topology.links.contains_key(&device.value) && !unreadable {
            let message = format!("{} is not a port", device.value);
            checker.problem(&device.span, message, "only a port of a bond or bridge can be taken out of it");
        }
        return None;
    };
    Some(Fault::Release { device: device.value.clone(), controller: controller.device.clone() })
}

pub(crate) fn mtu(table: &MtuFaultTable, topology: &Topology, checker: &mut Checker<'_>) -> Fault {
    mtu_in_range(&table.mtu, checker);
    let device = table.device.value.clone();
    let standing = standing_mtu(&device, topology, topology.links.len());
    Fault::Mtu { device, mtu: table.mtu.value, standing }
}

/// What a device has: its own, its parent's, or the default. `depth` ends the search in a ring.
fn standing_mtu(device: &DeviceRef, topology: &Topology, depth: usize) -> u32 {
    let Some(link) = topology.link(device) else { return MTU_DEFAULT };
    match (link.mtu, link.kind.parent()) {
        (Some(mtu), _) => mtu,
        (None, Some(parent)) if depth > 0 => standing_mtu(parent, topology, depth - 1),
        _ => MTU_DEFAULT,
    }
}

pub(crate) fn hold(device: &At<DeviceRef>, topology: &Topology, checker: &mut Checker<'_>) -> Option<Fault> {
    checker.device(device);
    match &topology.link(&device.value)?.kind {
        LinkKind::Veth { peer } => Some(Fault::Hold { device: device.value.clone(), peer: peer.clone() }),
        other => {
            let message = format!("{} is a {}, not the end of a cable", device.value, other.word());
            checker.problem(&device.span, message, "only a veth has a ring that can be held");
            None
        }
    }
}

pub(crate) fn stall(device: &At<DeviceRef>, topology: &Topology, checker: &mut Checker<'_>) -> Option<Fault> {
    checker.device(device);
    match &topology.links.get(&device.value)?.kind {
        LinkKind::Gadget { peer } | LinkKind::Tun(Tun { peer: Some(peer), .. }) => {
            Some(Fault::Stall { device: device.value.clone(), peer: peer.clone() })
        }
        LinkKind::Tun(_) => {
            let hint = "give it a `peer`, to which a program writes what it reads of it";
            checker.problem(&device.span, format!("no program reads {}", device.value), hint);
            None
        }
        other => {
            let message = format!(
                "{} is a {}: neither the gadget's end of a USB pair, nor a tap or tun",
                device.value,
                other.word()
            );
            checker.problem(&device.span, message, "use a `gadget` link, or `hold` for the end of a cable");
            None
        }
    }
}

/// How long a flapping partner is in sync, and out of it.
fn flapping(at: &At<u16>, table: &PartnerFaultTable, checker: &mut Checker<'_>) -> u16 {
    if !(1..=FLAP_S_MAX).contains(&at.value) {
        let message = format!("{} s in sync are out of range: 1 to {FLAP_S_MAX}", at.value);
        checker.problem(&at.span, message, "4 s are longer than a port needs to come into sync");
    } else if !table.in_sync.as_ref().is_some_and(|in_sync| in_sync.value) {
        checker.problem(&at.span, "a partner that is never in sync cannot flap", "add `in_sync = true`");
    } else if table.sends == Some(PartnerSends::Slow) {
        let hint =
            "leave `sends` away: a change is in the next LACPDU, which a slow partner sends 30 s later";
        checker.problem(&at.span, "a slow partner cannot flap", hint);
    }
    at.value
}

pub(crate) fn partner(
    table: &PartnerFaultTable,
    topology: &Topology,
    checker: &mut Checker<'_>,
) -> Option<Fault> {
    let PartnerFaultTable { device, sends, in_sync, key, flap_s, system } = table;
    if *sends == Some(PartnerSends::Never) {
        let said = [
            in_sync.as_ref().map(|at| &at.span),
            key.as_ref().map(|at| &at.span),
            system.as_ref().map(|at| &at.span),
            flap_s.as_ref().map(|at| &at.span),
        ];
        for span in said.into_iter().flatten() {
            checker.problem(
                span,
                "a partner that never sends has no state, key or system",
                "remove it, or `sends = \"never\"`",
            );
        }
    }
    checker.device(device);
    let link = topology.links.get(&device.value)?;
    let is_its_bond = |link: &&Link| match &link.kind {
        LinkKind::Bond(bond) => {
            bond.mode == BondMode::Ieee8023Ad
                && link.device.ns == device.value.ns
                && bond.ports.contains(&device.value.name)
        }
        _ => false,
    };
    let has_bond = topology.links.values().any(|link| is_its_bond(&link));
    match &link.kind {
        LinkKind::Veth { peer } if has_bond => {
            let script = PartnerScript {
                sends: sends.unwrap_or_default(),
                in_sync: in_sync.as_ref().is_some_and(|at| at.value),
                key: key.as_ref().map(|at| at.value),
                system: system.as_ref().map(|at| at.value),
                flap_s: flap_s.as_ref().map(|at| flapping(at, table, checker)),
            };
            Some(Fault::Partner { device: device.value.clone(), peer: peer.clone(), script })
        }
        _ => {
            let message = format!("{} is no cable that is a port of an 802.3ad bond", device.value);
            checker.problem(&device.span, message, "name the bond's end of a veth");
            None
        }
    }
}
