//! The plan: what the agent does, in order. Lowering a checked topology to it cannot fail.

mod again;
mod build;
mod calls;
mod contrary;
mod fix;
mod limits;
mod need;
mod settled;
mod text;
mod timed;

use std::net::Ipv4Addr;
use std::num::NonZeroU16;

use serde::{Deserialize, Serialize};

pub use again::REPETITIONS_MAX;
pub use calls::{LeaseCall, PluginCall};
pub use contrary::plain;
pub use need::{Need, needs_drivers, needs_netdevsim};

use build::build;
use need::needs;

use crate::cni;
use crate::dhcp::Server;
use crate::hardware::{self, Slot, VfSettings};
use crate::link::{DeviceRef, Mac, NsName};
use crate::mitigation::{Mitigation, Offload};
use crate::record::When;
use crate::scenario::{Capture, Condition, Fault, Flow, Hypothesis, Qdisc, Report, Socket, Step, ToBreak};
use crate::stand_in::SwitchPort;
use crate::sysctl::Sysctl;
use crate::topology::{Link, Neighbour, Route, Topology};

/// What a sender without an address of its own writes as its source: TEST-NET-1 of RFC 5737.
const SOURCE_WITHOUT_ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 254);

/// Everything a guest has to know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// The topology's name.
    pub topology: String,
    /// What the kernel has to offer; probed before anything is made.
    pub needs: Vec<Need>,
    /// The NICs of the machine.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub slots: Vec<Slot>,
    /// Whether IPv6 is switched on in the namespaces.
    pub ipv6: bool,
    /// Whether the drop tracepoint is left alone: to measure what watching costs.
    #[serde(default)]
    pub unobserved: bool,
    /// Flows, by number.
    pub flows: Vec<FlowPlan>,
    /// Trials, by number. Each stands in namespaces of its own.
    pub trials: Vec<Trial>,
    /// How often they are there, one round after the other.
    #[serde(default = "again::once", skip_serializing_if = "again::is_once")]
    pub repetitions: NonZeroU16,
    /// What contrary trials are to break; none of them runs when that is done.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub to_break: Vec<ToBreak>,
}

/// A flow with everything its sender and receiver need.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FlowPlan {
    /// As in the topology.
    pub flow: Flow,
    /// The sender's address.
    pub source: Ipv4Addr,
    /// The receiver's address.
    pub destination: Ipv4Addr,
}

/// One run of the topology from nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trial {
    /// What it is for.
    pub role: Role,
    /// In order.
    pub ops: Vec<Op>,
}

/// What a trial is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// The steps as written.
    Main,
    /// The report's flows with nothing broken: if they do not arrive, no hypothesis means anything.
    Control,
    /// The report's flows under one hypothesis.
    Hypothesis(String),
    /// The same, after something was tried against it.
    Mitigation {
        /// The hypothesis.
        cause: String,
        /// What was tried.
        mitigation: String,
    },
    /// A change in which some expectation must not hold.
    Contrary(String),
}

