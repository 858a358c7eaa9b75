//! How each kind of element of a topology is dropped, negated and emptied: one function for each kind.
//!
//! A function answers with a [`Change`], or with nothing where an element has no such opposite. What is wrong with a topology
//! is in most of them: a change that stands for itself is one of the topology without its faults.

use std::net::IpAddr;

use crate::net::address::Mac;
use crate::net::bond::Bond;
use crate::net::link::{Link, LinkKind, Virtual};
use crate::net::link_extras::Extras;
use crate::net::name::{DeviceRef, IfName};
use crate::net::nic::{Netdevsim, Nic, VfSettings};
use crate::net::qdisc::Qdisc;
use crate::plan::lower::inject;
use crate::plan::mutants::{STATE_WITHIN_MS, first_event};
use crate::plan::op::Op;
use crate::topology::Topology;
use crate::topology::cni::{Attachment, Delegate};
use crate::topology::condition::Subject;
use crate::topology::fault::{Fault, FilterKind, Hook};
use crate::topology::mutant::{Action, Element};
use crate::topology::scenario::{Flow, Socket, Step};
use crate::topology::substitute::set_down;

/// ETH_MIN_MTU: the lab's frames do not fit.
const MTU_MIN: u32 = 68;
/// Neither the usual one nor the smallest.
const MTU_OTHER: u32 = 1280;
/// More than any flow of a test needs, in bytes.
const PLUG_BYTES: u32 = 1 << 24;
/// A cable that no topology has: its name begins with a dot and is longer than a name may be.
const SPARE: [&str; 2] = [".spare0", ".spare1"];
/// An address that no device of a topology has: a stranger's.
const STRANGE_MAC: Mac = Mac([0x02, 0, 0x5e, 0xff, 0xff, 3]);

/// What one action on one element changes.
#[derive(Debug)]
pub(crate) struct Change {
    /// The model that is lowered.
    pub topology: Topology,
    /// Done when everything is made.
    pub built: Vec<Op>,
    /// Its steps before this one only make what the topology is made of.
    pub first: usize,
    /// Done before that step.
    pub start: Vec<Op>,
    /// Done after the last step.
    pub end: Vec<Op>,
}

impl Change {
    /// The topology as written.
    fn as_written(topology: &Topology) -> Self {
        let first = first_event(&topology.scenario.steps);
        Self { topology: topology.clone(), built: Vec::new(), first, start: Vec::new(), end: Vec::new() }
    }

    /// The topology without its faults. What they would bring about is not waited for.
    pub(crate) fn without_faults(topology: &Topology) -> Self {
        let mut change = Self::as_written(topology);
        let steps = &mut change.topology.scenario.steps;
        let rest = steps.split_off(change.first).into_iter().filter_map(without_fault);
        steps.extend(rest);
        change
    }

    fn with_model(mut self, change: impl FnOnce(&mut Topology)) -> Self {
        change(&mut self.topology);
        self
    }

    /// The same with this fault from the first step on.
    fn broken(self, fault: Fault) -> Self {
        Self { start: vec![Op::Inject { name: "mutant".into(), fault }], ..self }
    }

    fn ending(self, op: Op) -> Self {
        Self { end: vec![op], ..self }
    }
}

/// What an action on an element of a topology changes; `None` where the element has no such opposite.
pub(crate) fn change(topology: &Topology, action: Action, of: &Element) -> Option<Change> {
    match of {
        Element::Faults => faults(topology, action),
        Element::Fault(name) => fault(topology, action, name),
        Element::Steps => steps(topology, action),
        Element::Step(number) => step(topology, action, *number),
        Element::Flows => flows(topology, action),
        Element::Networks(first) => networks(topology, action, *first),
        Element::Link(device) => link(topology, action, device),
        Element::Addresses(device) => addresses(topology, action, device),
        Element::Neighbours(device) => neighbours(topology, action, device),
        Element::Port { port, controller } => port_of(topology, action, port, controller),
        Element::Ports(bond) => ports(topology, action, bond),
        Element::Up(device) => up(topology, action, device),
        Element::Mac(device) => mac(topology, action, device),
        Element::Mtu(device) => mtu(topology, action, device),
        Element::Queue(device) => queue(topology, action, device),
        Element::Frames { device, hook } => frames(topology, action, device, *hook),
        Element::Cable(device) => cable(topology, action, device),
        Element::Configuration(name) => configuration(topology, action, name),
    }
}

