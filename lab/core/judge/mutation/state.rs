//! Mutants that change a state, an address, or what a capture counts.

use crate::judge::mutation::{MTU_OTHER, egress, far_end, link_of, links_of, mtu};
use crate::net::link::{Link, LinkKind};
use crate::net::name::DeviceRef;
use crate::net::nic::VfSettings;
use crate::plan;
use crate::topology::Topology;
use crate::topology::cni::{Attached, Delegate};
use crate::topology::condition::{Bounds, Condition, State};
use crate::topology::fault::Fault;
use crate::topology::mutant::Mutant;
use crate::topology::observation::Shown;
use crate::topology::scenario::Step;
use crate::topology::substitute::set_down;

/// Its bond without it; an address by default, for what the first port of a bond has is its own and the bond's;
/// the bond's way of choosing an address, and each that it could have chosen.
pub(crate) fn another_address(topology: &Topology, device: &DeviceRef, is_other: bool) -> Vec<Mutant> {
    let has = |link: &&Link| link.has_port(device) || link.device == *device;
    let bonds = links_of(topology).filter(has);
    let told = bonds.flat_map(|bond| [vec![bond.device.clone()], bond.below()].concat());
    let mut found = releases(topology, device);
    // Where it must not be a certain address, a stranger's is none either.
    found.extend((!is_other).then(|| Mutant::Readdressed(device.clone())));
    found.extend(told.map(Mutant::Plain));
    found
}

/// Whether a bond, bridge or PF has an option that it could be without.
pub(crate) fn has_options(link: &Link) -> bool {
    let mut bare = link.clone();
    plan::plain(&mut bare);
    let has_options = matches!(
        link.kind,
        LinkKind::Bond(_) | LinkKind::Bridge { .. } | LinkKind::Pf(_) | LinkKind::Netdevsim(_)
    );
    has_options && bare != *link
}

pub(crate) fn another_state(
    topology: &Topology,
    device: &DeviceRef,
    state: State,
    condition: &Condition,
) -> Vec<Mutant> {
    let ports = || link_of(topology, device).map(|link| link.below()).unwrap_or_default().into_iter();
    let fault = |fault: Fault| Mutant::Broken(fault);
    let wanted = condition.bounds;
    let broken: Vec<Mutant> = match state {
        State::Mtu => vec![mtu(topology, device, MTU_OTHER)],
        State::Exists if wanted.hold(0) => {
            return vec![Mutant::Undone, Mutant::Made(device.clone())];
        }
        State::Exists => {
            return [vec![Mutant::Undone, Mutant::NotDetached], fewer_networks(topology)].concat();
        }
        State::Up if wanted.hold(0) => return vec![Mutant::Raised(device.clone())],
        State::Up => vec![fault(set_down(topology, device))],
        // No carrier, no port: what has none gets one.
        State::Carrier | State::Ports if wanted.hold(0) => {
            bond_at(topology, device).map(Mutant::Joined).into_iter().collect()
        }
        State::Carrier => vec![fault(set_down(topology, device))],
        State::Ports => releases(topology, device),
        State::Active | State::MiiStatus if wanted.hold(0) => {
            siblings(topology, device).into_iter().map(|other| fault(set_down(topology, &other))).collect()
        }
        State::Active | State::MiiStatus => vec![fault(set_down(topology, device))],
        // What a PF puts on LACPDUs keeps partners apart.
        State::Partner | State::AggregatorPorts if configures_pf(topology) => vec![Mutant::WithoutVfSettings],
        State::Partner | State::AggregatorPorts => {
            ports().map(|port| fault(set_down(topology, &port))).collect()
        }
    };
    // The state is read at the end; until then it has to come about.
    broken.into_iter().map(|one| Mutant::Until(Box::new(one), opposite(condition))).collect()
}

/// Whether a sriov plugin has something to tell a PF.
pub(crate) fn configures_pf(topology: &Topology) -> bool {
    let says = |attached: &Attached| match &attached.network.delegate {
        Delegate::Sriov(settings) => *settings != VfSettings::default(),
        _ => false,
    };
    topology.scenario.steps.iter().any(|step| match step {
        Step::Attach(attachment) => attachment.delegates.iter().any(says),
        _ => false,
    })
}

