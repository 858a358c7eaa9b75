//! Mutants that are aimed at no condition: single faults and steps left out, what is in the way of a refused step, what hypotheses
//! configure in another way.

use std::collections::BTreeSet;

use crate::judge::mutation::state::has_options;
use crate::net::name::DeviceRef;
use crate::plan::lower::act;
use crate::plan::op::Op;
use crate::topology::Topology;
use crate::topology::mutant::{Element, Mutant};
use crate::topology::scenario::Step;

/// So many, at the most.
const SINGLE_MAX: usize = 32;

/// Each of them, which are made where none that is aimed at a condition breaks it.
pub(super) fn all(topology: &Topology) -> impl Iterator<Item = Mutant> {
    let all = single(topology).chain(not_in_the_way(topology)).chain(otherwise_configured(topology));
    all.take(SINGLE_MAX)
}

/// Each fault that is injected, and each step that changes something, left out alone. Where there is one only, it is left out
/// with all of them already.
fn single(topology: &Topology) -> impl Iterator<Item = Mutant> {
    let scenario = &topology.scenario;
    let is_injected = |name: &String| {
        scenario.steps.iter().any(|step| match step {
            Step::Inject(of) | Step::Break { inject: of, .. } => of == name,
            _ => false,
        })
    };
    let faults: Vec<Element> =
        scenario.faults.keys().filter(|name| is_injected(name)).cloned().map(Element::Fault).collect();
    let changing = (0..).zip(&scenario.steps).filter(|(_, step)| step.changes() || is_alone(step));
    let steps: Vec<Element> = changing.map(|(number, _)| Element::Step(number)).collect();
    let several = [faults, steps].into_iter().filter(|all| all.len() > 1);
    several.flatten().map(Element::dropped)
}

/// Of each step that the kernel is to refuse: what its devices have that may be in its way, each left out alone. What is expected of a
/// step that is not carried out holds under every mutant in which it still is not.
fn not_in_the_way(topology: &Topology) -> impl Iterator<Item = Mutant> {
    let steps = topology.scenario.steps.iter().filter(|step| matches!(step, Step::Refused { .. }));
    let ops: Vec<Op> = steps.flat_map(|step| act(topology, step)).collect();
    let devices: BTreeSet<DeviceRef> = ops.iter().flat_map(Op::devices).cloned().collect();
    let of_device = |device: &DeviceRef| {
        let Some(link) = topology.links.get(device) else { return Vec::new() };
        let up = link.up.then(|| Element::Up(device.clone()).dropped());
        let ports = (!link.kind.ports().is_empty()).then(|| Element::Ports(device.clone()).emptied());
        let options = has_options(link).then(|| Element::Link(device.clone()).emptied());
        let controller = topology.links.values().find(|link| link.has_port(device));
        let port = controller
            .map(|link| Element::Port { port: device.clone(), controller: link.device.clone() }.dropped());
        [up, ports, port, options].into_iter().flatten().collect()
    };
    devices.iter().flat_map(of_device).collect::<Vec<Mutant>>().into_iter()
}

/// Where hypotheses are configured in another way, that is what an expectation of the configuration as it is can follow.
fn otherwise_configured(topology: &Topology) -> impl Iterator<Item = Mutant> {
    topology.alternatives.keys().cloned().map(|name| Element::Configuration(name).negated())
}

/// Whether a step can be left out alone, beside those that change what the topology is made of.
fn is_alone(step: &Step) -> bool {
    matches!(step, Step::Detach(_) | Step::Set { .. } | Step::Reconcile { .. })
}