/// One thing the agent does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Op {
    /// Make a namespace, held by a file descriptor.
    Namespace(NsName),
    /// Set a namespace's settings, and read them back.
    Sysctls {
        /// In this namespace.
        ns: NsName,
        /// In this order.
        sysctls: Vec<Sysctl>,
    },
    /// Make a link, down.
    Create {
        /// The link.
        link: Link,
        /// A cable is made with both ends; this is the other.
        peer: Option<Link>,
    },
    /// Take a NIC out of its slot into its namespace, down; of a PF, make its VFs, without a driver.
    Adopt {
        /// The NIC.
        link: Link,
        /// Its place in [`Plan::slots`].
        slot: usize,
    },
    /// What a PF says of one of its VFs.
    SetVf {
        /// The PF.
        pf: DeviceRef,
        /// The VF's number.
        index: u8,
        /// What it says.
        settings: VfSettings,
    },
    /// What a port of a switch does in the place of a VF.
    SwitchPort(SwitchPort),
    /// Give a VF its driver and take its device into its namespace, down.
    AdoptVf {
        /// The VF.
        link: Link,
        /// Its PF.
        of: DeviceRef,
        /// Its number.
        index: u8,
        /// Whether its address is the PF's choice.
        is_addressed: bool,
    },
    /// Make a device a port; both are down.
    Join {
        /// The port.
        port: DeviceRef,
        /// The bond or bridge.
        controller: DeviceRef,
    },
    /// Set a link up.
    Up(DeviceRef),
    /// Change the length of a queue.
    TxQueueLen {
        /// Of this device.
        device: DeviceRef,
        /// In packets.
        len: u32,
    },
    /// Switch an offload.
    Offload {
        /// Of this device.
        device: DeviceRef,
        /// Which.
        offload: Offload,
        /// On or off.
        on: bool,
    },
    /// Put a queueing discipline at the root of a device.
    Qdisc {
        /// On this device.
        device: DeviceRef,
        /// This discipline.
        qdisc: Qdisc,
    },
    /// Give a device its addresses.
    Addresses(Link),
    /// Add a route.
    Route {
        /// In this namespace.
        ns: NsName,
        /// This route.
        route: Route,
    },
    /// Add a permanent neighbour.
    Neighbour {
        /// In this namespace.
        ns: NsName,
        /// This neighbour.
        neighbour: Neighbour,
    },
    /// Wait until these devices can carry frames.
    Ready {
        /// All that will have carrier.
        devices: Vec<DeviceRef>,
    },
    /// Read the links back and compare them with what was asked for.
    Verify {
        /// All of the topology.
        links: Vec<Link>,
    },
    /// Read all counters.
    Count(When),
    /// Count frames where they arrive, until the trial ends.
    Capture(Capture),
    /// Break something.
    Inject {
        /// The fault's name.
        name: String,
        /// The fault.
        fault: Fault,
    },
    /// Mend it.
    Clear {
        /// The fault's name.
        name: String,
        /// The fault.
        fault: Fault,
        /// The queueing discipline that the topology itself gives the device.
        standing: Option<Qdisc>,
    },
    /// Make the connection of a TCP flow, by number.
    Connect {
        /// Its place in [`Plan::flows`].
        flow: u16,
    },
    /// Send a flow, by number, and wait until nothing moves any more.
    Flood {
        /// Its place in [`Plan::flows`].
        flow: u16,
        /// What is broken in the midst of it.
        broken: Option<Broken>,
    },
    /// Wait until a condition holds; that it does not is told, and is no error.
    Wait {
        /// On a state or a capture.
        until: Condition,
        /// In ms.
        within_ms: u32,
        /// Whether to look only once where a wait before it was in vain: what it stands on will not come either.
        #[serde(default)]
        unless_in_vain: bool,
    },
    /// Let time pass, in ms.
    Pause(u32),
    /// Let a namespace pass IPv4 on.
    Forward(NsName),
    /// Have packets that leave by a device carry its address as their source.
    Masquerade(DeviceRef),
    /// Set a link down.
    Down(DeviceRef),
    /// Take a port out of its controller.
    Leave(DeviceRef),
    /// Give a link another Ethernet address.
    Address {
        /// Which.
        device: DeviceRef,
        /// This one.
        mac: Mac,
    },
    /// Move a link to another namespace, under that name.
    Move {
        /// Where it is.
        from: DeviceRef,
        /// Where it goes.
        to: DeviceRef,
    },
    /// Delete a link.
    Delete(DeviceRef),
    /// Answer DHCP in a namespace until the trial ends.
    Serve(Server),
    /// Get an address from a DHCP server, and take it.
    Lease(LeaseCall),
    /// Give it back.
    Release(LeaseCall),
    /// Run a CNI plugin's own program.
    Plugin(Box<PluginCall>),
    /// Give up, as a plugin does before it asks the kernel, in its words.
    Refuse(String),
    /// ADD of each delegate in order. When one fails, it and those before it are deleted in reverse order.
    Attach {
        /// The pod.
        pod: NsName,
        /// One for each delegate.
        parts: Vec<Part>,
        /// The network whose ADD is expected to fail.
        fails: Option<String>,
    },
    /// DEL of each delegate.
    Detach {
        /// The pod.
        pod: NsName,
        /// In order.
        undos: Vec<Undo>,
    },
    /// CHECK of each delegate: read back what ADD made.
    CheckPod {
        /// The pod.
        pod: NsName,
        /// All that was made for it.
        links: Vec<Link>,
    },
}

