//! `--prove`: what nothing can break says nothing. For each expectation and each wait, trials in which it must not hold;
//! one that holds in all of them is vacuous.
//!
//! A mutant trial is the topology with one element dropped, negated or emptied, chosen by what the condition looks at. Where
//! none of those breaks it, each single fault and step is left out in a trial of its own. The author of a file names the fault (`broken_by`) where none of these breaks it. With none of its faults, what a
//! wait waits for must not be there: otherwise it was there before the fault that it waits for.
//!
//! A report's evidence needs no trial of its own: a piece that shows under each explanation, and with nothing broken,
//! tells nothing. What a hypothesis waits for must not be there with nothing broken.

mod single;
mod state;

pub(crate) mod order;

pub use crate::judge::mutation::order::{Order, order};

use serde::{Deserialize, Serialize};

use crate::judge::account::{Account, TrialAccount};
use crate::judge::hypotheses::{CONTROL, Tried};
use crate::judge::mutation::state::{
    another_address, another_state, fewer_networks, has_options, shown_otherwise, uncaptured,
};
use crate::judge::verdict::{Applies, applies, value_of};
use crate::net::link::{Link, LinkKind};
use crate::net::name::DeviceRef;
use crate::net::version::Running;
use crate::plan::{Mutation, Role};
use crate::topology::Topology;
use crate::topology::condition::{Condition, FlowField, Subject};
use crate::topology::fault::Hook;
use crate::topology::mutant::{Element, Mutant, MutationTarget};
use crate::topology::scenario::Step;

/// Devices whose routes are taken away, each in a trial of its own, at the most.
const ROUTES_TRIED: usize = 2;
/// Whether an expectation, a wait or a piece of evidence can fail; in the document as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proof {
    /// Its name.
    pub name: String,
    /// Whether some trial breaks it; what none breaks is vacuous.
    pub proven: bool,
    /// What was broken, or changed, in that trial.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub broken_by: Option<String>,
    /// The number it has there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed: Option<u64>,
    /// The trials in which a vacuous one holds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub holds_in: Vec<String>,
}

impl Proof {
    /// `broken` is the trial that breaks it, and the number it has there; `tried` all trials.
    fn new(name: String, broken: Option<(String, u64)>, tried: impl Iterator<Item = String>) -> Self {
        let holds_in = if broken.is_some() { Vec::new() } else { tried.collect() };
        let (broken_by, observed) = broken.unzip();
        Self { name, proven: broken_by.is_some(), broken_by, observed, holds_in }
    }
}

/// The mutants that the expectations of a topology need. It has its substitutes already: a mutant is one of what runs.
pub fn of(topology: &Topology) -> Mutation {
    let mut mutants: Vec<Mutant> = Vec::new();
    let waited = topology.scenario.steps.iter().filter_map(awaited);
    let mut targets = Vec::new();
    for condition in topology.scenario.expect.iter().chain(waited) {
        let meant = mutants_of(topology, condition).into_iter();
        let places = meant.map(|mutant| place_of(mutant, &mut mutants)).collect();
        targets.push(MutationTarget { condition: condition.clone(), mutants: places });
    }
    if !targets.is_empty() {
        for mutant in single::all(topology) {
            place_of(mutant, &mut mutants);
        }
    }
    Mutation { mutants, targets }
}

/// Its place among all, which it has from now on.
fn place_of(mutant: Mutant, all: &mut Vec<Mutant>) -> usize {
    all.iter().position(|one| *one == mutant).unwrap_or_else(|| {
        all.push(mutant);
        all.len() - 1
    })
}

/// Pods not detached, each in a trial of its own.
fn not_detached(topology: &Topology) -> impl Iterator<Item = Mutant> {
    let steps = (0..).zip(&topology.scenario.steps);
    let detaching = steps.filter(|(_, step)| matches!(step, Step::Detach(_)));
    detaching.map(|(number, _)| Element::Step(number).dropped())
}

fn awaited(step: &Step) -> Option<&Condition> {
    match step {
        Step::Wait { until, .. } => Some(until),
        _ => None,
    }
}

