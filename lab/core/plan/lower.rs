//! From a checked topology to a plan. It cannot fail.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::net::family::Family;
use crate::net::name::DeviceRef;
use crate::net::nic;
use crate::plan::build::build;
use crate::plan::moment::When;
use crate::plan::need::needs;
use crate::plan::op::{Broken, Op};
use crate::plan::run_options::RunOptions;
use crate::plan::{FlowPlan, Plan, Role, Trial, mitigation, mutants, repeat, shown, timing};
use crate::topology::Topology;
use crate::topology::fault::Fault;
use crate::topology::mitigation::Mitigation;
use crate::topology::scenario::{Flow, Hypothesis, Report, Socket, Step};

/// What a sender without an address of its own writes as its source: TEST-NET-1 of RFC 5737.
pub(crate) const SOURCE_WITHOUT_ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 254);
/// The same of IPv6, in the documentation prefix of RFC 3849.
const SOURCE_WITHOUT_ADDRESS_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0xfffe);

/// Lowers a checked topology that is run as its file says.
pub fn lower(topology: &Topology) -> Plan {
    lower_with(topology, &RunOptions::default())
}

/// Lowers a checked topology, and how it is run.
pub fn lower_with(topology: &Topology, options: &RunOptions) -> Plan {
    let asked = |report: &Report, mitigation: &Mitigation| {
        report.evidence.iter().any(|item| item.under.as_ref() == Some(&mitigation.name))
    };
    plan(topology, options, |_| true, asked)
}

/// Lowers a checked topology to what tries every mitigation, under each cause that its author says fits; `all` is under
/// each cause.
pub fn lower_attempts(topology: &Topology, options: &RunOptions, all: bool) -> Plan {
    let says_none = topology.scenario.hypotheses.iter().all(|hypothesis| hypothesis.fits.is_none());
    let wanted = |hypothesis: &Hypothesis| all || says_none || hypothesis.fits == Some(true);
    let mut plan = plan(topology, options, wanted, |_, _| true);
    plan.trials.retain(|trial| trial.role != Role::Main);
    plan
}

pub(crate) fn plan(
    topology: &Topology,
    options: &RunOptions,
    wanted: impl Fn(&Hypothesis) -> bool,
    tried: impl Fn(&Report, &Mitigation) -> bool,
) -> Plan {
    let topology = &*options.with_programs(topology);
    let scenario = &topology.scenario;
    let flows = scenario.flows.values().map(|flow| plan_flow(topology, flow)).collect();
    let mut trials = Vec::new();
    if scenario.report.is_none() || !scenario.steps.is_empty() {
        trials.push(trial(topology, Role::Main, scenario.steps.iter().flat_map(|step| act(topology, step))));
    }
    if let Some(report) = &scenario.report {
        let floods = || report.floods.iter().map(|flow| flood(topology, flow, None));
        trials.push(trial(topology, Role::Control, floods()));
        for hypothesis in scenario.hypotheses.iter().filter(|hypothesis| wanted(hypothesis)) {
            let topology = topology.under(&hypothesis.name);
            let faults = mitigation::broken(topology, hypothesis).into_iter();
            trials.push(trial(topology, Role::Hypothesis(hypothesis.name.clone()), faults.chain(floods())));
            let mitigations =
                topology.scenario.mitigations.iter().filter(|mitigation| tried(report, mitigation));
            trials.extend(mitigations.map(|one| mitigation::mitigated(topology, report, hypothesis, one)));
        }
    }
    let mut plan = Plan {
        topology: topology.name.clone(),
        needs: needs(topology, &mutants::faults(topology, options.mutants())),
        slots: nic::slots(&topology.links),
        machine: topology.machine.clone(),
        ipv6: topology.uses_ipv6(),
        options: options.clone(),
        flows,
        trials,
        repetitions: repeat::once(),
    };
    mutants::add(topology, options.mutants(), &mut plan);
    plan
}

pub(crate) fn plan_flow(topology: &Topology, flow: &Flow) -> FlowPlan {
    let family = flow.shape.family;
    let destination = topology
        .address_of(&flow.to, family)
        .expect("checked: the receiver of a flow has an address of its family");
    let stranger = match family {
        Family::Ipv4 => IpAddr::V4(SOURCE_WITHOUT_ADDRESS),
        Family::Ipv6 => IpAddr::V6(SOURCE_WITHOUT_ADDRESS_V6),
    };
    FlowPlan {
        flow: flow.clone(),
        source: topology.address_of(&flow.from, family).unwrap_or(stranger),
        destination,
    }
}