fn faults(topology: &Topology, action: Action) -> Option<Change> {
    (action == Action::Drop).then(|| Change::without_faults(topology))
}

/// What a step is where faults are left out.
fn without_fault(step: Step) -> Option<Step> {
    match step {
        Step::Break { flow, .. } => Some(Step::Flood(flow)),
        Step::Wait { ref until, .. } => matches!(until.subject, Subject::Captured { .. }).then_some(step),
        Step::Inject(_) | Step::Clear(_) => None,
        Step::Refused { ref step, .. } if !step.changes() => None,
        step => Some(step),
    }
}

/// Left out where it is injected; or there from the start and everything else as written.
fn fault(topology: &Topology, action: Action, name: &str) -> Option<Change> {
    topology.scenario.faults.get(name)?;
    let change = Change::as_written(topology);
    match action {
        Action::Drop => Some(change.with_model(|topology| {
            let steps = &mut topology.scenario.steps;
            steps.retain(|step| !matches!(step, Step::Inject(of) | Step::Clear(of) if of == name));
            for step in steps {
                if let Step::Break { flow, inject, .. } = step
                    && inject == name
                {
                    *step = Step::Flood(flow.clone());
                }
            }
        })),
        // An author may mean what comes of it: a port is given up when miimon has looked.
        Action::Negate => {
            Some(Change { start: vec![inject(topology, name), Op::Pause(STATE_WITHIN_MS / 10)], ..change })
        }
        Action::Empty => None,
    }
}

fn steps(topology: &Topology, action: Action) -> Option<Change> {
    let change = || Change::without_faults(topology).with_model(|topology| topology.scenario.steps.clear());
    (action == Action::Drop).then(change)
}

/// Left out, and everything else as written.
fn step(topology: &Topology, action: Action, number: usize) -> Option<Change> {
    topology.scenario.steps.get(number)?;
    let change = || {
        Change::as_written(topology).with_model(|topology| {
            topology.scenario.steps.remove(number);
        })
    };
    (action == Action::Drop).then(change)
}

/// Half of the frames of each. A TCP flow whose connection is made before, by its number, stays whole.
fn flows(topology: &Topology, action: Action) -> Option<Change> {
    let is_whole = |flow: &Flow| flow.socket == Socket::Tcp && !flow.connect_late;
    let change = || {
        Change::as_written(topology).with_model(|topology| {
            let flows = &mut topology.scenario.flows;
            flows.values_mut().filter(|flow| !is_whole(flow)).for_each(|flow| {
                flow.frames = flow.frames.div_ceil(2);
            });
            for step in &mut topology.scenario.steps {
                if let Step::Break { flow, at_frame, .. } = step
                    && !flows.get(flow).is_some_and(is_whole)
                {
                    *at_frame /= 2;
                }
            }
        })
    };
    (action == Action::Empty).then(change)
}

/// Those after the first so many not attached, and nothing done with the pods; or all attached by a sriov plugin that asks
/// nothing of the PF: no VLAN, no spoofchk, no trust.
fn networks(topology: &Topology, action: Action, first: usize) -> Option<Change> {
    let change = Change::without_faults(topology);
    match action {
        Action::Drop => Some(change.with_model(|topology| {
            topology.scenario.steps.retain(|step| matches!(step, Step::Attach(_)));
            for attachment in attachments(&mut topology.scenario.steps) {
                attachment.delegates.truncate(first);
                attachment.fails = None;
            }
        })),
        Action::Empty => Some(change.with_model(|topology| {
            let attached = attachments(&mut topology.scenario.steps);
            for delegate in attached.flat_map(|attachment| attachment.delegates.iter_mut().skip(first)) {
                if let Delegate::Sriov(settings) = &mut delegate.network.delegate {
                    *settings = VfSettings::default();
                }
            }
        })),
        Action::Negate => None,
    }
}

fn attachments(steps: &mut [Step]) -> impl Iterator<Item = &mut Attachment> {
    steps.iter_mut().filter_map(|step| match step {
        Step::Attach(attachment) | Step::Check(attachment) => Some(attachment.as_mut()),
        _ => None,
    })
}

