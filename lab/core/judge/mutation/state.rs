//! Mutants that change a state, an address, or what a capture counts.

use crate::judge::mutation::{egress, far_end, link_of, links_of, not_detached};
use crate::net::link::{Link, LinkKind};
use crate::net::name::DeviceRef;
use crate::net::nic::VfSettings;
use crate::plan;
use crate::topology::Topology;
use crate::topology::cni::{Attached, Delegate};
use crate::topology::condition::{Bounds, Condition, State};
use crate::topology::mutant::{Element, Mutant};
use crate::topology::observation::Shown;
use crate::topology::scenario::Step;

/// Its bond without it; an address by default, for what the first port of a bond has is its own and the bond's;
/// the bond's way of choosing an address, and each that it could have chosen.
pub(crate) fn another_address(topology: &Topology, device: &DeviceRef, is_other: bool) -> Vec<Mutant> {
    let has = |link: &&Link| link.has_port(device) || link.device == *device;
    let bonds = links_of(topology).filter(has);
    let told = bonds.flat_map(|bond| [vec![bond.device.clone()], bond.below()].concat());
    let mut found = releases(topology, device);
    // Where it must not be a certain address, a stranger's is none either.
    found.extend((!is_other).then(|| Element::Mac(device.clone()).negated()));
    found.extend(told.map(|device| Element::Link(device).emptied()));
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
    let down = |device: &DeviceRef| Element::Up(device.clone()).dropped();
    let wanted = condition.bounds;
    let broken: Vec<Mutant> = match state {
        State::Mtu => vec![Element::Mtu(device.clone()).negated()],
        State::Exists if wanted.hold(0) => {
            return vec![Element::Steps.dropped(), Element::Link(device.clone()).negated()];
        }
        State::Exists => {
            let kept = [Element::Steps.dropped()].into_iter().chain(not_detached(topology));
            return kept.chain(fewer_networks(topology)).collect();
        }
        State::Up if wanted.hold(0) => return vec![Element::Up(device.clone()).negated()],
        State::Up => vec![down(device)],
        // No carrier, no port: what has none gets one.
        State::Carrier | State::Ports if wanted.hold(0) => {
            bond_at(topology, device).map(|bond| Element::Ports(bond).negated()).into_iter().collect()
        }
        State::Carrier => vec![down(device)],
        State::Ports => releases(topology, device),
        State::Active | State::MiiStatus if wanted.hold(0) => {
            siblings(topology, device).iter().map(down).collect()
        }
        State::Active | State::MiiStatus => vec![down(device)],
        // What a PF puts on LACPDUs keeps partners apart.
        State::Partner | State::AggregatorPorts if configures_pf(topology) => {
            vec![Element::Networks(0).emptied()]
        }
        State::Partner | State::AggregatorPorts => ports().map(|port| down(&port)).collect(),
    };
    // The state is read at the end; until then it has to come about.
    broken.into_iter().map(|one| one.until(opposite(condition))).collect()
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
    (1..most).map(|first| Element::Networks(first).dropped()).collect()
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
    ports.map(|(port, controller)| Element::Port { port, controller }.dropped()).collect()
}

/// Nothing done; a device, its bond or its bridge made without options; the device or another port down.
pub(crate) fn shown_otherwise(topology: &Topology, shown: &Shown, condition: &Condition) -> Vec<Mutant> {
    let mut found = vec![Element::Steps.dropped()];
    let Some(device) = shown.device() else { return found };
    if let Shown::Neighbour { .. } = shown {
        found.push(Element::Neighbours(device.clone()).dropped());
    }
    let meant = links_of(topology).filter(|link| link.device == *device || link.has_port(device));
    found.extend(
        meant.filter(|link| has_options(link)).map(|link| Element::Link(link.device.clone()).emptied()),
    );
    found.extend(releases(topology, device));
    let mut broken: Vec<Mutant> = match shown {
        Shown::Link { what, .. } if what == "mtu" => vec![Element::Mtu(device.clone()).negated()],
        _ => Vec::new(),
    };
    let ports = link_of(topology, device).map(|link| link.below()).unwrap_or_default();
    let down = [vec![device.clone()], siblings(topology, device), ports].concat();
    broken.extend(down.into_iter().map(|device| Element::Up(device).dropped()));
    found.extend(broken.into_iter().map(|one| one.until(opposite(condition))));
    found
}

pub(crate) fn uncaptured(topology: &Topology, capture: &str, bounds: Bounds) -> Vec<Mutant> {
    let Some(capture) = topology.scenario.captures.get(capture) else { return Vec::new() };
    if bounds.hold(0) {
        return vec![Element::Cable(capture.device.clone()).negated()];
    }
    far_end(topology, &capture.device).map(egress).into_iter().collect()
}
