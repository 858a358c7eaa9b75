//! The plan: what the agent does, in order. Lowering a checked topology to it cannot fail.

use std::collections::BTreeSet;
use std::fmt::{self, Display, Formatter};
use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use crate::link::{DeviceRef, MacSource, NsName};
use crate::record::When;
use crate::scenario::{Capture, Condition, Fault, Flow, Hook, Qdisc, Step};
use crate::topology::{Bond, Link, LinkKind, Neighbour, Route, Topology};

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
                "pfifo" | "bfifo" | "noqueue" => Vec::new(),
                "clsact" => vec!["sch_ingress".into()],
                other => vec![format!("sch_{other}")],
            },
            Self::Classifier(kind) => vec![format!("cls_{kind}"), "act_gact".into()],
        }
    }
}

impl Display for Need {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Link(kind) => write!(f, "links of kind {kind}"),
            Self::Qdisc(kind) => write!(f, "queueing discipline {kind}"),
            Self::Classifier(kind) => write!(f, "traffic control classifier {kind}"),
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
}

impl Op {
    /// The devices it makes or changes.
    pub fn devices(&self) -> Vec<&DeviceRef> {
        match self {
            Self::Create { link, peer } => {
                [&link.device].into_iter().chain(peer.as_ref().map(|peer| &peer.device)).collect()
            }
            Self::Join { port, controller } => vec![port, controller],
            Self::Up(device) | Self::Qdisc { device, .. } => vec![device],
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
            | Self::Pause(_) => Vec::new(),
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
        let floods = || report.floods.iter().map(|flow| flood(topology, flow));
        trials.push(trial(topology, Role::Control, floods()));
        for hypothesis in &scenario.hypotheses {
            let faults = hypothesis.inject.iter().map(|name| inject(topology, name));
            trials.push(trial(topology, Role::Hypothesis(hypothesis.name.clone()), faults.chain(floods())));
        }
    }
    Plan {
        topology: topology.name.clone(),
        needs: needs(topology),
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
        Step::Flood(name) => flood(topology, name),
        Step::Wait { until, within_ms } => Op::Wait { until: until.clone(), within_ms: *within_ms },
        Step::Pause(for_ms) => Op::Pause(*for_ms),
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

fn flood(topology: &Topology, name: &str) -> Op {
    let number = topology.scenario.flows.get_index_of(name).expect("checked: the flow exists");
    Op::Flood { flow: u16::try_from(number).expect("checked: flows are numbered in 16 bits") }
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
        link.kind.below().is_empty() && !matches!(link.kind, LinkKind::Bond(_) | LinkKind::Bridge { .. })
    };
    let bond_ports = bond_ports(topology);
    let early = |link: &&Link| link.up && is_leaf(link) && !bond_ports.contains(&link.device);
    ops.extend(links.values().filter(early).map(|link| Op::Up(link.device.clone())));
    for (device, link) in links.iter().filter(|(_, link)| !is_leaf(link)) {
        ops.push(Op::Create { link: link.clone(), peer: None });
        // Ports join before anything stands on the controller: a VLAN takes its address from what is below.
        if let LinkKind::Bond(_) | LinkKind::Bridge { .. } = link.kind {
            let ports = link.kind.below().into_iter().map(|name| DeviceRef::new(&device.ns, name));
            ops.extend(ports.map(|port| Op::Join { port, controller: device.clone() }));
        }
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
    ops.push(Op::Ready {
        devices: links
            .values()
            .filter(|link| can_carry(topology, link))
            .map(|link| link.device.clone())
            .collect(),
    });
    ops.push(Op::Verify { links: links.values().cloned().collect() });
    ops
}

/// Cables with both ends, and what else stands on nothing.
fn create_leaves(topology: &Topology) -> Vec<Op> {
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
            LinkKind::Bond(_) | LinkKind::Vlan { .. } | LinkKind::Bridge { .. } => {}
        }
    }
    ops
}

fn bond_ports(topology: &Topology) -> BTreeSet<DeviceRef> {
    let bonds = topology.links.values().filter(|link| matches!(link.kind, LinkKind::Bond(_)));
    bonds
        .flat_map(|bond| bond.kind.below().into_iter().map(|name| DeviceRef::new(&bond.device.ns, name)))
        .collect()
}

/// Whether a link will have carrier once everything is up: itself, what it stands on, and a cable's other end.
fn can_carry(topology: &Topology, link: &Link) -> bool {
    if !link.up {
        return false;
    }
    let below = |name| topology.links.get(&DeviceRef::new(&link.device.ns, name));
    match &link.kind {
        LinkKind::Dummy => true,
        LinkKind::Veth { peer } => topology.links.get(peer).is_some_and(|peer| peer.up),
        LinkKind::Vlan { parent, .. } => below(parent).is_some_and(|parent| can_carry(topology, parent)),
        LinkKind::Bond(_) | LinkKind::Bridge { .. } => {
            link.kind.below().into_iter().filter_map(below).any(|port| can_carry(topology, port))
        }
    }
}

fn needs(topology: &Topology) -> Vec<Need> {
    let mut needs = BTreeSet::new();
    let qdisc = |qdisc: &Qdisc| Need::Qdisc(qdisc.kind().into());
    for link in topology.links.values() {
        needs.insert(Need::Link(link.kind.word().into()));
        needs.extend(link.qdisc.as_ref().map(qdisc));
    }
    for fault in topology.scenario.faults.values() {
        match fault {
            Fault::Qdisc { qdisc: discipline, .. } => {
                needs.insert(qdisc(discipline));
            }
            Fault::Filter { vlan, .. } => {
                needs.insert(Need::Qdisc("clsact".into()));
                let classifier = if vlan.is_some() { "flower" } else { "matchall" };
                needs.insert(Need::Classifier(classifier.into()));
            }
            Fault::Down { .. } | Fault::Release { .. } | Fault::Mtu { .. } | Fault::Hold { .. } => {}
        }
    }
    needs.into_iter().collect()
}

/// The plan for people: one operation a line, everything in it that the file or the lab chose.
impl Display for Plan {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "plan {}, IPv6 {}", self.topology, if self.ipv6 { "on" } else { "off" })?;
        for need in &self.needs {
            writeln!(f, "need {need}")?;
        }
        for (number, FlowPlan { flow, source, destination }) in self.flows.iter().enumerate() {
            write!(f, "flow {number} {}: {} frames of {} bytes", flow.name, flow.frames, flow.len)?;
            write_some(f, "tagged", flow.tag.map(|tag| tag.get()))?;
            writeln!(f, " from {} {source} to {} {destination} by {}", flow.from, flow.to, flow.socket)?;
        }
        for (number, trial) in self.trials.iter().enumerate() {
            writeln!(f, "trial {number} {}", trial.role)?;
            for op in &trial.ops {
                writeln!(f, "  {op}")?;
            }
        }
        Ok(())
    }
}