/// Holds what is stated against the trials in which it must not hold.
pub fn prove(topology: &Topology, account: &Account, tried: &[Tried], kernel: Option<Running>) -> Vec<Proof> {
    let scenario = &topology.scenario;
    let mut proofs: Vec<Proof> = scenario
        .expect
        .iter()
        .filter(|condition| applies(condition, kernel) == Applies::Yes)
        .map(|condition| proof(condition.name.clone(), condition, mutants(account)))
        .collect();
    let waits = scenario.steps.iter().filter_map(awaited);
    proofs.extend(waits.map(|until| proof(format!("wait: {}", until.name), until, mutants(account))));
    for hypothesis in &scenario.hypotheses {
        let Some(until) = &hypothesis.wait else { continue };
        let name = format!("wait of {}: {}", hypothesis.name, until.name);
        proofs.push(proof(name, until, control(account)));
    }
    let evidence = scenario.report.iter().flat_map(|report| &report.evidence);
    let is_judged = |(_, item): &(usize, &crate::topology::scenario::Observation)| {
        applies(&item.condition, kernel) == Applies::Yes
    };
    proofs.extend(
        evidence
            .enumerate()
            .filter(is_judged)
            .map(|(number, item)| told_apart(&item.condition, number, tried)),
    );
    proofs
}

/// Trials by what they are called.
type Labelled<'a> = Vec<(String, &'a TrialAccount)>;

fn mutants(account: &Account) -> Labelled<'_> {
    let label = |trial: &'_ TrialAccount| match &trial.role {
        Role::Mutant(label) => Some(label.clone()),
        _ => None,
    };
    account.trials.iter().filter_map(|trial| Some((label(trial)?, trial))).collect()
}

/// The control: what a hypothesis waits for comes of the hypothesis.
fn control(account: &Account) -> Labelled<'_> {
    let controls = account.trials.iter().filter(|trial| trial.role == Role::Control);
    controls.map(|trial| (CONTROL.to_owned(), trial)).collect()
}

fn proof(name: String, condition: &Condition, trials: Labelled<'_>) -> Proof {
    let broken = trials.iter().find_map(|(label, trial)| Some((label.clone(), broken(condition, trial)?)));
    let tried = trials.into_iter().map(|(label, trial)| match &trial.refused {
        Some(refusal) => format!("{label} (not carried out: {})", refusal.error),
        None => label,
    });
    Proof::new(name, broken, tried)
}

/// The number with which a trial shows that a condition can fail. One that the kernel did not carry out shows nothing:
/// what is not there then was never made.
pub fn broken(condition: &Condition, trial: &TrialAccount) -> Option<u64> {
    if trial.refused.is_some() {
        return None;
    }
    value_of(&condition.subject, trial).filter(|value| !condition.bounds.hold(*value))
}

/// Whether a piece of evidence fails to show under some explanation. That a run has no such number does not count.
fn told_apart(condition: &Condition, number: usize, tried: &[Tried]) -> Proof {
    let label = |one: &Tried| one.explanation.name.clone();
    let broken = tried.iter().find_map(|one| {
        let evidence = one.explanation.evidence.get(number).filter(|evidence| !evidence.fits)?;
        Some((label(one), evidence.observed?))
    });
    let name = format!("evidence: {}", condition.name);
    Proof::new(name, broken, tried.iter().map(label))
}

fn mutants_of(topology: &Topology, condition: &Condition) -> Vec<Mutant> {
    if let Some(fault) = &condition.broken_by {
        return vec![Element::Fault(fault.clone()).negated()];
    }
    if let Subject::Refused { device, .. } = &condition.subject {
        // A step took the device for a bond, or changed an option of it; or the kernel refused an option: without any it makes the device.
        let is_taken = topology
            .scenario
            .steps
            .iter()
            .any(|step| matches!(step, Step::Reconcile { .. } | Step::Set { .. } | Step::Request(_)));
        return vec![if is_taken {
            Element::Steps.dropped()
        } else {
            Element::Link(device.clone()).emptied()
        }];
    }
    let mut found = from_the_start(topology);
    if topology.scenario.steps.iter().any(Step::changes) {
        found.push(Element::Steps.dropped());
    }
    found.extend(aimed_at(topology, condition));
    found
}