/// Made without its options: a PF's are its VF settings; a VF's, those that its PF has for it. Or one of that name made where
/// there must be none.
fn link(topology: &Topology, action: Action, device: &DeviceRef) -> Option<Change> {
    match action {
        Action::Empty => {
            Some(Change::without_faults(topology).with_model(|topology| without_options(topology, device)))
        }
        Action::Negate => {
            let made = spare(device, &DeviceRef::new(&device.ns, &name(SPARE[1])));
            Some(Change::as_written(topology).ending(made))
        }
        Action::Drop => None,
    }
}

fn without_options(topology: &mut Topology, device: &DeviceRef) {
    // What a VF is without is its PF's to say.
    let of = topology.links.get(device).and_then(|link| match &link.kind {
        LinkKind::Vf { of, index } => Some((of.clone(), usize::from(*index))),
        _ => None,
    });
    if let Some((pf, index)) = of
        && let Some(Link { kind: LinkKind::Pf(Nic { vfs, .. }), .. }) = topology.links.get_mut(&pf)
        && let Some(settings) = vfs.get_mut(index)
    {
        *settings = VfSettings::default();
    }
    topology.links.values_mut().filter(|link| link.device == *device).for_each(plain);
    let attached = attachments(&mut topology.scenario.steps);
    let links = attached.flat_map(|all| &mut all.delegates).flat_map(|delegate| &mut delegate.links);
    links.filter(|link| link.device == *device).for_each(plain);
}

/// Takes away what a device can be without.
pub fn plain(link: &mut Link) {
    (link.mac, link.mtu, link.txqueuelen, link.qdisc) = (None, None, None, None);
    let Extras { options, macsec, team, .. } = std::mem::take(&mut *link.extras);
    // A VRF without its table, or a MACsec device without its keys, is none.
    if matches!(link.kind, LinkKind::Virtual(_)) {
        *link.extras = Extras { options, macsec, team, ..Extras::default() };
    }
    match &mut link.kind {
        LinkKind::Bond(bond) => **bond = Bond::new(bond.mode, bond.ports.clone()),
        LinkKind::Bridge { vlan_filtering, .. } => *vlan_filtering = false,
        LinkKind::Pf(Nic { vfs, .. }) | LinkKind::Netdevsim(Netdevsim { vfs, .. }) => {
            vfs.fill(VfSettings::default());
        }
        _ => {}
    }
}

fn addresses(topology: &Topology, action: Action, device: &DeviceRef) -> Option<Change> {
    let change =
        || Change::without_faults(topology).with_model(|topology| without_addresses(topology, device));
    (action == Action::Drop).then(change)
}

/// Takes the addresses of a device, and what would fail without them: routes whose next hop is on no link then
/// (`fib_check_nh()`), and flows of sockets that are bound to one of them.
fn without_addresses(topology: &mut Topology, device: &DeviceRef) {
    let addresses = topology.links.get_mut(device).map(|link| std::mem::take(&mut link.addresses));
    let addresses = addresses.unwrap_or_default();
    let is_near = |hop: IpAddr| addresses.iter().any(|address| address.contains(hop));
    let tables = topology.namespaces.get_mut(&device.ns).into_iter();
    tables.for_each(|tables| tables.routes.retain(|route| !route.via.is_some_and(is_near)));
    let flows = &topology.scenario.flows;
    let is_of = |flow: &str| flows.get(flow).is_some_and(|flow| [&flow.from, &flow.to].contains(&device));
    let steps = &mut topology.scenario.steps;
    steps.retain(|step| !matches!(step, Step::Flood(flow) | Step::Break { flow, .. } if is_of(flow)));
}

fn neighbours(topology: &Topology, action: Action, device: &DeviceRef) -> Option<Change> {
    let change = || {
        Change::without_faults(topology).with_model(|topology| {
            let tables = topology.namespaces.get_mut(&device.ns).into_iter();
            tables.for_each(|tables| tables.neighbours.retain(|neighbour| neighbour.dev != device.name));
        })
    };
    (action == Action::Drop).then(change)
}

fn port_of(topology: &Topology, action: Action, port: &DeviceRef, controller: &DeviceRef) -> Option<Change> {
    let released = Fault::Release { device: port.clone(), controller: controller.clone() };
    (action == Action::Drop).then(|| Change::without_faults(topology).broken(released))
}

/// As a hypothesis has it, and the same is done.
fn configuration(topology: &Topology, action: Action, hypothesis: &str) -> Option<Change> {
    let other = topology.alternatives.get(hypothesis).filter(|_| action == Action::Negate)?;
    Some(Change::as_written(topology).with_model(|topology| {
        topology.links.clone_from(&other.links);
        topology.namespaces.clone_from(&other.namespaces);
    }))
}

