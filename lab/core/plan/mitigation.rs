//! Causes and attempted fixes, lowered: the operations of each, and which devices stand after them.

use indexmap::IndexMap;

use crate::net::link::Link;
use crate::net::name::DeviceRef;
use crate::plan::lower::{flood, inject, trial};
use crate::plan::op::Op;
use crate::plan::{Role, Trial};
use crate::topology::Topology;
use crate::topology::mitigation::{Change, Mitigation};
use crate::topology::scenario::{Hypothesis, Report, WITHIN_MS_DEFAULT};

/// What linkwatch takes to act on carrier that came or went, in ms: it swaps a device's queue for `noop` and back. A
/// device under a fault may never have carrier, so nothing can be waited for.
pub(crate) const CARRIER_MS: u32 = 50;

/// A cause: its faults, and what they come to by and by.
pub fn broken(topology: &Topology, hypothesis: &Hypothesis) -> Vec<Op> {
    let mut ops: Vec<Op> = hypothesis.inject.iter().map(|name| inject(topology, name)).collect();
    if let Some(until) = &hypothesis.wait {
        ops.push(Op::Wait { until: until.clone(), within_ms: WITHIN_MS_DEFAULT, unless_timed_out: false });
        ops.push(Op::Pause(CARRIER_MS));
    }
    ops
}

/// A cause with a fix: the faults, what was tried against them, and the report's flows.
pub fn mitigated(
    topology: &Topology,
    report: &Report,
    hypothesis: &Hypothesis,
    mitigation: &Mitigation,
) -> Trial {
    let mut standing: IndexMap<DeviceRef, Link> = topology
        .links
        .iter()
        .filter(|(_, link)| !link.later)
        .map(|(device, link)| (device.clone(), link.clone()))
        .collect();
    let mut acts = broken(topology, hypothesis);
    for step in &mitigation.steps {
        acts.extend(change(topology, step, &mut standing));
    }
    if mitigation.steps.iter().any(|step| matches!(step, Change::Up(_) | Change::Create { .. })) {
        acts.push(Op::Pause(CARRIER_MS));
    }
    let can_be_sent = |name: &&String| {
        let flow = &topology.scenario.flows[*name];
        standing.contains_key(&flow.from) && standing.contains_key(&flow.to)
    };
    acts.extend(report.floods.iter().filter(can_be_sent).map(|name| flood(topology, name, None)));
    let role = Role::Mitigation { cause: hypothesis.name.clone(), mitigation: mitigation.name.clone() };
    trial(topology, role, acts.into_iter())
}

fn change(topology: &Topology, step: &Change, standing: &mut IndexMap<DeviceRef, Link>) -> Vec<Op> {
    match step {
        Change::Down(device) => vec![Op::Down(device.clone())],
        Change::Up(device) => {
            let mut ops = vec![Op::Up(device.clone())];
            ops.extend(tables(topology, device));
            ops
        }
        Change::Delete(device) => {
            delete(device, standing);
            vec![Op::Delete(device.clone())]
        }
        Change::Create { device, parent } => {
            let mut link = topology.links[device].clone();
            if let (Some(parent), Some(is)) = (parent, link.kind.parent_mut()) {
                *is = parent.clone();
            }
            standing.insert(device.clone(), link.clone());
            create(topology, link)
        }
        Change::Qdisc { device, qdisc } => vec![Op::Qdisc { device: device.clone(), qdisc: qdisc.clone() }],
        Change::TxQueueLen { device, len } => {
            vec![Op::TxQueueLen { device: device.clone(), len: *len }]
        }
        Change::Offload { device, offload, on } => {
            vec![Op::Offload { device: device.clone(), offload: *offload, on: *on }]
        }
    }
}

/// Makes a device that the topology describes, with all that it gives it.
pub fn create(topology: &Topology, link: Link) -> Vec<Op> {
    let device = link.device.clone();
    let mut ops = vec![Op::Create { link: link.clone(), peer: None }];
    if link.up {
        ops.push(Op::Up(device.clone()));
    }
    ops.extend(link.qdisc.clone().map(|qdisc| Op::Qdisc { device: device.clone(), qdisc }));
    if !link.addresses.is_empty() {
        ops.push(Op::Addresses(link));
    }
    ops.extend(tables(topology, &device));
    ops
}

/// The routes and neighbours of a device: the kernel forgot them when it went down.
fn tables(topology: &Topology, device: &DeviceRef) -> Vec<Op> {
    let Some(tables) = topology.namespaces.get(&device.ns) else { return Vec::new() };
    let routes = tables.routes.iter().filter(|route| route.dev.as_ref() == Some(&device.name));
    let neighbours = tables.neighbours.iter().filter(|neighbour| neighbour.dev == device.name);
    let ns = || device.ns.clone();
    routes
        .map(|route| Op::Route { ns: ns(), route: route.clone() })
        .chain(neighbours.map(|neighbour| Op::Neighbour { ns: ns(), neighbour: neighbour.clone() }))
        .collect()
}

/// Takes a device away, and all that was made on it (NETDEV_UNREGISTER in vlan.c, ipvlan_main.c, macvlan.c).
fn delete(device: &DeviceRef, standing: &mut IndexMap<DeviceRef, Link>) {
    standing.shift_remove(device);
    let above: Vec<DeviceRef> = standing
        .values()
        .filter(|link| link.kind.parent() == Some(device))
        .map(|link| link.device.clone())
        .collect();
    for device in above {
        delete(&device, standing);
    }
}