impl Display for Role {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Main => f.write_str("main"),
            Self::Control => f.write_str("control"),
            Self::Hypothesis(name) => write!(f, "hypothesis {name}"),
        }
    }
}

impl Display for Op {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Namespace(ns) => write!(f, "namespace {ns}"),
            Self::Create { link, peer } => {
                f.write_str("create ")?;
                write_link(f, link)?;
                peer.as_ref().map_or(Ok(()), |peer| {
                    f.write_str(" with ")?;
                    write_link(f, peer)
                })
            }
            Self::Join { port, controller } => write!(f, "join {port} to {controller}"),
            Self::Up(device) => write!(f, "up {device}"),
            Self::Qdisc { device, qdisc } => {
                write!(f, "qdisc of {device} ")?;
                write_qdisc(f, qdisc)
            }
            Self::Addresses(link) => write!(f, "addresses of {} {}", link.device, list(&link.addresses)),
            Self::Route { ns, route } => {
                let to = route.to.map_or_else(|| "default".into(), |to| to.to_string());
                write!(f, "route in {ns} to {to}")?;
                write_some(f, "via", route.via)?;
                write_some(f, "dev", route.dev.as_ref())
            }
            Self::Neighbour { ns, neighbour: Neighbour { to, dev, mac } } => match mac {
                MacSource::Literal(mac) => write!(f, "neighbour in {ns} {to} dev {dev} mac {mac}"),
                MacSource::Of(device) => write!(f, "neighbour in {ns} {to} dev {dev} mac of {device}"),
            },
            Self::Ready { devices } => write!(f, "wait for {}", list(devices)),
            Self::Verify { links } => {
                write!(f, "verify {}", list(links.iter().map(|link| &link.device)))
            }
            Self::Count(When::Before) => f.write_str("count before"),
            Self::Count(When::After) => f.write_str("count after"),
            Self::Inject { name, fault } => write_fault(f, "inject", name, fault),
            Self::Clear { name, fault, .. } => write_fault(f, "clear", name, fault),
            Self::Flood { flow } => write!(f, "flood {flow}"),
            Self::Capture(Capture { name, device, what }) => write!(f, "capture {name}: {what} at {device}"),
            Self::Wait { until: Condition { subject, bounds, .. }, within_ms } => {
                write!(f, "wait until {subject}: {bounds} within_ms {within_ms}")
            }
            Self::Pause(for_ms) => write!(f, "pause_ms {for_ms}"),
        }
    }
}