/// Nothing broken; or, where nothing is broken, what is made without its options.
fn from_the_start(topology: &Topology) -> Vec<Mutant> {
    let steps = &topology.scenario.steps;
    let mut found = Vec::new();
    if steps.iter().any(|step| matches!(step, Step::Inject(_) | Step::Break { .. })) {
        found.push(Element::Faults.dropped());
    } else {
        // What is wrong is there from the beginning: in the options of a bond, a bridge or a PF.
        found.extend(
            topology
                .links
                .values()
                .filter(|link| has_options(link))
                .map(|link| Element::Link(link.device.clone()).emptied()),
        );
    }
    found
}

/// What the number of a condition follows.
fn aimed_at(topology: &Topology, condition: &Condition) -> Vec<Mutant> {
    let bounds = condition.bounds;
    let is_zero = bounds.hold(0);
    let mut found = Vec::new();
    match &condition.subject {
        Subject::Flow { flow, field } => {
            found.extend(cut(topology, Some(flow)));
            // It may be sent to the wrong Ethernet address.
            if *field == FlowField::Delivered && is_zero {
                found.extend(unneighboured(topology, flow));
            }
            // What UDP does not tell, no fault below it can change: only what was asked for.
            if matches!(field, FlowField::Asked | FlowField::Sent | FlowField::Lost) && !is_zero {
                found.push(Element::Flows.emptied());
            }
        }
        Subject::Errno { flow, .. } | Subject::Source { flow, .. } => found.extend(cut(topology, Some(flow))),
        Subject::Fate { flow, layer, device, .. } if is_zero => {
            found.extend(loss(topology, flow, layer, device.as_ref()));
        }
        Subject::Fate { flow, .. } => found.extend(cut(topology, Some(flow))),
        Subject::Device { device, counter } if is_zero => {
            found.extend(counted(topology, device, counter));
        }
        Subject::Device { .. } => found.extend(cut(topology, None)),
        Subject::Qdisc { device, counter } if is_zero => {
            let queue = Element::Queue(device.clone());
            found.push(if counter == "drops" { queue.emptied() } else { queue.negated() });
        }
        Subject::Qdisc { .. } => found.extend(cut(topology, None)),
        Subject::Clsact { device, .. } if is_zero => {
            let dropped = |hook| Element::Frames { device: device.clone(), hook }.dropped();
            found.extend([Hook::Egress, Hook::Ingress].map(dropped));
        }
        Subject::Clsact { .. } => found.extend(cut(topology, None)),
        Subject::State { device, state } => found.extend(another_state(topology, device, *state, condition)),
        Subject::Mac { device, .. } => found.extend(another_address(topology, device, is_zero)),
        Subject::Captured { capture } => found.extend(uncaptured(topology, capture, bounds)),
        // Given by IPAM, or by the topology; a device that is down has no routes.
        Subject::Address { device, .. } => {
            found.push(Element::Steps.dropped());
            found.extend(fewer_networks(topology));
            found.push(Element::Addresses(device.clone()).dropped());
        }
        Subject::Routes { .. } | Subject::IpAddrOutput { .. } => {
            found.push(Element::Steps.dropped());
            let devices = links_of(topology).map(|link| link.device.clone());
            found.extend(devices.take(ROUTES_TRIED).map(|device| Element::Up(device).dropped()));
        }
        Subject::Shown { shown, .. } => found.extend(shown_otherwise(topology, shown, condition)),
        Subject::Refused { .. } => {}
    }
    found
}

/// Drops what a flow sends, or every flow, before the first device has it.
fn cut(topology: &Topology, flow: Option<&str>) -> Vec<Mutant> {
    let flows = topology.scenario.flows.values();
    let meant = flows.filter(|one| flow.is_none_or(|name| one.name == name));
    meant.map(|flow| egress(&flow.from)).collect()
}

/// Without the permanent neighbours by which a flow finds its receiver's Ethernet address.
fn unneighboured(topology: &Topology, flow: &str) -> Option<Mutant> {
    let from = &topology.scenario.flows.get(flow)?.from;
    let tables = topology.namespaces.get(&from.ns)?;
    let has_some = tables.neighbours.iter().any(|neighbour| neighbour.dev == from.name);
    has_some.then(|| Element::Neighbours(from.clone()).dropped())
}

