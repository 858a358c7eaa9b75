//! What a text shows of the machine, as the features that causes were measured by.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::diagnose::feature::{Feature, LOSSES, QUEUE, Role, Value, Way, state};
use crate::diagnose::fingerprint::Needs;
use crate::diagnose::queues::Queue;
use crate::import::model::{Change, Kind, Link, Model, Seen};
use crate::net::name::IfName;

/// The stack of the report by which frames are lost.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Devices {
    /// The VLAN, if there is one.
    pub vlan: Option<String>,
    /// The bond, if there is one.
    pub bond: Option<String>,
    /// The bond's ports, or the NIC.
    pub ports: Vec<String>,
}

impl Devices {
    /// The devices of a role.
    pub fn of(&self, role: Role) -> Vec<&str> {
        match role {
            Role::Vlan => self.vlan.iter().map(String::as_str).collect(),
            Role::Bond => self.bond.iter().map(String::as_str).collect(),
            Role::Port => self.ports.iter().map(String::as_str).collect(),
        }
    }

    /// Their names, or the role where there is none.
    pub fn named(&self, role: Role) -> String {
        let names = self.of(role);
        if names.is_empty() { role.to_string() } else { names.join(", ") }
    }

    fn links<'m>(&self, model: &'m Model, role: Role) -> Vec<(IfName, &'m Link)> {
        let names = self.of(role).into_iter().filter_map(|name| name.parse::<IfName>().ok());
        names.filter_map(|name| Some((name.clone(), model.links.get(&name)?))).collect()
    }
}

/// The stack by which most is lost: the VLAN with the largest share of drops, the bond below it, the bond's ports.
pub fn devices(model: &Model) -> Devices {
    let dropped = |link: &Link| {
        let counted = |name| link.counters.get(name).copied().unwrap_or(0);
        let (drops, sent) = (counted("tx_dropped"), counted("tx_packets"));
        drops.saturating_mul(1000) / drops.saturating_add(sent).max(1)
    };
    let is_on_bond = |link: &Link| {
        let parent = link.parent.as_ref().and_then(|parent| model.links.get(parent));
        link.kind == Kind::Vlan && parent.is_some_and(|parent| parent.kind == Kind::Bond)
    };
    // The first of the largest.
    let vlans = model.links.iter().filter(|(_, link)| is_on_bond(link));
    let vlan = vlans.rev().max_by_key(|(_, link)| dropped(link));
    let bonds = || model.links.iter().filter(|(_, link)| link.kind == Kind::Bond);
    let bond = vlan.and_then(|(_, link)| link.parent.clone());
    let bond = bond.or_else(|| Some(bonds().rev().max_by_key(|(_, link)| dropped(link))?.0.clone()));
    if let Some(bond) = bond {
        let ports = model.ports(&bond);
        return Devices {
            vlan: vlan.map(|(name, _)| name.to_string()),
            bond: Some(bond.to_string()),
            ports: ports.iter().map(ToString::to_string).collect(),
        };
    }
    let vlans = model.links.iter().filter(|(_, link)| link.kind == Kind::Vlan);
    let vlan = vlans.rev().max_by_key(|(_, link)| dropped(link));
    let nics = model.links.iter().filter(|(_, link)| link.kind == Kind::Nic);
    let nic = vlan.and_then(|(_, link)| link.parent.clone());
    let nic = nic.or_else(|| Some(nics.rev().max_by_key(|(_, link)| dropped(link))?.0.clone()));
    Devices {
        vlan: vlan.map(|(name, _)| name.to_string()),
        bond: None,
        ports: nic.iter().map(ToString::to_string).collect(),
    }
}

/// A feature that the text shows, with its words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// What.
    pub value: Value,
    /// As in `bond0.70 tx_dropped 222430 of 222441`.
    pub words: String,
}

