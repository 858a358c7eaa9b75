//! What each cause was measured to look like on each kernel, from its topology and its accepted results.

use std::collections::{BTreeMap, BTreeSet};

use crate::diagnose::Measured;
use crate::diagnose::feature::{Feature, LOSSES, QUEUE, Role, Value, Way, state};
use crate::diagnose::trial::{FlowSeen, Trial};
use crate::net::bond::Bond;
use crate::net::link::{Link, LinkKind};
use crate::net::name::{DeviceRef, NsName};
use crate::net::option;
use crate::net::version::KernelVersion;
use crate::report::behaviour::Label;
use crate::report::snapshot::Accepted;
use crate::topology::Topology;
use crate::topology::fault::Fault;
use crate::topology::mitigation::Change;
use crate::topology::scenario::Step;

/// What was measured on one kernel.
pub type Features = BTreeMap<Feature, Value>;

/// A cause of the catalogue.
#[derive(Debug)]
pub struct Cause {
    /// Its name.
    pub name: String,
    /// In plain words.
    pub about: String,
    /// What a machine must have to have this cause.
    pub needs: Needs,
    /// By kernel; `Err` is what a kernel lacks for it.
    pub kernels: BTreeMap<KernelVersion, Result<Features, String>>,
}

/// What a cause takes.
#[derive(Debug, Default)]
pub struct Needs {
    /// The bond's mode; any if it is a cause of all modes.
    pub mode: Option<&'static str>,
    /// Whether the bond watches its ports by miimon.
    pub miimon: bool,
    /// Whether it watches them by ARP.
    pub arp: bool,
    /// Ports of the bond.
    pub ports: usize,
    /// Devices that something is wrong at.
    pub roles: BTreeSet<Role>,
}

/// The catalogue. `studies` are topologies with explanations: a trial with the same fault as a cause is a measurement of it.
pub fn catalogue(causes: &[Measured<'_>], studies: &[Measured<'_>]) -> Vec<Cause> {
    let studies: Vec<Study> = studies.iter().filter_map(Study::new).collect();
    causes.iter().filter_map(|measured| cause(measured, &studies)).collect()
}

fn cause(measured: &Measured<'_>, studies: &[Study]) -> Option<Cause> {
    let topology = Topology::parse(measured.name, measured.name, measured.topology).ok()?;
    let accepted = Accepted::parse(measured.snapshot).ok()?;
    let stack = Stack::of(&topology)?;
    let faults = injected(&topology);
    let mut kernels = BTreeMap::new();
    for kernel in accepted.kernels() {
        // Builds with another configuration are of the same version.
        let (Ok(version), Some(seen)) = (kernel.parse::<KernelVersion>(), accepted.behaviour(kernel)) else {
            continue;
        };
        let reason = seen.value(&Label::Reason);
        if let Some(lacks) = reason.as_deref().and_then(|reason| reason.strip_prefix("lacks ")) {
            kernels.insert(version, Err(lacks.to_owned()));
        } else if let Some(trial) = Trial::of(&seen, "main") {
            kernels.insert(version, Ok(stack.features(&topology, &trial)));
        }
    }
    for study in studies {
        study.add(&faults, &mut kernels);
    }
    let mut needs = stack.needs(&topology);
    needs.roles = faults.iter().filter_map(|fault| stack.role(fault.device())).collect();
    let about = topology.about.clone().unwrap_or_default();
    (!kernels.is_empty()).then(|| Cause { name: measured.name.to_owned(), about, needs, kernels })
}

/// The faults that are there when the first frames are sent.
fn injected(topology: &Topology) -> Vec<Fault> {
    let mut faults = Vec::new();
    for step in &topology.scenario.steps {
        match step {
            Step::Flood(_) => break,
            Step::Inject(name) | Step::Break { inject: name, .. } => {
                faults.extend(topology.scenario.faults.get(name).cloned());
            }
            _ => {}
        }
    }
    faults
}

/// A topology with explanations, each with the features of its trial.
struct Study {
    explanations: Vec<(Vec<Fault>, BTreeMap<KernelVersion, Features>)>,
}