/// All that a device sends dropped.
fn egress(device: &DeviceRef) -> Mutant {
    Element::Frames { device: device.clone(), hook: Hook::Egress }.dropped()
}

/// A loss at a layer at which there should be none.
fn loss(topology: &Topology, flow: &str, layer: &str, device: Option<&DeviceRef>) -> Vec<Mutant> {
    let Some(flow) = topology.scenario.flows.get(flow) else { return Vec::new() };
    let here = device.unwrap_or(&flow.from).clone();
    match layer {
        "qdisc" => vec![Element::Queue(here).emptied()],
        "tc" => vec![egress(&here)],
        "socket" => vec![Element::Up(flow.from.clone()).dropped()],
        "peer" => {
            carriers(topology, &flow.from).iter().filter_map(|port| too_small(topology, port)).collect()
        }
        _ => Vec::new(),
    }
}

/// A fault that a device counts which should count none.
fn counted(topology: &Topology, device: &DeviceRef, counter: &str) -> Vec<Mutant> {
    let Some(link) = link_of(topology, device) else { return Vec::new() };
    match (&link.kind, counter) {
        (LinkKind::Vlan { parent, .. }, "tx_dropped") => {
            vec![egress(parent)]
        }
        (_, "tx_dropped") => {
            carriers(topology, device).iter().filter_map(|port| too_small(topology, port)).collect()
        }
        (_, "rx_dropped") => vec![Element::Mtu(device.clone()).emptied()],
        _ => cut(topology, None),
    }
}

/// A device of the topology, or one that an attachment makes.
fn link_of<'t>(topology: &'t Topology, device: &DeviceRef) -> Option<&'t Link> {
    links_of(topology).find(|link| link.device == *device)
}

fn links_of(topology: &Topology) -> impl Iterator<Item = &Link> {
    topology.links.values().chain(topology.attachments.devices.values())
}

/// The cables below a device.
fn carriers(topology: &Topology, device: &DeviceRef) -> Vec<DeviceRef> {
    let Some(link) = link_of(topology, device) else { return Vec::new() };
    let below = link.below();
    if below.is_empty() {
        return vec![device.clone()];
    }
    below.iter().flat_map(|below| carriers(topology, below)).collect()
}

/// The other end of a cable takes no frame of the lab's: the driver counts it.
fn too_small(topology: &Topology, port: &DeviceRef) -> Option<Mutant> {
    far_end(topology, port).map(|peer| Element::Mtu(peer.clone()).emptied())
}