/// All that the text shows.
pub fn features(
    model: &Model,
    queues: &BTreeMap<IfName, Queue>,
    devices: &Devices,
) -> BTreeMap<Feature, Shown> {
    let mut all = BTreeMap::new();
    for role in Role::ALL {
        let links = devices.links(model, role);
        counters(model, &links, role, &mut all);
        states(&links, role, &mut all);
        of_queues(queues, &links, role, &mut all);
    }
    let failures: Vec<(IfName, u64)> = devices
        .links(model, Role::Port)
        .into_iter()
        .filter_map(|(name, link)| Some((name, link.failures?)))
        .collect();
    if let Some((name, most)) = failures.into_iter().max_by_key(|(_, count)| *count) {
        let value = if most > 0 { Value::Part } else { Value::None };
        all.insert(Feature::Failures, Shown { value, words: format!("{name} link failures {most}") });
    }
    told(model, devices, &mut all);
    ways(model, devices, &mut all);
    all
}

fn counters(model: &Model, links: &[(IfName, &Link)], role: Role, all: &mut BTreeMap<Feature, Shown>) {
    for name in LOSSES {
        let is_sent = name.starts_with("tx_");
        let shares = links.iter().filter_map(|(device, link)| {
            let counted = *link.counters.get(name)?;
            let passed =
                link.counters.get(if is_sent { "tx_packets" } else { "rx_packets" }).copied().unwrap_or(0);
            let of = passed.saturating_add(counted);
            let value = Value::share(counted, of);
            Some(Shown { value, words: format!("{device} {name} {counted} of {of}") })
        });
        if let Some(shown) = shares.max_by(|one, other| one.value.cmp(&other.value)) {
            all.insert(Feature::Counter(role, name), shown);
        }
    }
    let feature = Feature::Counter(role, "tx_dropped");
    let none = links.iter().find(|(device, _)| model.seen.contains(&Seen::NoDrops(device.clone())));
    if let Some((device, _)) = none.filter(|_| !all.contains_key(&feature)) {
        all.insert(feature, Shown { value: Value::None, words: format!("{device} counts no drops") });
    }
}

fn states(links: &[(IfName, &Link)], role: Role, all: &mut BTreeMap<Feature, Shown>) {
    let states = links.iter().filter_map(|(device, link)| {
        let state = match (link.up, link.carrier) {
            (Some(false), _) => state(false, false),
            (_, Some(carrier)) => state(true, carrier),
            (_, None) => return None,
        };
        Some((state, device))
    });
    // `down`, `no carrier`, `up`: the worst comes first in the alphabet.
    if let Some((value, device)) = states.min() {
        let words = format!("{device} {value}");
        all.insert(Feature::State(role), Shown { value, words });
    }
}

fn of_queues(
    queues: &BTreeMap<IfName, Queue>,
    links: &[(IfName, &Link)],
    role: Role,
    all: &mut BTreeMap<Feature, Shown>,
) {
    let shown: Vec<(&IfName, &Queue)> =
        links.iter().filter_map(|(device, _)| queues.get_key_value(device)).collect();
    for name in QUEUE {
        let most = shown.iter().map(|(device, queue)| {
            let counted = match name {
                "drops" => queue.drops,
                "requeues" => queue.requeues,
                _ => queue.backlog,
            };
            let kinds = if queue.kinds.is_empty() { "queue".to_owned() } else { queue.kinds.join("/") };
            let value = Value::share(counted, queue.sent.saturating_add(queue.drops));
            Shown { value, words: format!("{kinds} of {device} {name} {counted}") }
        });
        if let Some(most) = most.max_by(|one, other| one.value.cmp(&other.value)) {
            all.insert(Feature::Queue(role, name), most);
        }
    }
    // A list of disciplines without clsact shows that there is none.
    let hooks = shown.iter().map(|(device, queue)| (queue.hook.unwrap_or(0), *device, queue.hook.is_some()));
    if let Some((dropped, device, is_there)) = hooks.max() {
        let value = if dropped == 0 { Value::None } else { Value::Most };
        let words = if is_there {
            format!("clsact of {device} dropped {dropped}")
        } else {
            format!("no clsact at {device}")
        };
        all.insert(Feature::Hook(role), Shown { value, words });
    }
}