/// One port more, which has carrier; or none.
fn ports(topology: &Topology, action: Action, bond: &DeviceRef) -> Option<Change> {
    if action == Action::Empty {
        return Some(Change::as_written(topology).with_model(|topology| without_ports(topology, bond)));
    }
    let [near, far] = SPARE.map(|end| DeviceRef::new(&bond.ns, &name(end)));
    let built = vec![
        spare(&near, &far),
        Op::Join { port: near.clone(), controller: bond.clone() },
        Op::Up(near),
        Op::Up(far),
    ];
    (action == Action::Negate).then(|| Change { built, ..Change::without_faults(topology) })
}

fn without_ports(topology: &mut Topology, controller: &DeviceRef) {
    let Some(link) = topology.links.get_mut(controller) else { return };
    match &mut link.kind {
        LinkKind::Bond(bond) => {
            bond.ports.clear();
            bond.port_options.clear();
        }
        LinkKind::Bridge { ports, .. } | LinkKind::Virtual(Virtual { ports, .. }) => ports.clear(),
        _ => {}
    }
    link.extras.ports.clear();
}

/// Set down from the start; or set up at the end, where it must be down.
fn up(topology: &Topology, action: Action, device: &DeviceRef) -> Option<Change> {
    match action {
        Action::Drop => Some(Change::without_faults(topology).broken(set_down(topology, device))),
        Action::Negate => Some(Change::as_written(topology).ending(Op::Up(device.clone()))),
        Action::Empty => None,
    }
}

fn mac(topology: &Topology, action: Action, device: &DeviceRef) -> Option<Change> {
    let address = Op::Address { device: device.clone(), mac: STRANGE_MAC };
    (action == Action::Negate).then(|| Change::as_written(topology).ending(address))
}

fn mtu(topology: &Topology, action: Action, device: &DeviceRef) -> Option<Change> {
    let mtu = match action {
        Action::Negate => MTU_OTHER,
        Action::Empty => MTU_MIN,
        Action::Drop => return None,
    };
    let standing = topology.link(device).and_then(|link| link.mtu).unwrap_or(MTU_OTHER);
    Some(Change::without_faults(topology).broken(Fault::Mtu { device: device.clone(), mtu, standing }))
}

/// It lets nothing out; or it takes nothing.
fn queue(topology: &Topology, action: Action, device: &DeviceRef) -> Option<Change> {
    let qdisc = match action {
        Action::Negate => Qdisc::Plug { limit: PLUG_BYTES },
        Action::Empty => Qdisc::Pfifo { limit: 0 },
        Action::Drop => return None,
    };
    Some(Change::without_faults(topology).broken(Fault::Qdisc { device: device.clone(), qdisc }))
}

fn frames(topology: &Topology, action: Action, device: &DeviceRef, hook: Hook) -> Option<Change> {
    let filter = Fault::Filter { device: device.clone(), hook, vlan: None, kind: FilterKind::Clsact };
    (action == Action::Drop).then(|| Change::without_faults(topology).broken(filter))
}

/// All cables of its namespace out, and this one in again: what is above it has a new link.
fn cable(topology: &Topology, action: Action, device: &DeviceRef) -> Option<Change> {
    if action != Action::Negate {
        return None;
    }
    let is_cable = |link: &&Link| link.device.ns == device.ns && matches!(link.kind, LinkKind::Veth { .. });
    let cables = topology.links.values().filter(is_cable).map(|link| link.device.clone());
    let down = |device: DeviceRef| ("unplug".to_owned(), set_down(topology, &device));
    let mut start: Vec<Op> = cables.map(down).map(|(name, fault)| Op::Inject { name, fault }).collect();
    start.push(Op::Pause(STATE_WITHIN_MS / 10));
    let (name, fault) = down(device.clone());
    start.push(Op::Clear { name, fault, standing: None });
    start.push(Op::Pause(STATE_WITHIN_MS / 3));
    Some(Change { start, ..Change::without_faults(topology) })
}

fn name(text: &str) -> IfName {
    text.parse().expect("it is short and has no strange letter")
}