impl Study {
    fn new(measured: &Measured<'_>) -> Option<Self> {
        let topology = Topology::parse(measured.name, measured.name, measured.topology).ok()?;
        let accepted = Accepted::parse(measured.snapshot).ok()?;
        let stack = Stack::of(&topology)?;
        let queued: Vec<(&str, Role)> = topology
            .scenario
            .mitigations
            .iter()
            .filter_map(|tried| match &tried.steps[..] {
                [Change::Qdisc { device, .. }] => Some((tried.name.as_str(), stack.role(device)?)),
                _ => None,
            })
            .collect();
        let mut explanations = Vec::new();
        for hypothesis in &topology.scenario.hypotheses {
            let faults =
                hypothesis.inject.iter().filter_map(|name| topology.scenario.faults.get(name).cloned());
            let mut kernels = BTreeMap::new();
            for kernel in accepted.kernels() {
                let (Ok(version), Some(seen)) = (kernel.parse(), accepted.behaviour(kernel)) else {
                    continue;
                };
                let Some(trial) = Trial::of(&seen, &hypothesis.name) else { continue };
                let mut features = stack.features(&topology, &trial);
                for (tried, role) in &queued {
                    let under = Trial::of(&seen, &format!("{} under {tried}", hypothesis.name));
                    let told = under.and_then(|trial| stack.told(&topology, &trial));
                    features.extend(told.map(|told| (Feature::UnderQueue(*role), told)));
                }
                kernels.insert(version, features);
            }
            explanations.push((faults.collect(), kernels));
        }
        Some(Self { explanations })
    }

    /// Adds what the catalogue's own trial does not have.
    fn add(&self, faults: &[Fault], kernels: &mut BTreeMap<KernelVersion, Result<Features, String>>) {
        let same = self.explanations.iter().filter(|(theirs, _)| !faults.is_empty() && theirs == faults);
        for (_, studied) in same {
            for (version, features) in kernels.iter_mut() {
                let (Ok(features), Some(more)) = (features, nearest(studied, *version)) else { continue };
                for (feature, value) in more {
                    let is_extra = matches!(feature, Feature::Arrives(_) | Feature::UnderQueue(_));
                    if is_extra && !features.contains_key(feature) {
                        features.insert(*feature, value.clone());
                    }
                }
            }
        }
    }
}

/// The value of the same kernel, or of the next older or newer one.
fn nearest<T>(all: &BTreeMap<KernelVersion, T>, version: KernelVersion) -> Option<&T> {
    let older = all.range(..=version).next_back();
    older.or_else(|| all.range(version..).next()).map(|(_, value)| value)
}

/// The sending side of a topology: the namespace with the bond.
struct Stack {
    ns: NsName,
    bond: DeviceRef,
    vlan: Option<DeviceRef>,
    ports: Vec<DeviceRef>,
}

impl Stack {
    fn of(topology: &Topology) -> Option<Self> {
        let is_bond = |link: &&Link| matches!(link.kind, LinkKind::Bond(_));
        let bond = topology.links.values().find(is_bond)?;
        let mut stack =
            Self { ns: bond.device.ns.clone(), bond: bond.device.clone(), vlan: None, ports: bond.below() };
        let mut vlans = topology.links.values().filter(|link| stack.is_vlan(link));
        let first = vlans.next().map(|link| link.device.clone());
        // The VLAN of the first flow is the one that it is all about.
        let ends = topology.scenario.flows.values().flat_map(|flow| [&flow.from, &flow.to]);
        let of_flow = ends.into_iter().find_map(|end| stack.vlan_below(topology, end));
        stack.vlan = of_flow.or(first);
        Some(stack)
    }

    fn is_vlan(&self, link: &Link) -> bool {
        matches!(link.kind, LinkKind::Vlan { .. }) && link.kind.parent() == Some(&self.bond)
    }

    /// The VLAN on the bond that a device is, or stands on.
    fn vlan_below(&self, topology: &Topology, device: &DeviceRef) -> Option<DeviceRef> {
        let link = topology.link(device)?;
        if self.is_vlan(link) {
            return Some(device.clone());
        }
        let parent = link.kind.parent().filter(|_| !matches!(link.kind, LinkKind::Vlan { .. }))?;
        self.is_vlan(topology.link(parent)?).then(|| parent.clone())
    }

    fn role(&self, device: &DeviceRef) -> Option<Role> {
        match device {
            vlan if Some(vlan) == self.vlan.as_ref() => Some(Role::Vlan),
            bond if *bond == self.bond => Some(Role::Bond),
            port if self.ports.contains(port) => Some(Role::Port),
            _ => None,
        }
    }

