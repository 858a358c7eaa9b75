//! The plan: what the agent does, in order. Lowering a checked topology to it cannot fail.

mod text;

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use crate::cni;
use crate::hardware::{self, Slot, VfSettings};
use crate::link::{DeviceRef, Mac, NsName};
use crate::record::When;
use crate::scenario::{Capture, Condition, Fault, Flow, Qdisc, Step};
use crate::topology::{Link, LinkKind, Neighbour, Route, Topology};

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
    /// Flows, by number.
    pub flows: Vec<FlowPlan>,
    /// Trials, by number. Each stands in namespaces of its own.
    pub trials: Vec<Trial>,
}

/// A feature of the kernel under test.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Need {
    /// A kind of link.
    Link(String),
    /// A kind of queueing discipline.
    Qdisc(String),
    /// A traffic control classifier.
    Classifier(String),
    /// The driver of an emulated NIC.
    Driver(String),
}

impl Need {
    /// The modules that provide it, where it is not built in; names as `modprobe` takes them.
    pub fn modules(&self) -> Vec<String> {
        match self {
            Self::Link(kind) => match kind.as_str() {
                "bond" => vec!["bonding".into()],
                "vlan" => vec!["8021q".into()],
                other => vec![other.into()],
            },
            Self::Qdisc(kind) => match kind.as_str() {
                // Built into every kernel with CONFIG_NET_SCHED (net/sched/sch_fifo.c, sch_generic.c).
                "pfifo" | "bfifo" | "pfifo_head_drop" | "pfifo_fast" | "noqueue" => Vec::new(),
                "clsact" => vec!["sch_ingress".into()],
                other => vec![format!("sch_{other}")],
            },
            Self::Classifier(kind) => vec![format!("cls_{kind}"), "act_gact".into()],
            Self::Driver(module) => vec![module.clone()],
        }
    }
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
}

/// One thing the agent does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Op {
    /// Make a namespace, held by a file descriptor.
    Namespace(NsName),
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
    },
    /// Let time pass, in ms.
    Pause(u32),
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
    /// Nothing is done when this device is not there.
    pub unless_gone: DeviceRef,
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
            Self::Join { port, controller } => vec![port, controller],
            Self::Move { from, to } => vec![from, to],
            Self::Up(device)
            | Self::Down(device)
            | Self::Leave(device)
            | Self::Delete(device)
            | Self::Address { device, .. }
            | Self::Qdisc { device, .. } => vec![device],
            Self::Addresses(link) => vec![&link.device],
            Self::Inject { fault, .. } | Self::Clear { fault, .. } => vec![fault.device()],
            Self::Namespace(_)
            | Self::Route { .. }
            | Self::Neighbour { .. }
            | Self::Ready { .. }
            | Self::Verify { .. }
            | Self::Count(_)
            | Self::Capture(_)
            | Self::Flood { .. }
            | Self::Wait { .. }
            | Self::Pause(_)
            | Self::Refuse(_)
            | Self::Attach { .. }
            | Self::Detach { .. }
            | Self::CheckPod { .. } => Vec::new(),
        }
    }
}