fn list(items: impl IntoIterator<Item = impl Display>) -> String {
    items.into_iter().map(|item| item.to_string()).collect::<Vec<_>>().join(", ")
}

fn write_some(f: &mut Formatter<'_>, key: &str, value: Option<impl Display>) -> fmt::Result {
    value.map_or(Ok(()), |value| write!(f, " {key} {value}"))
}

fn write_link(f: &mut Formatter<'_>, link: &Link) -> fmt::Result {
    write!(f, "{} {}", link.kind.word(), link.device)?;
    match &link.kind {
        LinkKind::Dummy => {}
        LinkKind::Veth { peer } => write!(f, " peer {peer}")?,
        LinkKind::Bond(bond) => write_bond(f, bond)?,
        LinkKind::Vlan { parent, id, protocol } => {
            write!(f, " parent {parent} id {} protocol {protocol}", id.get())?;
        }
        LinkKind::Bridge { vlan_filtering, .. } => write!(f, " vlan_filtering {vlan_filtering}")?,
    }
    write_some(f, "mac", link.mac)?;
    write_some(f, "mtu", link.mtu)?;
    write_some(f, "txqueuelen", link.txqueuelen)
}

fn write_bond(f: &mut Formatter<'_>, bond: &Bond) -> fmt::Result {
    write!(f, " mode {}", bond.mode)?;
    write_some(f, "miimon", bond.miimon)?;
    write_some(f, "updelay", bond.updelay)?;
    write_some(f, "downdelay", bond.downdelay)?;
    write_some(f, "use_carrier", bond.use_carrier)?;
    write_some(f, "arp_interval", bond.arp_interval)?;
    let targets = (!bond.arp_ip_target.is_empty()).then(|| list(&bond.arp_ip_target));
    write_some(f, "arp_ip_target", targets)?;
    write_some(f, "arp_validate", bond.arp_validate)?;
    write_some(f, "primary", bond.primary.as_ref())?;
    write_some(f, "primary_reselect", bond.primary_reselect)?;
    write_some(f, "fail_over_mac", bond.fail_over_mac)?;
    write_some(f, "xmit_hash_policy", bond.xmit_hash_policy)?;
    write_some(f, "lacp_rate", bond.lacp_rate)?;
    write_some(f, "lacp_active", bond.lacp_active)?;
    write_some(f, "ad_select", bond.ad_select)?;
    write_some(f, "min_links", bond.min_links)?;
    write_some(f, "all_slaves_active", bond.all_slaves_active)?;
    write_some(f, "tlb_dynamic_lb", bond.tlb_dynamic_lb)?;
    write_some(f, "num_grat_arp", bond.num_grat_arp)
}

fn write_qdisc(f: &mut Formatter<'_>, qdisc: &Qdisc) -> fmt::Result {
    f.write_str(qdisc.kind())?;
    match qdisc {
        Qdisc::Pfifo { limit } | Qdisc::Bfifo { limit } | Qdisc::Plug { limit } => {
            write!(f, " limit {limit}")
        }
        Qdisc::Tbf { rate, burst, limit } => write!(f, " rate {rate} burst {burst} limit {limit}"),
        Qdisc::Netem { limit, delay_us } => write!(f, " limit {limit} delay_us {delay_us}"),
        Qdisc::FqCodel { limit } => write_some(f, "limit", *limit),
        Qdisc::Noqueue => Ok(()),
    }
}

fn write_fault(f: &mut Formatter<'_>, verb: &str, name: &str, fault: &Fault) -> fmt::Result {
    write!(f, "{verb} {name}: ")?;
    match fault {
        Fault::Qdisc { device, qdisc } => {
            write!(f, "qdisc of {device} ")?;
            write_qdisc(f, qdisc)
        }
        Fault::Filter { device, hook, vlan } => {
            let hook = match hook {
                Hook::Ingress => "ingress",
                Hook::Egress => "egress",
            };
            write!(f, "{hook} filter of {device}")?;
            write_some(f, "vlan", vlan.map(|vlan| vlan.get()))
        }
        Fault::Down { device } => write!(f, "down {device}"),
        Fault::Release { device, controller } => write!(f, "release {device} from {controller}"),
        Fault::Mtu { device, mtu, .. } => write!(f, "mtu of {device} {mtu}"),
        Fault::Hold { device, .. } => write!(f, "hold {device}"),
    }
}