    fn devices(&self, role: Role) -> Vec<String> {
        let all: Vec<&DeviceRef> = match role {
            Role::Vlan => self.vlan.iter().collect(),
            Role::Bond => vec![&self.bond],
            Role::Port => self.ports.iter().collect(),
        };
        all.into_iter().map(ToString::to_string).collect()
    }

    fn needs(&self, topology: &Topology) -> Needs {
        let Some(LinkKind::Bond(bond)) = topology.link(&self.bond).map(|link| &link.kind) else {
            return Needs::default();
        };
        let is_set = |bond: &Bond, name: &str| {
            bond.values().iter().any(|(row, value)| row.key == name && *value != option::Value::Number(0))
        };
        let mode = bond.mode.word();
        Needs {
            mode: (mode != "active-backup").then_some(mode),
            miimon: is_set(bond, "miimon"),
            arp: is_set(bond, "arp_interval"),
            ports: self.ports.len(),
            roles: BTreeSet::new(),
        }
    }

    /// Whether a flow leaves by a device.
    fn passes(&self, topology: &Topology, flow: &FlowSeen<'_>, role: Role) -> bool {
        let Some(from) = topology.scenario.flows.get(flow.name).map(|flow| &flow.from) else { return false };
        match role {
            Role::Vlan => {
                self.vlan_below(topology, from).is_some() && self.vlan_below(topology, from) == self.vlan
            }
            Role::Bond => *from == self.bond || self.vlan_below(topology, from).is_some(),
            Role::Port => from.ns == self.ns || self.vlan_below(topology, from).is_some(),
        }
    }

    fn features(&self, topology: &Topology, trial: &Trial<'_>) -> Features {
        let mut features = Features::new();
        if trial.is_counted {
            Role::ALL.into_iter().for_each(|role| self.counters(topology, trial, role, &mut features));
            features.insert(Feature::Far, self.far(trial));
        }
        for role in Role::ALL {
            features.extend(self.state(trial, role).map(|state| (Feature::State(role), state)));
        }
        features.extend(self.failures(trial).map(|failures| (Feature::Failures, failures)));
        features.extend(self.lacp(trial).map(|lacp| (Feature::Lacp, lacp)));
        features.extend(self.told(topology, trial).map(|told| (Feature::Told, told)));
        features.insert(Feature::LostAt, self.lost_at(trial));
        for flow in &trial.flows {
            features.extend(self.way(topology, flow));
        }
        features
    }

    fn counters(&self, topology: &Topology, trial: &Trial<'_>, role: Role, features: &mut Features) {
        let devices = self.devices(role);
        if devices.is_empty() {
            return;
        }
        let sent: u64 = trial
            .flows
            .iter()
            .filter(|flow| self.passes(topology, flow, role))
            .map(|flow| flow.number("asked"))
            .sum();
        let received: u64 = trial.flows.iter().map(|flow| flow.number("asked")).sum();
        for name in LOSSES {
            let is_unknown =
                trial.unknown.iter().any(|(of, counter)| *counter == name && devices.iter().any(|d| d == of));
            if !is_unknown {
                let counted =
                    |device: &String| trial.counters.get(&(device.as_str(), name)).copied().unwrap_or(0);
                let most = devices.iter().map(counted).max().unwrap_or(0);
                let of = if name.starts_with("tx_") { sent } else { received };
                features.insert(Feature::Counter(role, name), Value::share(most, of));
            }
        }
        let queues = |wanted: &dyn Fn(&str) -> bool, counter: &str| -> u64 {
            let of = trial.queues.iter().filter(|(kind, device, name, _)| {
                wanted(kind) && name.starts_with(counter) && devices.iter().any(|known| known == device)
            });
            of.map(|(.., number)| *number).max().unwrap_or(0)
        };
        for name in QUEUE {
            let counted = queues(&|kind| kind != "clsact" && kind != "ingress", name);
            features.insert(Feature::Queue(role, name), Value::share(counted, sent.max(received)));
        }
        let dropped = queues(&|kind| kind == "clsact" || kind == "ingress", "drops");
        features.insert(Feature::Hook(role), Value::share(dropped, sent.max(received)));
    }