/// One delegate's ADD.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Part {
    /// The network's name.
    pub network: String,
    /// What its plugin does.
    pub ops: Vec<Op>,
    /// What it does on DEL.
    pub undo: Undo,
}

/// One delegate's DEL.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Undo {
    /// The network's name.
    pub network: String,
    /// Nothing is done when this device is not there. A plugin's own program is run in any case.
    pub unless_gone: Option<DeviceRef>,
    /// What its plugin does.
    pub ops: Vec<Op>,
}

/// A fault in the midst of a flow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Broken {
    /// Just before this frame.
    pub at_frame: u32,
    /// The fault's name.
    pub name: String,
    /// The fault.
    pub fault: Fault,
}

impl Op {
    /// The devices it makes or changes.
    pub fn devices(&self) -> Vec<&DeviceRef> {
        match self {
            Self::Create { link, peer } => {
                [&link.device].into_iter().chain(peer.as_ref().map(|peer| &peer.device)).collect()
            }
            Self::Adopt { link, .. } => vec![&link.device],
            Self::AdoptVf { link, of, .. } => vec![&link.device, of],
            Self::SetVf { pf, .. } => vec![pf],
            Self::SwitchPort(port) => vec![&port.device],
            Self::Join { port, controller } => vec![port, controller],
            Self::Move { from, to } => vec![from, to],
            Self::Up(device)
            | Self::Down(device)
            | Self::Leave(device)
            | Self::Delete(device)
            | Self::Masquerade(device)
            | Self::TxQueueLen { device, .. }
            | Self::Offload { device, .. }
            | Self::Address { device, .. }
            | Self::Qdisc { device, .. } => vec![device],
            Self::Addresses(link) => vec![&link.device],
            Self::Lease(call) | Self::Release(call) => vec![&call.device],
            Self::Inject { fault, .. } | Self::Clear { fault, .. } => vec![fault.device()],
            Self::Namespace(_)
            | Self::Sysctls { .. }
            | Self::Route { .. }
            | Self::Neighbour { .. }
            | Self::Ready { .. }
            | Self::Verify { .. }
            | Self::Count(_)
            | Self::Capture(_)
            | Self::Connect { .. }
            | Self::Flood { .. }
            | Self::Wait { .. }
            | Self::Pause(_)
            | Self::Forward(_)
            | Self::Serve(_)
            | Self::Plugin(_)
            | Self::Refuse(_)
            | Self::Attach { .. }
            | Self::Detach { .. }
            | Self::CheckPod { .. } => Vec::new(),
        }
    }
}

/// Lowers a checked topology.
pub fn lower(topology: &Topology) -> Plan {
    let asked = |report: &Report, mitigation: &Mitigation| {
        report.evidence.iter().any(|item| item.under.as_ref() == Some(&mitigation.name))
    };
    plan(topology, |_| true, asked)
}

/// Lowers a checked topology to what tries every mitigation, under each cause that its author says fits; `all` is under
/// each cause.
pub fn lower_attempts(topology: &Topology, all: bool) -> Plan {
    let says_none = topology.scenario.hypotheses.iter().all(|hypothesis| hypothesis.fits.is_none());
    let wanted = |hypothesis: &Hypothesis| all || says_none || hypothesis.fits == Some(true);
    let mut plan = plan(topology, wanted, |_, _| true);
    plan.trials.retain(|trial| trial.role != Role::Main);
    plan
}