fn far_end<'t>(topology: &'t Topology, port: &DeviceRef) -> Option<&'t DeviceRef> {
    match &link_of(topology, port)?.kind {
        LinkKind::Veth { peer } => Some(peer),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::mutation::state::opposite;
    use crate::plan::lower::lower_with;
    use crate::plan::op::Op;
    use crate::plan::{Plan, RunOptions};
    use crate::topology::condition::Bounds;

    const STACK: &str = r#"
[ns.node.veth.p0]
peer = "switch:p0"
[ns.node.bond.bond0]
mode = "active-backup"
miimon = 50
ports = ["p0"]
addresses = ["192.0.2.1/24"]
[ns.switch.veth.p0]
peer = "node:p0"
addresses = ["192.0.2.2/24"]
"#;

    const TRAFFIC: &str = r#"
[flow.f]
from = "node:bond0"
to = "switch:p0"
frames = 9
[fault.qdisc.full]
device = "node:p0"
qdisc = { kind = "pfifo", limit = 0 }
"#;

    fn armed(rest: &str) -> (Mutation, Plan) {
        armed_at_rest(&format!("{TRAFFIC}{rest}"))
    }

    /// Without a flow and a fault.
    fn armed_at_rest(rest: &str) -> (Mutation, Plan) {
        armed_as(&format!("{STACK}{rest}"))
    }

    fn armed_as(text: &str) -> (Mutation, Plan) {
        let topology = Topology::parse("t", "t.toml", text).unwrap_or_else(|errors| panic!("{errors}"));
        let mutation = of(&topology);
        let options = RunOptions { mutation: Some(mutation.clone()), ..RunOptions::default() };
        (mutation, lower_with(&topology, &options))
    }

    #[rstest::rstest]
    #[case(
        "flow = \"f\"\nerrno = \"ENOBUFS\"\nequals = 9",
        "nothing broken; all frames dropped at egress of node:bond0"
    )]
    #[case(
        "flow = \"f\"\nfield = \"lost\"\nequals = 9",
        "nothing broken; all frames dropped at egress of node:bond0; half of the frames"
    )]
    #[case(
        "flow = \"f\"\nfield = \"sent\"\nequals = 9",
        "nothing broken; all frames dropped at egress of node:bond0; half of the frames"
    )]
    #[case(
        "flow = \"f\"\nlayer = \"tc\"\nequals = 0",
        "nothing broken; all frames dropped at egress of node:bond0"
    )]
    #[case(
        "device = \"node:bond0\"\ncounter = \"tx_dropped\"\nequals = 0",
        "nothing broken; smallest mtu of switch:p0"
    )]
    #[case(
        "qdisc = \"node:p0\"\ncounter = \"drops\"\nequals = 0",
        "nothing broken; queue of node:p0 with limit 0"
    )]
    #[case("device = \"node:p0\"\nstate = \"active\"\nequals = 1", "nothing broken; node:p0 set down")]
    #[case(
        "device = \"node:bond0\"\nstate = \"ports\"\nequals = 1",
        "nothing broken; node:p0 released from node:bond0"
    )]
    #[case(
        "device = \"node:bond0\"\nstate = \"carrier\"\nequals = 0",
        "nothing broken; node:bond0 with another port"
    )]
    #[case("flow = \"f\"\nerrno = \"EIO\"\nequals = 0\nbroken_by = \"full\"", "full from the start")]
    fn what_an_expectation_looks_at_decides_what_is_broken(#[case] expect: &str, #[case] expected: &str) {
        let (mutation, plan) =
            armed(&format!("[[step]]\ninject = \"full\"\n[[step]]\nflood = \"f\"\n[[expect]]\n{expect}\n"));
        let labels = mutation.mutants.iter().map(ToString::to_string);
        let labels: Vec<String> = labels.collect();
        assert_eq!(labels.join("; "), expected);
        let roles: Vec<&Role> = plan.trials.iter().map(|trial| &trial.role).collect();
        assert_eq!(roles.len(), 1 + labels.len(), "{roles:?}");
    }

    #[test]
    fn a_refusal_is_broken_by_a_device_without_options() {
        let text = "[ns.node.bond.bond1]\nmode = \"active-backup\"\nmiimon = 50\nuse_carrier = false\n\
                    [[expect]]\ndevice = \"node:bond1\"\nrefused = \"EINVAL\"\n";
        let (mutation, plan) = armed_at_rest(text);
        assert_eq!(mutation.mutants, [Element::Link("node:bond1".parse().unwrap()).emptied()]);
        let made = plan.trials[1].ops.iter().find_map(|op| match op {
            crate::plan::op::Op::Create { link, .. } if link.device.name.as_str() == "bond1" => {
                Some(link.clone())
            }
            _ => None,
        });
        let Some(LinkKind::Bond(bond)) = made.map(|link| link.kind) else { panic!("no bond1 is made") };
        assert_eq!((bond.options.use_carrier, bond.options.miimon), (None, None));
    }

    #[test]
    fn what_is_in_the_way_of_a_refused_step_is_left_out_alone() {
        let text = "[[step]]\nset = \"node:bond0\"\nbond = { mode = \"balance-rr\" }\nrefused = \"ENOTEMPTY\"\n\
                    [[expect]]\ndevice = \"node:bond0\"\nshow = \"mode\"\nis = \"active-backup\"\n";
        let (mutation, plan) = armed_at_rest(text);
        let emptied = Element::Ports("node:bond0".parse().unwrap()).emptied();
        let place = mutation.mutants.iter().position(|one| *one == emptied).unwrap();
        let ops = &plan.trials[1 + place].ops;
        assert!(!ops.iter().any(|op| matches!(op, Op::Join { .. })), "{ops:?}");
        assert!(ops.iter().any(|op| matches!(op, Op::Attempt { .. })), "{ops:?}");
    }

    #[test]
    fn the_configuration_of_a_hypothesis_is_a_mutant() {
        let text = "[flow.f]\nfrom = \"node:bond0\"\nto = \"switch:p0\"\nframes = 9\n\
                    [report]\nfloods = [\"f\"]\n\
                    [[report.evidence]]\nname = \"none\"\nflow = \"f\"\nfield = \"delivered\"\nequals = 0\n\
                    [hypothesis.port-down]\nabout = \"the port is down\"\nfits = true\n[hypothesis.port-down.with.ns.switch.veth.p0]\nup = false\n\
                    [[step]]\nflood = \"f\"\n\
                    [[expect]]\nflow = \"f\"\nfield = \"delivered\"\nequals = 9\n";
        let (mutation, plan) = armed_at_rest(text);
        let other = Element::Configuration("port-down".into()).negated();
        let place = mutation.mutants.iter().position(|one| *one == other).unwrap();
        let role = Role::Mutant("configured as under port-down".into());
        let trial = plan.trials.iter().find(|trial| trial.role == role).unwrap();
        let is_up = |op: &Op| matches!(op, Op::Up(device) if device.to_string() == "switch:p0");
        assert!(place < mutation.mutants.len() && !trial.ops.iter().any(is_up), "{:?}", trial.ops);
    }

    const VF: &str = r#"