    fn state(&self, trial: &Trial<'_>, role: Role) -> Option<Value> {
        let states = self.devices(role).into_iter().filter_map(|device| {
            let flags = trial.links.get(device.as_str())?.split("flags ").nth(1)?;
            let has = |flag: &str| flags.split([' ', ',']).any(|word| word == flag);
            Some(state(has("UP"), has("LOWER_UP")))
        });
        // `down`, `no carrier`, `up`: the worst comes first in the alphabet.
        states.min()
    }

    fn failures(&self, trial: &Trial<'_>) -> Option<Value> {
        let ports = self.devices(Role::Port);
        let lines: Vec<&str> =
            ports.iter().filter_map(|port| trial.links.get(port.as_str()).map(String::as_str)).collect();
        let has_failed = lines.iter().any(|line| line.contains("link failures"));
        (!lines.is_empty()).then_some(if has_failed { Value::Part } else { Value::None })
    }

    fn lacp(&self, trial: &Trial<'_>) -> Option<Value> {
        let line = self
            .devices(Role::Port)
            .into_iter()
            .find_map(|port| trial.lacp.get(port.as_str()).map(String::as_str))?;
        let partner = line.split("partner ").nth(1)?.split(", ").next()?;
        Some(Value::word(if partner.contains("synchronization") { "in sync" } else { "out of sync" }))
    }

    /// What sockets that hide nothing are told.
    fn told(&self, topology: &Topology, trial: &Trial<'_>) -> Option<Value> {
        let mut flows = trial
            .flows
            .iter()
            .filter(|flow| ["packet", "ping", "udp-recverr"].contains(&flow.socket))
            .filter(|flow| flow.numbers.contains_key("sent"))
            .filter(|flow| {
                self.passes(topology, flow, if self.vlan.is_some() { Role::Vlan } else { Role::Bond })
            })
            .peekable();
        flows.peek()?;
        Some(Value::word(flows.find_map(|flow| flow.errno()).unwrap_or("nothing")))
    }

    fn way(&self, topology: &Topology, flow: &FlowSeen<'_>) -> Option<(Feature, Value)> {
        let sent = topology.scenario.flows.get(flow.name)?;
        let link = topology.link(&sent.from)?;
        let below = self.vlan_below(topology, &sent.from);
        let way = match link.kind.parent() {
            Some(parent) if self.ports.contains(parent) => Way::NicVlan,
            _ if sent.from == self.bond => {
                if sent.tag.is_some() {
                    Way::InBand
                } else {
                    Way::Untagged
                }
            }
            _ if below.is_some() && below != self.vlan => Way::OtherVlan,
            _ => return None,
        };
        let arrives = flow.number("delivered") == flow.number("asked");
        Some((Feature::Arrives(way), Value::word(if arrives { "arrives" } else { "is lost" })))
    }

    /// Places by their roles, of all flows.
    fn lost_at(&self, trial: &Trial<'_>) -> Value {
        let places = trial.flows.iter().flat_map(|flow| &flow.lost_at);
        let words: BTreeSet<String> =
            places.map(|(layer, device)| format!("{layer} of {}", self.place(device))).collect();
        if words.is_empty() {
            return Value::word("nowhere");
        }
        Value::word(words.into_iter().collect::<Vec<_>>().join(", "))
    }

    fn place(&self, device: &str) -> String {
        let role = Role::ALL.into_iter().find(|role| self.devices(*role).iter().any(|known| known == device));
        match (role, device.split_once(':')) {
            (Some(role), _) => role.to_string(),
            (None, Some((ns, _))) => format!("the {ns}"),
            (None, None) => device.to_owned(),
        }
    }

    fn far(&self, trial: &Trial<'_>) -> Value {
        let is_far = |device: &str| device.split_once(':').is_some_and(|(ns, _)| ns != self.ns.as_str());
        let counters = trial.counters.keys().filter(|(device, _)| is_far(device));
        let mut words: BTreeSet<String> =
            counters.map(|(device, name)| format!("{name} of {}", self.place(device))).collect();
        let queues = trial.queues.iter().filter(|(_, device, ..)| is_far(device));
        words.extend(queues.map(|(kind, device, ..)| format!("{kind} of {}", self.place(device))));
        if words.is_empty() {
            return Value::word("nothing");
        }
        Value::word(words.into_iter().collect::<Vec<_>>().join(", "))
    }
}