/// A pod that is attached to its first network, to its first two, and so on.
pub(crate) fn fewer_networks(topology: &Topology) -> Vec<Mutant> {
    let of = |step: &Step| match step {
        Step::Attach(attachment) => attachment.delegates.len(),
        _ => 0,
    };
    let most = topology.scenario.steps.iter().map(of).max().unwrap_or(0);
    (1..most).map(Mutant::Networks).collect()
}

/// The device if it is a bond, or the bond that it stands on.
pub(crate) fn bond_at(topology: &Topology, device: &DeviceRef) -> Option<DeviceRef> {
    let link = link_of(topology, device)?;
    match (&link.kind, link.kind.parent()) {
        (LinkKind::Bond(_), _) => Some(device.clone()),
        (_, Some(parent)) => bond_at(topology, parent),
        (_, None) => None,
    }
}

/// The other ports of the same bond.
pub(crate) fn siblings(topology: &Topology, port: &DeviceRef) -> Vec<DeviceRef> {
    let bonds = links_of(topology).filter(|link| link.has_port(port));
    bonds.flat_map(|bond| bond.below()).filter(|other| other != port).collect()
}

/// The condition that holds where the first does not.
pub(crate) fn opposite(condition: &Condition) -> Condition {
    let Bounds { at_least, at_most } = condition.bounds;
    let bounds = match at_most {
        _ if at_least > 0 => Bounds { at_least: 0, at_most: Some(at_least - 1) },
        Some(most) => Bounds { at_least: most + 1, at_most: None },
        None => Bounds { at_least: 0, at_most: None },
    };
    Condition { name: format!("not: {}", condition.name), bounds, ..condition.clone() }
}

/// Each port taken out of its bond, for a bond or one of its ports.
pub(crate) fn releases(topology: &Topology, device: &DeviceRef) -> Vec<Mutant> {
    let is_meant = |link: &&Link| link.device == *device || link.has_port(device);
    let bonds = links_of(topology).filter(is_meant).filter(|link| !link.kind.ports().is_empty());
    let ports = bonds.flat_map(|bond| bond.below().into_iter().map(|port| (port, bond.device.clone())));
    ports.map(|(device, controller)| Mutant::Broken(Fault::Release { device, controller })).collect()
}

/// Nothing done; a device, its bond or its bridge made without options; the device or another port down.
pub(crate) fn shown_otherwise(topology: &Topology, shown: &Shown, condition: &Condition) -> Vec<Mutant> {
    let mut found = vec![Mutant::Undone];
    let Some(device) = shown.device() else { return found };
    if let Shown::Neighbour { .. } = shown {
        found.push(Mutant::WithoutNeighbours(device.clone()));
    }
    let meant = links_of(topology).filter(|link| link.device == *device || link.has_port(device));
    found.extend(meant.filter(|link| has_options(link)).map(|link| Mutant::Plain(link.device.clone())));
    found.extend(releases(topology, device));
    let mut broken: Vec<Mutant> = match shown {
        Shown::Link { what, .. } if what == "mtu" => vec![mtu(topology, device, MTU_OTHER)],
        _ => Vec::new(),
    };
    let ports = link_of(topology, device).map(|link| link.below()).unwrap_or_default();
    let down = [vec![device.clone()], siblings(topology, device), ports].concat();
    broken.extend(down.into_iter().map(|device| Mutant::Broken(Fault::Down { device })));
    found.extend(broken.into_iter().map(|one| Mutant::Until(Box::new(one), opposite(condition))));
    found
}

pub(crate) fn uncaptured(topology: &Topology, capture: &str, bounds: Bounds) -> Vec<Mutant> {
    let Some(capture) = topology.scenario.captures.get(capture) else { return Vec::new() };
    if bounds.hold(0) {
        return vec![Mutant::Replugged(capture.device.clone())];
    }
    far_end(topology, &capture.device).map(|peer| Mutant::Broken(egress(peer))).into_iter().collect()
}