fn told(model: &Model, devices: &Devices, all: &mut BTreeMap<Feature, Shown>) {
    let errno = model.seen.iter().find_map(|seen| match seen {
        Seen::Errno(errno, _) => Some(*errno),
        _ => None,
    });
    let Some(errno) = errno else {
        // An echo request's errno is shown, so that silence is the absence of one.
        let silent = model.seen.iter().find_map(|seen| match seen {
            Seen::Silent(device) => Some(device),
            _ => None,
        });
        if let Some(device) = silent {
            let words = format!("the sender by {device} is told nothing");
            all.insert(Feature::Told, Shown { value: Value::word("nothing"), words });
        }
        return;
    };
    let words = format!("the sender is told {errno}");
    all.insert(Feature::Told, Shown { value: Value::word(errno), words });
    for attempt in model.tried.iter().filter(|attempt| attempt.timed_out) {
        let Change::Qdisc(device, kind) = &attempt.change else { continue };
        let role = Role::ALL.into_iter().find(|role| devices.of(*role).contains(&device.as_str()));
        if let Some(role) = role {
            let words = format!("{kind} on {device} does not help: still {errno}");
            all.insert(Feature::UnderQueue(role), Shown { value: Value::word(errno), words });
        }
    }
}

/// What still works beside it.
fn ways(model: &Model, devices: &Devices, all: &mut BTreeMap<Feature, Shown>) {
    let is = |role: Role, name: &IfName| devices.of(role).contains(&name.as_str());
    let mut arrives = |way: Way, words: String| {
        all.insert(Feature::Arrives(way), Shown { value: Value::word("arrives"), words });
    };
    for seen in &model.seen {
        match seen {
            Seen::Works(name) => {
                let parent = model.links.get(name).and_then(|link| link.parent.as_ref());
                let words = format!("what {name} sends arrives");
                match parent {
                    Some(parent) if is(Role::Port, parent) => arrives(Way::NicVlan, words),
                    Some(parent) if is(Role::Bond, parent) && !is(Role::Vlan, name) => {
                        arrives(Way::OtherVlan, words);
                    }
                    _ => {}
                }
            }
            Seen::UntaggedWorks(name) if is(Role::Bond, name) => {
                arrives(Way::Untagged, format!("untagged frames of {name} arrive"));
            }
            Seen::VlanWorks(name, id) if is(Role::Bond, name) => {
                let own = devices.vlan.as_ref().and_then(|vlan| vlan.parse::<IfName>().ok());
                let own = own.and_then(|vlan| model.links.get(&vlan)?.vlan_id);
                if own.is_some_and(|own| own != *id) {
                    arrives(Way::OtherVlan, format!("frames of VLAN {id} of {name} arrive"));
                }
            }
            Seen::TagInBandWorks(name, id) if is(Role::Bond, name) => {
                arrives(Way::InBand, format!("frames that carry VLAN {id}'s tag from {name} arrive"));
            }
            _ => {}
        }
    }
}

/// Why a cause cannot be this machine's; `None` if it can.
pub fn impossible(model: &Model, devices: &Devices, needs: &Needs) -> Option<String> {
    let missing = needs.roles.iter().find(|role| devices.of(**role).is_empty());
    if let Some(role) = missing {
        return Some(format!("something would be wrong at {role}, and the text shows none"));
    }
    let (_, bond) = devices.links(model, Role::Bond).into_iter().next()?;
    let mode = bond.options.get("mode").map(String::as_str);
    if needs.mode.is_some() && mode.is_some() && needs.mode != mode {
        return Some(format!("the bond's mode would be {}", needs.mode.unwrap_or_default()));
    }
    if bond.is_configuration {
        let watches = |option: &str| bond.options.get(option).is_some_and(|interval| interval != "0");
        if needs.miimon != watches("miimon") || needs.arp != watches("arp_interval") {
            let monitor = match (needs.miimon, needs.arp) {
                (true, _) => "miimon",
                (_, true) => "the ARP monitor",
                _ => "nothing",
            };
            return Some(format!("the bond's ports would be watched by {monitor}"));
        }
        if devices.ports.len() < needs.ports {
            return Some(format!("the bond would have {} ports or more", needs.ports));
        }
    }
    None
}