/// Lowers a checked topology.
pub fn lower(topology: &Topology) -> Plan {
    let scenario = &topology.scenario;
    let flows = scenario.flows.values().map(|flow| plan_flow(topology, flow)).collect();
    let mut trials = Vec::new();
    if scenario.report.is_none() || !scenario.steps.is_empty() {
        trials.push(trial(topology, Role::Main, scenario.steps.iter().map(|step| act(topology, step))));
    }
    if let Some(report) = &scenario.report {
        let floods = || report.floods.iter().map(|flow| flood(topology, flow, None));
        trials.push(trial(topology, Role::Control, floods()));
        for hypothesis in &scenario.hypotheses {
            let faults = hypothesis.inject.iter().map(|name| inject(topology, name));
            trials.push(trial(topology, Role::Hypothesis(hypothesis.name.clone()), faults.chain(floods())));
        }
    }
    Plan {
        topology: topology.name.clone(),
        needs: needs(topology),
        slots: hardware::slots(&topology.links),
        ipv6: topology.uses_ipv6(),
        flows,
        trials,
    }
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

fn act(topology: &Topology, step: &Step) -> Op {
    match step {
        Step::Inject(name) => inject(topology, name),
        Step::Clear(name) => clear(topology, name),
        Step::Flood(name) => flood(topology, name, None),
        Step::Break { flow, inject, at_frame } => {
            let (name, fault) = (inject.clone(), topology.scenario.faults[inject].clone());
            flood(topology, flow, Some(Broken { at_frame: *at_frame, name, fault }))
        }
        Step::Wait { until, within_ms } => Op::Wait { until: until.clone(), within_ms: *within_ms },
        Step::Pause(for_ms) => Op::Pause(*for_ms),
        Step::Attach(attachment) => cni::add(attachment),
        Step::Detach(attachment) => cni::del(attachment),
        Step::Check(attachment) => cni::check(attachment),
    }
}

fn inject(topology: &Topology, name: &str) -> Op {
    Op::Inject { name: name.into(), fault: topology.scenario.faults[name].clone() }
}

fn clear(topology: &Topology, name: &str) -> Op {
    let fault = topology.scenario.faults[name].clone();
    let standing = topology.links.get(fault.device()).and_then(|link| link.qdisc.clone());
    Op::Clear { name: name.into(), fault, standing }
}

/// What a held ring holds is on no counter: it is let go before the trial's end, so that its frames are seen.
fn let_go(topology: &Topology, acts: &[Op]) -> Vec<Op> {
    let mut held: Vec<&str> = Vec::new();
    for act in acts {
        match act {
            Op::Inject { name, fault: Fault::Hold { .. } } if !held.contains(&name.as_str()) => {
                held.push(name)
            }
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
    let mut ops = build(topology);
    ops.push(Op::Count(When::Before));
    ops.extend(topology.scenario.captures.values().cloned().map(Op::Capture));
    let acts: Vec<Op> = acts.collect();
    let let_go = let_go(topology, &acts);
    ops.extend(acts.into_iter().chain(let_go));
    ops.push(Op::Count(When::After));
    Trial { role, ops }
}

/// The operations that make a topology stand.
fn build(topology: &Topology) -> Vec<Op> {
    let links = &topology.links;
    let mut ops: Vec<Op> = topology.namespaces.keys().cloned().map(Op::Namespace).collect();
    ops.extend(create_leaves(topology));
    // Cables are plugged in before a bond is made: bond_enslave() then finds carrier, and chooses its active port before
    // the bond is up. Otherwise the monitor finds it later, and announces it with gratuitous ARPs among the lab's frames.
    let is_leaf = |link: &&Link| {
        link.below().is_empty() && !matches!(link.kind, LinkKind::Bond(_) | LinkKind::Bridge { .. })
    };
    let bond_ports = bond_ports(topology);
    let early = |link: &&Link| link.up && is_leaf(link) && !bond_ports.contains(&link.device);
    let is_vf = |link: &&Link| matches!(link.kind, LinkKind::Vf { .. });
    let up = |link: &Link| Op::Up(link.device.clone());
    ops.extend(links.values().filter(|link| early(link) && !is_vf(link)).map(up));
    // A VF's driver asks the PF for everything, and a PF that is down does not answer (igbvf_probe()).
    ops.extend(adopt_vfs(links));
    ops.extend(links.values().filter(|link| early(link) && is_vf(link)).map(up));
    for (device, link) in links.iter().filter(|(_, link)| !is_leaf(link)) {
        ops.push(Op::Create { link: link.clone(), peer: None });
        // Ports join before anything stands on the controller: a VLAN takes its address from what is below.
        let ports = link.kind.ports().iter().map(|name| DeviceRef::new(&device.ns, name));
        ops.extend(ports.map(|port| Op::Join { port, controller: device.clone() }));
    }
    let late = |link: &&Link| link.up && !early(link);
    ops.extend(links.values().filter(late).map(|link| Op::Up(link.device.clone())));
    for link in links.values() {
        if let Some(qdisc) = &link.qdisc {
            ops.push(Op::Qdisc { device: link.device.clone(), qdisc: qdisc.clone() });
        }
        if !link.addresses.is_empty() {
            ops.push(Op::Addresses(link.clone()));
        }
    }
    for (ns, tables) in &topology.namespaces {
        ops.extend(tables.routes.iter().map(|route| Op::Route { ns: ns.clone(), route: route.clone() }));
        let neighbours = tables.neighbours.iter();
        ops.extend(
            neighbours.map(|neighbour| Op::Neighbour { ns: ns.clone(), neighbour: neighbour.clone() }),
        );
    }
    let carriers = links.values().filter(|link| can_carry(topology, link));
    let devices: Vec<DeviceRef> = carriers.map(|link| link.device.clone()).collect();
    if !devices.is_empty() {
        ops.push(Op::Ready { devices });
    }
    ops.push(Op::Verify { links: links.values().cloned().collect() });
    ops
}

/// Cables with both ends, and what else stands on nothing.
fn create_leaves(topology: &Topology) -> Vec<Op> {
    let slots = hardware::slots(&topology.links);
    let mut far_ends: BTreeSet<&DeviceRef> = BTreeSet::new();
    let mut ops = Vec::new();
    for link in topology.links.values() {
        match &link.kind {
            LinkKind::Dummy => ops.push(Op::Create { link: link.clone(), peer: None }),
            LinkKind::Veth { .. } if far_ends.contains(&link.device) => {}
            LinkKind::Veth { peer } => {
                far_ends.insert(peer);
                ops.push(Op::Create { link: link.clone(), peer: topology.links.get(peer).cloned() });
            }
            LinkKind::Nic(_) | LinkKind::Pf(_) => {
                let slot = slots.iter().position(|slot| slot.device == link.device);
                let slot = slot.expect("every NIC has a slot");
                ops.push(Op::Adopt { link: link.clone(), slot });
            }
            LinkKind::Vf { .. }
            | LinkKind::Bond(_)
            | LinkKind::Vlan { .. }
            | LinkKind::Ipvlan { .. }
            | LinkKind::Macvlan { .. }
            | LinkKind::Bridge { .. } => {}
        }
    }
    ops
}

/// What PFs say of their VFs, and then the VFs: their drivers find at their start what was said.
fn adopt_vfs(links: &IndexMap<DeviceRef, Link>) -> Vec<Op> {
    let mut ops = Vec::new();
    for link in links.values() {
        let LinkKind::Pf(nic) = &link.kind else { continue };
        for (index, settings) in (0..).zip(&nic.vfs) {
            if *settings != VfSettings::default() {
                ops.push(Op::SetVf { pf: link.device.clone(), index, settings: settings.clone() });
            }
        }
    }
    for link in links.values() {
        let LinkKind::Vf { of, index } = &link.kind else { continue };
        let is_addressed = match links.get(of).map(|pf| &pf.kind) {
            Some(LinkKind::Pf(nic)) => nic.vfs[usize::from(*index)].mac.is_some(),
            _ => false,
        };
        ops.push(Op::AdoptVf { link: link.clone(), of: of.clone(), index: *index, is_addressed });
    }
    ops
}

fn bond_ports(topology: &Topology) -> BTreeSet<DeviceRef> {
    let bonds = topology.links.values().filter(|link| matches!(link.kind, LinkKind::Bond(_)));
    bonds.flat_map(Link::below).collect()
}

/// Whether a link will have carrier once everything is up: itself, what it stands on, and a cable's other end.
fn can_carry(topology: &Topology, link: &Link) -> bool {
    if !link.up {
        return false;
    }
    match &link.kind {
        LinkKind::Dummy => true,
        LinkKind::Veth { peer } => topology.links.get(peer).is_some_and(|peer| peer.up),
        // QEMU's NICs have carrier by themselves, as long as the cable is in.
        LinkKind::Nic(_) | LinkKind::Pf(_) => true,
        LinkKind::Vf { of, .. } => topology.links.get(of).is_some_and(|pf| pf.up),
        LinkKind::Vlan { .. }
        | LinkKind::Ipvlan { .. }
        | LinkKind::Macvlan { .. }
        | LinkKind::Bond(_)
        | LinkKind::Bridge { .. } => link
            .below()
            .iter()
            .filter_map(|below| topology.links.get(below))
            .any(|it| can_carry(topology, it)),
    }
}

fn needs(topology: &Topology) -> Vec<Need> {
    let mut needs = BTreeSet::new();
    let qdiscs = |root: &Qdisc| -> Vec<Need> {
        let both = [Some(root), root.child()].into_iter().flatten();
        both.map(|qdisc| Need::Qdisc(qdisc.kind().into())).collect()
    };
    for link in topology.links.values() {
        match &link.kind {
            LinkKind::Nic(nic) => {
                needs.insert(Need::Driver(nic.driver.word().into()));
            }
            LinkKind::Pf(nic) => {
                needs.insert(Need::Driver(nic.driver.word().into()));
                needs.insert(Need::Driver("igbvf".into()));
            }
            LinkKind::Vf { .. } => {}
            other => {
                needs.insert(Need::Link(other.word().into()));
            }
        }
        needs.extend(link.qdisc.iter().flat_map(qdiscs));
    }
    let attached = topology.attachments.devices.values();
    needs.extend(attached.map(|link| Need::Link(link.kind.word().into())));
    for fault in topology.scenario.faults.values() {
        match fault {
            Fault::Qdisc { qdisc, .. } => needs.extend(qdiscs(qdisc)),
            Fault::Filter { vlan, .. } => {
                needs.insert(Need::Qdisc("clsact".into()));
                let classifier = if vlan.is_some() { "flower" } else { "matchall" };
                needs.insert(Need::Classifier(classifier.into()));
            }
            Fault::Down { .. }
            | Fault::Release { .. }
            | Fault::Mtu { .. }
            | Fault::Hold { .. }
            | Fault::Unplug { .. } => {}
        }
    }
    needs.into_iter().collect()
}