fn plan(
    topology: &Topology,
    wanted: impl Fn(&Hypothesis) -> bool,
    tried: impl Fn(&Report, &Mitigation) -> bool,
) -> Plan {
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
            let faults = fix::broken(topology, hypothesis).into_iter();
            trials.push(trial(topology, Role::Hypothesis(hypothesis.name.clone()), faults.chain(floods())));
            let mitigations = scenario.mitigations.iter().filter(|mitigation| tried(report, mitigation));
            trials.extend(mitigations.map(|one| fix::mitigated(topology, report, hypothesis, one)));
        }
    }
    let mut plan = Plan {
        topology: topology.name.clone(),
        needs: needs(topology),
        slots: hardware::slots(&topology.links),
        ipv6: topology.uses_ipv6(),
        unobserved: scenario.unobserved,
        flows,
        trials,
        repetitions: again::once(),
        to_break: scenario.to_break.clone(),
    };
    contrary::add(topology, &mut plan);
    plan
}

fn plan_flow(topology: &Topology, flow: &Flow) -> FlowPlan {
    let destination =
        topology.ipv4_of(&flow.to).expect("checked: the receiver of a flow has an IPv4 address");
    FlowPlan {
        flow: flow.clone(),
        source: topology.ipv4_of(&flow.from).unwrap_or(SOURCE_WITHOUT_ADDRESS),
        destination,
    }
}

fn act(topology: &Topology, step: &Step) -> Vec<Op> {
    let op = match step {
        Step::Reconcile { bond, found } => {
            let enslave = |port: &DeviceRef| {
                [Op::Down(port.clone()), Op::Join { port: port.clone(), controller: bond.clone() }]
            };
            return found.iter().flat_map(enslave).collect();
        }
        Step::Inject(name) => inject(topology, name),
        Step::Clear(name) => clear(topology, name),
        Step::Flood(name) => flood(topology, name, None),
        Step::Break { flow, inject, at_frame } => {
            let (name, fault) = (inject.clone(), topology.scenario.faults[inject].clone());
            flood(topology, flow, Some(Broken { at_frame: *at_frame, name, fault }))
        }
        Step::Wait { until, within_ms } => {
            Op::Wait { until: until.clone(), within_ms: *within_ms, unless_in_vain: false }
        }
        Step::Pause(for_ms) => Op::Pause(*for_ms),
        Step::Attach(attachment) => cni::add(attachment),
        Step::Detach(attachment) => cni::del(attachment),
        Step::Check(attachment) => cni::check(attachment),
    };
    vec![op]
}

fn inject(topology: &Topology, name: &str) -> Op {
    Op::Inject { name: name.into(), fault: topology.scenario.faults[name].clone() }
}

fn clear(topology: &Topology, name: &str) -> Op {
    let fault = topology.scenario.faults[name].clone();
    let standing = topology.links.get(fault.device()).and_then(|link| link.qdisc.clone());
    Op::Clear { name: name.into(), fault, standing }
}

/// The connections of TCP flows that are sent: they are made while nothing is broken, unless that is what is asked for.
fn connect(topology: &Topology, acts: &[Op]) -> Vec<Op> {
    // A contrary trial may send flows of its own; none of them is a TCP flow.
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

/// What a held ring or a socket holds is on no counter: it is let go before the trial's end, so that its frames are seen.
/// A stopped driver stays stopped until everything is counted (guest/emptied.rs).
fn let_go(topology: &Topology, acts: &[Op]) -> Vec<Op> {
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

fn flood(topology: &Topology, name: &str, broken: Option<Broken>) -> Op {
    let number = topology.scenario.flows.get_index_of(name).expect("checked: the flow exists");
    Op::Flood { flow: u16::try_from(number).expect("checked: flows are numbered in 16 bits"), broken }
}

fn trial(topology: &Topology, role: Role, acts: impl Iterator<Item = Op>) -> Trial {
    Trial { role, ops: counted(topology, build(topology), acts.collect()) }
}

/// What happens in a trial, after what makes it stand: counted from before to after.
fn counted(topology: &Topology, mut ops: Vec<Op>, acts: Vec<Op>) -> Vec<Op> {
    ops.extend(connect(topology, &acts));
    ops.push(Op::Count(When::Before));
    ops.extend(topology.scenario.captures.values().cloned().map(Op::Capture));
    let let_go = let_go(topology, &acts);
    ops.extend(acts.into_iter().chain(let_go).chain(timed::settled(topology)));
    ops.push(Op::Count(When::After));
    ops
}