[ns.node.pf.eth0]
driver = "igb"
vfs = 2
peer = "switch:p0"
vf.0 = { mac = "02:00:5e:00:53:01" }
vf.1 = { link_state = "disable" }
[ns.pod.vf.net0]
of = "node:eth0"
index = 0
[ns.pod.vf.net1]
of = "node:eth0"
index = 1
"#;

    #[rstest::rstest]
    #[case("device = \"pod:net0\"\nrefused = \"EADDRNOTAVAIL\"", "pod:net0", &[1])]
    #[case("device = \"node:eth0\"\nrefused = \"EOPNOTSUPP\"", "node:eth0", &[])]
    fn a_refusal_is_broken_by_a_pf_that_was_told_nothing_of_the_vf(
        #[case] expect: &str,
        #[case] plain: &str,
        #[case] still_set: &[u8],
    ) {
        let text = format!("{VF}[[expect]]\n{expect}\n");
        let (mutation, plan) = armed_as(&text);
        assert_eq!(mutation.mutants, [Element::Link(plain.parse().unwrap()).emptied()]);
        let set = plan.trials[1].ops.iter().filter_map(|op| match op {
            crate::plan::op::Op::SetVf { index, .. } => Some(*index),
            _ => None,
        });
        assert_eq!(set.collect::<Vec<_>>(), still_set);
    }

    #[test]
    fn an_address_is_broken_by_a_strangers() {
        let (mutation, plan) =
            armed_at_rest("[[expect]]\ndevice = \"node:p0\"\nmac = \"node:bond0\"\nequals = 1\n");
        assert_eq!(mutation.targets.len(), 1);
        let stranger = Element::Mac("node:p0".parse().unwrap()).negated();
        let place = mutation.mutants.iter().position(|one| *one == stranger).unwrap();
        assert!(mutation.targets[0].mutants.contains(&place));
        let acts = &plan.trials[1 + place].ops;
        let [.., crate::plan::op::Op::Address { device, .. }, crate::plan::op::Op::Count(_)] = &acts[..]
        else {
            panic!("it is the last thing done: {acts:?}")
        };
        assert_eq!(device.to_string(), "node:p0");
    }

    #[test]
    fn the_opposite_of_a_bound_holds_where_the_bound_does_not() {
        for (at_least, at_most, inside, outside) in [(1, Some(1), 1, 0), (0, Some(0), 0, 1), (3, None, 4, 2)]
        {
            let condition = Condition {
                name: "c".into(),
                subject: Subject::Captured { capture: "x".into() },
                bounds: Bounds { at_least, at_most },
                broken_by: None,
                when: None,
            };
            let opposite = opposite(&condition).bounds;
            assert!(opposite.hold(outside) && !opposite.hold(inside), "{at_least} {at_most:?}");
        }
    }
}