/// A cable, down.
fn spare(near: &DeviceRef, far: &DeviceRef) -> Op {
    let end = |device: &DeviceRef, peer: &DeviceRef, last| Link {
        mac: Some(Mac([0x02, 0, 0x5e, 0xff, 0xff, last])),
        ..Link::new(device.clone(), LinkKind::Veth { peer: peer.clone() })
    };
    Op::Create { link: end(near, far, 1), peer: Some(end(far, near, 2)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::lower::lower_with;
    use crate::plan::{Mutation, RunOptions};
    use crate::topology::mutant::Mutant;

    const TOPOLOGY: &str = r#"
[ns.node.veth.p0]
peer = "switch:p0"
mtu = 1400
[ns.node.bond.bond0]
mode = "active-backup"
miimon = 50
ports = ["p0"]
addresses = ["192.0.2.1/24"]
[ns.node]
neighbours = [{ to = "192.0.2.2", dev = "bond0", mac = "switch:p0" }]
[ns.switch.veth.p0]
peer = "node:p0"
addresses = ["192.0.2.2/24"]
[flow.f]
from = "node:bond0"
to = "switch:p0"
frames = 9
[fault.qdisc.full]
device = "node:p0"
qdisc = { kind = "pfifo", limit = 0 }
[[step]]
inject = "full"
[[step]]
flood = "f"
[[step]]
set = "node:bond0"
txqueuelen = 10
[[expect]]
flow = "f"
errno = "ENOBUFS"
equals = 9
"#;

    /// One of each kind, but for what only pods have.
    fn elements() -> Vec<Element> {
        let device = |text: &str| -> DeviceRef { text.parse().unwrap() };
        let (bond, port) = (device("node:bond0"), device("node:p0"));
        vec![
            Element::Faults,
            Element::Fault("full".into()),
            Element::Steps,
            Element::Step(2),
            Element::Flows,
            Element::Link(bond.clone()),
            Element::Addresses(bond.clone()),
            Element::Neighbours(bond.clone()),
            Element::Port { port: port.clone(), controller: bond.clone() },
            Element::Ports(bond.clone()),
            Element::Up(port.clone()),
            Element::Mac(port.clone()),
            Element::Mtu(port.clone()),
            Element::Queue(port.clone()),
            Element::Frames { device: bond, hook: Hook::Egress },
            Element::Cable(port),
        ]
    }

    #[test]
    fn each_action_of_each_element_makes_another_trial_with_a_label_of_its_own() {
        let topology = Topology::parse("t", "t.toml", TOPOLOGY).unwrap_or_else(|errors| panic!("{errors}"));
        let mut mutants: Vec<Mutant> = Vec::new();
        for of in elements() {
            let has = |action: &Action| change(&topology, *action, &of).is_some();
            let actions: Vec<Action> = Action::ALL.into_iter().filter(has).collect();
            assert!(!actions.is_empty(), "{of:?} cannot be changed");
            mutants.extend(actions.into_iter().map(|action| Mutant { action, of: of.clone(), until: None }));
        }
        let labels: std::collections::BTreeSet<String> = mutants.iter().map(ToString::to_string).collect();
        assert_eq!(labels.len(), mutants.len(), "{labels:?}");
        assert!(
            labels.iter().all(|label| !label.contains(" of Element") && !label.contains('{')),
            "{labels:?}"
        );
        let mutation = Some(Mutation { mutants, targets: Vec::new() });
        let plan = lower_with(&topology, &RunOptions { mutation, ..RunOptions::default() });
        for (number, trial) in plan.trials.iter().enumerate() {
            let alike = plan.trials[..number].iter().find(|other| other.ops == trial.ops);
            // With one fault and nothing that waits for it, all faults are this one.
            let is_known = trial.role.to_string() == "mutant: all but full";
            assert!(alike.is_none() || is_known, "{} is {}", trial.role, alike.unwrap().role);
        }
    }

    #[test]
    fn an_action_that_an_element_does_not_have_changes_nothing() {
        let topology = Topology::parse("t", "t.toml", TOPOLOGY).unwrap_or_else(|errors| panic!("{errors}"));
        for (action, of) in [
            (Action::Empty, Element::Faults),
            (Action::Negate, Element::Flows),
            (Action::Drop, Element::Fault("another".into())),
            (Action::Drop, Element::Step(99)),
        ] {
            assert!(change(&topology, action, &of).is_none(), "{action:?} {of:?}");
        }
    }
}