pub(crate) fn act(topology: &Topology, step: &Step) -> Vec<Op> {
    let op = match step {
        Step::Reconcile { bond, found } => {
            let enslave = |port: &DeviceRef| {
                [Op::Down(port.clone()), Op::Join { port: port.clone(), controller: bond.clone() }]
            };
            return found.iter().flat_map(enslave).collect();
        }
        Step::Refused { step, refused } => Op::Attempt { ops: act(topology, step), refused: refused.clone() },
        Step::Create(device) => return mitigation::create(topology, topology.links[device].clone()),
        Step::Request(request) => Op::Request(request.clone()),
        Step::Sysctls { ns, sysctls } => Op::Sysctls { ns: ns.clone(), sysctls: sysctls.clone() },
        Step::Delete(device) => Op::Delete(device.clone()),
        Step::Inject(name) => inject(topology, name),
        Step::Clear(name) => clear(topology, name),
        Step::Flood(name) => flood(topology, name, None),
        Step::Break { flow, inject, at_frame } => {
            let (name, fault) = (inject.clone(), topology.scenario.faults[inject].clone());
            flood(topology, flow, Some(Broken { at_frame: *at_frame, name, fault }))
        }
        Step::Wait { until, within_ms } => {
            Op::Wait { until: until.clone(), within_ms: *within_ms, unless_timed_out: false }
        }
        Step::Set { device, change } => {
            Op::SetBond { device: device.clone(), change: change.clone(), read_back: true }
        }
        Step::Pause(for_ms) => Op::Pause(*for_ms),
        Step::Attach(attachment) => crate::plan::attach::add(attachment),
        Step::Detach(attachment) => crate::plan::attach::del(attachment),
        Step::Check(attachment) => crate::plan::attach::check(attachment),
    };
    vec![op]
}

pub(crate) fn inject(topology: &Topology, name: &str) -> Op {
    Op::Inject { name: name.into(), fault: topology.scenario.faults[name].clone() }
}

pub(crate) fn clear(topology: &Topology, name: &str) -> Op {
    let fault = topology.scenario.faults[name].clone();
    let standing = topology.links.get(fault.device()).and_then(|link| link.qdisc.clone());
    Op::Clear { name: name.into(), fault, standing }
}

/// The connections of TCP flows that are sent: they are made while nothing is broken, unless that is what is asked for.
pub(crate) fn connect(topology: &Topology, acts: &[Op]) -> Vec<Op> {
    // A mutant trial may send flows of its own; none of them is a TCP flow.
    let is_tcp = |flow: u16| {
        topology
            .scenario
            .flows
            .get_index(usize::from(flow))
            .is_some_and(|(_, flow)| flow.socket == Socket::Tcp && !flow.connect_late)
    };
    let connect = acts.iter().filter_map(|act| match act {
        Op::Flood { flow, .. } if is_tcp(*flow) => Some(Op::Connect { flow: *flow }),
        _ => None,
    });
    connect.collect()
}

/// No counter shows the frames in a held ring or a socket: both are released before the trial's end, so that the frames are seen.
/// A stopped driver stays stopped until everything is counted (guest/drained.rs).
pub(crate) fn let_go(topology: &Topology, acts: &[Op]) -> Vec<Op> {
    let mut held: Vec<&str> = Vec::new();
    for act in acts {
        match act {
            Op::Inject { name, fault: Fault::Hold { .. } | Fault::Rcvbuf { .. } }
            | Op::Flood {
                broken: Some(Broken { name, fault: Fault::Hold { .. } | Fault::Rcvbuf { .. }, .. }),
                ..
            } if !held.contains(&name.as_str()) => held.push(name),
            Op::Clear { name: cleared, .. } => held.retain(|name| name != cleared),
            _ => {}
        }
    }
    held.into_iter().map(|name| clear(topology, name)).collect()
}

pub(crate) fn flood(topology: &Topology, name: &str, broken: Option<Broken>) -> Op {
    let number = topology.scenario.flows.get_index_of(name).expect("checked: the flow exists");
    Op::Flood { flow: u16::try_from(number).expect("checked: flows are numbered in 16 bits"), broken }
}

pub(crate) fn trial(topology: &Topology, role: Role, acts: impl Iterator<Item = Op>) -> Trial {
    Trial { role, ops: counted(topology, build(topology), acts.collect()) }
}

/// What happens in a trial, after what makes it stand: counted from before to after.
pub(crate) fn counted(topology: &Topology, mut ops: Vec<Op>, acts: Vec<Op>) -> Vec<Op> {
    ops.extend(connect(topology, &acts));
    ops.push(Op::Count(When::Before));
    ops.extend(topology.scenario.captures.values().cloned().map(Op::Capture));
    let let_go = let_go(topology, &acts);
    ops.extend(acts.into_iter().chain(let_go).chain(timing::settled(topology)));
    ops.extend(shown::asked(topology));
    ops.push(Op::Count(When::After));
    ops
}
