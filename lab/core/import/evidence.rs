//! Counters, errors and other observations as the evidence of a `[report]`.

use crate::import::draft::{Draft, Section, texts};
use crate::import::far_end::FarEnd;
use crate::import::flows::{Flow, uplink_of};
use crate::import::model::{Attempt, Change, Kind, Model, Seen};
use crate::import::settle::{DEPTH_MAX, below};
use crate::import::symptoms;
use crate::net::name::IfName;

/// Frames of each flow: a queue of the kernel's default length takes fewer.
const FRAMES: i64 = 300;
/// A share of drops below this, in percent, is not what a fault that stays looks like.
const SHARE_MIN: u64 = 5;

/// By what a report shows that frames are lost, or may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Symptom {
    /// A counter or an errno of the sender.
    Counted,
    /// Nothing of what is sent gets an answer.
    Silence,
    /// The same of frames with so many bytes of ICMP payload.
    LargeSilence(u32),
    /// No LACP partner, or one that does not take all ports.
    NoPartner,
}

/// What the report is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Focus {
    /// What shows it.
    pub symptom: Symptom,
    /// The device that counts drops, or whose sender got an errno.
    pub device: IfName,
    /// Who sends by it.
    pub sender: IfName,
    /// The VLAN's number, if the device is one.
    pub vlan: Option<u16>,
    /// The bond or NIC by which frames leave.
    pub uplink: IfName,
}

impl Focus {
    /// Bytes of each frame without FCS, where they are not the usual ones: headers of Ethernet, IPv4 and ICMP, and the payload.
    pub fn len(&self) -> Option<u32> {
        match self.symptom {
            Symptom::LargeSilence(payload) => Some(payload.saturating_add(14 + 20 + 8)),
            _ => None,
        }
    }

    /// The bond whose missing LACP partner is reported.
    pub fn without_partner(&self) -> Option<&IfName> {
        (self.symptom == Symptom::NoPartner).then_some(&self.uplink)
    }
}

/// The device that the report is about; `None` if nothing in it is evidence of lost frames.
pub fn focus(model: &mut Model) -> Option<Focus> {
    let mut dropping: Vec<(u64, IfName)> = Vec::new();
    let mut notes = Vec::new();
    for (name, link) in &model.links {
        let dropped = link.counters.get("tx_dropped").copied().unwrap_or(0);
        let sent = link.counters.get("tx_packets").copied().unwrap_or(0);
        let share = dropped.saturating_mul(100) / dropped.saturating_add(sent).max(1);
        if dropped > 0 && share < SHARE_MIN {
            notes.push(format!(
                "tx_dropped {dropped} of {name}: beside {sent} that were sent they are no evidence of a fault that stays"
            ));
        } else if dropped > 0 {
            dropping.push((dropped, name.clone()));
        }
    }
    queues(model, &mut dropping, &mut notes);
    for (name, link) in &model.links {
        if let Some(dropped) = link.counters.get("rx_dropped").filter(|dropped| **dropped > 0) {
            notes.push(format!(
                "rx_dropped {dropped} of {name}: it counts frames of others, too; no flow can stand for them"
            ));
        }
    }
    notes.into_iter().for_each(|note| model.note(note));
    // What stands on another device counts what that one refuses: the report is about the uppermost.
    let names: Vec<IfName> = dropping.iter().map(|(_, name)| name.clone()).collect();
    let is_below = |name: &IfName| names.iter().any(|upper| all_below(model, upper).contains(name));
    dropping.retain(|(_, name)| !is_below(name));
    dropping.sort_by_key(|(dropped, name)| (std::cmp::Reverse(*dropped), name.clone()));
    let counted = dropping.into_iter().next().map(|(_, name)| name).or_else(|| told(model));
    let counted = counted.map(|name| (name, Symptom::Counted));
    let found = counted
        .or_else(|| symptoms::silent(model))
        .or_else(|| symptoms::alone(model))
        .or_else(|| symptoms::unresolved(model));
    symptoms::note_neighbours(model, found.as_ref());
    let (device, symptom) = found?;
    let sender = above(model, &device).unwrap_or_else(|| device.clone());
    let uplink = uplink_of(model, &device)?;
    let vlan = model.links[&device].vlan_id;
    Some(Focus { symptom, device, sender, vlan, uplink })
}

/// Drops of queues and filters, where the device's own counter shows none: `tc -s` counts what `ip -s` does not.
fn queues(model: &Model, dropping: &mut Vec<(u64, IfName)>, notes: &mut Vec<String>) {
    for (name, link) in &model.links {
        let queue = link.queue.as_ref();
        let drops = queue.and_then(|queue| queue.drops).unwrap_or(0);
        let sent = queue.and_then(|queue| queue.packets).unwrap_or(0);
        let filtered = link.filter_drops.unwrap_or(0);
        let share = drops.saturating_mul(100) / drops.saturating_add(sent).max(1);
        if drops > 0 && share < SHARE_MIN {
            notes.push(format!(
                "drops {drops} of the queue of {name}: beside {sent} that were sent they are no evidence of a fault that stays"
            ));
        }
        let counted = if share < SHARE_MIN { filtered } else { drops.saturating_add(filtered) };
        if counted > 0 && !dropping.iter().any(|(_, known)| known == name) {
            dropping.push((counted, name.clone()));
        }
    }
}

/// All devices that a device stands on.
fn all_below(model: &Model, name: &IfName) -> Vec<IfName> {
    let mut all = below(model, name);
    for _ in 0..DEPTH_MAX {
        let more: Vec<IfName> = all.iter().flat_map(|name| below(model, name)).collect();
        let before = all.len();
        more.into_iter().for_each(|name| {
            if !all.contains(&name) {
                all.push(name)
            }
        });
        if all.len() == before {
            break;
        }
    }
    all
}

/// The device whose sender got an errno: named, or the first VLAN, bond or NIC.
fn told(model: &Model) -> Option<IfName> {
    let (_, named) = model.seen.iter().find_map(|seen| match seen {
        Seen::Errno(errno, device) => Some((errno, device.clone())),
        _ => None,
    })?;
    if let Some(device) = named.filter(|device| model.links.contains_key(device)) {
        return Some(device);
    }
    let of =
        |kind: Kind| model.links.iter().find(|(_, link)| link.kind == kind).map(|(name, _)| name.clone());
    of(Kind::Vlan).or_else(|| of(Kind::Bond)).or_else(|| of(Kind::Nic))
}

/// A pod's device on it, if there is one.
fn above(model: &Model, device: &IfName) -> Option<IfName> {
    let is_pods = |link: &crate::import::model::Link| {
        matches!(link.kind, Kind::Ipvlan | Kind::Macvlan) && link.parent.as_ref() == Some(device)
    };
    model.links.iter().find(|(_, link)| is_pods(link)).map(|(name, _)| name.clone())
}

/// The table of the report while it is written.
struct Writer<'m> {
    model: &'m Model,
    far: &'m FarEnd,
    flows: Vec<Section>,
    floods: Vec<String>,
    evidence: Vec<Section>,
}

/// Writes flows, `[report]` and mitigations; whether there is any evidence.
pub fn write(model: &mut Model, far: &FarEnd, focus: &Focus, draft: &mut Draft) -> bool {
    let mut writer = Writer { model, far, flows: Vec::new(), floods: Vec::new(), evidence: Vec::new() };
    writer.settle(focus);
    let Some(probe) = Flow::by(writer.model, far, &focus.sender) else { return false };
    let probe = probe.table("probe", None, FRAMES).maybe("len", focus.len().map(i64::from));
    writer.send(probe.comment("What the report is about."), "probe");
    writer.silence(focus);
    writer.partner(focus);
    writer.drops(focus);
    writer.queues(focus);
    writer.errnos();
    writer.works(focus);
    let mitigations = writer.mitigations();
    let Writer { flows, floods, evidence, .. } = writer;
    if evidence.is_empty() {
        return false;
    }
    draft.sections.extend(flows);
    draft.push(Section::table(&["report"]).with("floods", texts(floods)));
    draft.sections.extend(evidence);
    draft.sections.extend(mitigations);
    true
}

fn item(name: String) -> Section {
    Section::item(&["report", "evidence"]).with("name", name)
}

impl Writer<'_> {
    fn send(&mut self, flow: Section, name: &str) {
        if !self.floods.iter().any(|known| known == name) {
            self.flows.push(flow);
            self.floods.push(name.to_owned());
        }
    }

    /// LACP needs some seconds to choose; a paced flow lets them pass. A partner that is not heard any more is forgotten after 3 s, or
    /// after 90 s where the bond asks for slow LACPDUs.
    fn settle(&mut self, focus: &Focus) {
        let link = &self.model.links[&focus.uplink];
        let is = |option: &str, word: &str| link.options.get(option).is_some_and(|value| value == word);
        if is("mode", "802.3ad")
            && let Some(flow) = Flow::by(self.model, self.far, &focus.uplink)
        {
            let seconds = match focus.symptom {
                Symptom::NoPartner if is("lacp_rate", "fast") => 12,
                Symptom::NoPartner => 110,
                _ => 6,
            };
            if seconds > 20 {
                self.flows.push(Section::table(&["limits"]).with("wait_s", 2 * seconds));
            }
            let section =
                flow.table("lacp-settles", None, seconds).comment("Made up: lets LACP come to an end first.");
            self.send(section.with("interval_us", 1_000_000), "lacp-settles");
        }
    }

    /// What gets no answer does not arrive: that an answer is lost on its way back is not tried.
    fn silence(&mut self, focus: &Focus) {
        let says = match focus.symptom {
            Symptom::Silence => format!("nothing that {} sends arrives", focus.sender),
            Symptom::LargeSilence(payload) => {
                format!("nothing that {} sends with {payload} bytes of payload arrives", focus.sender)
            }
            Symptom::Counted | Symptom::NoPartner => return,
        };
        self.evidence.push(item(says).with("flow", "probe").with("field", "delivered").with("equals", 0));
        if matches!(focus.symptom, Symptom::LargeSilence(_))
            && self.model.seen.contains(&Seen::Works(focus.device.clone()))
        {
            self.arrives(&focus.device, &format!("smaller frames of {} arrive", focus.device));
        }
        if self.model.links[&focus.device].counters.get("tx_dropped") == Some(&0) {
            let section = item(format!("{} counts none", focus.device));
            let section = section.with("device", format!("node:{}", focus.device));
            self.evidence.push(section.with("counter", "tx_dropped").with("equals", 0));
        }
    }

    /// What the text shows of the LACP partner.
    fn partner(&mut self, focus: &Focus) {
        let Some(bond) = focus.without_partner() else { return };
        let link = &self.model.links[bond];
        let state = |says: String, state: &str, equals: i64| {
            let section = item(says).with("device", format!("node:{bond}"));
            section.with("state", state).with("equals", equals)
        };
        let partner = link.has_partner.map(|has_partner| {
            let word = if has_partner { "a" } else { "no" };
            state(format!("{bond} has {word} LACP partner"), "partner", has_partner.into())
        });
        let count = link.aggregator_ports.map(|count| {
            let says = format!("the active aggregator of {bond} has {count} of its ports");
            state(says, "aggregator_ports", i64::from(count))
        });
        self.evidence.extend([partner, count].into_iter().flatten());
    }

    fn drops(&mut self, focus: &Focus) {
        let counted = |name: &IfName| self.model.links[name].counters.get("tx_dropped").copied();
        let device = |name: &IfName| format!("node:{name}");
        let mut items = Vec::new();
        if counted(&focus.device).is_some_and(|dropped| dropped > 0) {
            let section =
                item(format!("{} counts drops", focus.device)).with("device", device(&focus.device));
            items.push(section.with("counter", "tx_dropped").with("at_least", 1));
        }
        for name in all_below(self.model, &focus.device) {
            if counted(&name).is_some_and(|dropped| dropped > 0) {
                let section = item(format!("{name} counts drops")).with("device", device(&name));
                items.push(section.with("counter", "tx_dropped").with("at_least", 1));
            }
            let says_none = self.model.seen.contains(&Seen::NoDrops(name.clone()));
            if counted(&name) == Some(0) || (says_none && counted(&name).is_none()) {
                let section = item(format!("{name} counts none")).with("device", device(&name));
                items.push(section.with("counter", "tx_dropped").with("equals", 0));
            }
        }
        self.evidence.extend(items);
    }

    /// What `tc -s` shows of NICs' queues, and of filters anywhere below.
    fn queues(&mut self, focus: &Focus) {
        let all = std::iter::once(focus.device.clone()).chain(all_below(self.model, &focus.device));
        for name in all {
            let link = &self.model.links[&name];
            let device = format!("node:{name}");
            if let Some(drops) = link.filter_drops.filter(|drops| *drops > 0) {
                let section = item(format!("filters of {name} drop ({drops} in the text)"));
                let section = section.with("qdisc", device.as_str()).with("kind", "clsact");
                self.evidence.push(section.with("counter", "drops").with("at_least", 1));
            }
            // Without statistics, and without a queue of its own, there is nothing to compare.
            let Some(drops) = link.queue.as_ref().and_then(|queue| queue.drops) else { continue };
            if link.kind != Kind::Nic {
                continue;
            }
            let section = if drops > 0 { "drops" } else { "drops none" };
            let section = item(format!("the queue of {name} {section}")).with("qdisc", device);
            let section = section.with("counter", "drops");
            self.evidence.push(if drops > 0 {
                section.with("at_least", 1)
            } else {
                section.with("equals", 0)
            });
        }
    }

    fn errnos(&mut self) {
        if let Some(errno) = self.errno() {
            let section = item(format!("the sender is told {errno}")).with("flow", "probe");
            self.evidence.push(section.with("errno", errno).with("at_least", 1));
        }
    }

    fn errno(&self) -> Option<&'static str> {
        self.model.seen.iter().find_map(|seen| match seen {
            Seen::Errno(errno, _) => Some(*errno),
            _ => None,
        })
    }

    /// Everything that works at the same time.
    fn works(&mut self, focus: &Focus) {
        let model = self.model;
        for seen in &model.seen {
            match seen {
                Seen::Works(name) if *name != focus.device && *name != focus.sender => {
                    self.is_answered(name);
                }
                Seen::UntaggedWorks(name) => self.arrives(name, &format!("untagged frames of {name} arrive")),
                Seen::VlanWorks(name, id) if Some(*id) != focus.vlan => {
                    let is_it = |link: &crate::import::model::Link| {
                        link.vlan_id == Some(*id) && link.parent.as_ref() == Some(name)
                    };
                    let vlan = model.links.iter().find(|(_, link)| is_it(link)).map(|(name, _)| name.clone());
                    if let Some(vlan) = vlan {
                        self.arrives(&vlan, &format!("frames of VLAN {id} of {name} arrive"));
                    }
                }
                Seen::TagInBandWorks(name, id) => self.in_band(name, *id, focus),
                _ => {}
            }
        }
    }

    fn arrives(&mut self, name: &IfName, says: &str) {
        let Some(flow) = Flow::by(self.model, self.far, name) else { return };
        let name = format!("by-{}", flow.name);
        self.send(flow.table(&name, None, 50), &name);
        self.evidence.push(item(says.to_owned()).with("flow", name).with("field", "lost").with("equals", 0));
    }

    /// A ping that got an answer: one by the lab, and what comes back.
    fn is_answered(&mut self, name: &IfName) {
        let Some(there) = Flow::by(self.model, self.far, name) else { return };
        let back = there.back().map(|back| (back, format!("what comes back to {name} arrives")));
        for (flow, says) in [(there, format!("what {name} sends arrives"))].into_iter().chain(back) {
            let name = format!("by-{}", flow.name);
            self.send(flow.table(&name, flow.can_ping.then_some("ping"), 50), &name);
            self.evidence.push(item(says).with("flow", name).with("field", "lost").with("equals", 0));
        }
    }

    fn in_band(&mut self, name: &IfName, id: u16, focus: &Focus) {
        let (Some(flow), true) = (Flow::by(self.model, self.far, name), Some(id) == focus.vlan) else {
            return;
        };
        let Some(to) = self.far.opposite_of(self.model, &focus.device) else { return };
        let flow = Flow { to: format!("gateway:{to}"), ..flow };
        self.send(flow.table("tag-in-band", None, 50).with("tag", i64::from(id)), "tag-in-band");
        let section = item(format!("frames arrive if the sender of {name} writes VLAN {id}'s tag itself"));
        self.evidence.push(section.with("flow", "tag-in-band").with("field", "lost").with("equals", 0));
    }

    /// What was tried, and that it timed out where somebody said so.
    fn mitigations(&mut self) -> Vec<Section> {
        let errno = self.errno();
        let mut sections: Vec<Section> = Vec::new();
        for attempt in &self.model.tried {
            let Some((name, steps)) = self.steps(attempt) else { continue };
            let header = Section::table(&["mitigation", &name]).header;
            if sections.iter().any(|section| section.header == header) {
                continue;
            }
            let section = Section::table(&["mitigation", &name]).with("about", attempt.words.as_str());
            sections.push(section.with("steps", toml::Value::Array(steps)));
            if let Some(errno) = errno.filter(|_| attempt.timed_out) {
                let section =
                    item(format!("{name} does not help: still {errno}")).with("under", name.as_str());
                self.evidence.push(section.with("flow", "probe").with("errno", errno).with("at_least", 1));
            }
        }
        sections
    }

    fn steps(&self, attempt: &Attempt) -> Option<(String, Vec<toml::Value>)> {
        let there = |name: &IfName| self.model.links.contains_key(name).then(|| format!("node:{name}"));
        let table = |entries: Vec<(&str, toml::Value)>| {
            toml::Value::Table(entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
        };
        match &attempt.change {
            Change::Bounce(name) => {
                let device = there(name)?;
                let steps = vec![
                    table(vec![("down", device.as_str().into())]),
                    table(vec![("up", device.as_str().into())]),
                ];
                Some((format!("bounce-{name}").replace('.', "-"), steps))
            }
            Change::Recreate(name) => {
                let device = there(name)?;
                // What stands on it goes with it, and is made again too.
                let above = self.model.links.iter().filter(|(_, link)| link.parent.as_ref() == Some(name));
                let above =
                    above.map(|(name, link)| format!("{}:{name}", crate::import::far_end::place(link)));
                let mut steps = vec![table(vec![("delete", device.as_str().into())])];
                steps.extend(
                    std::iter::once(device).chain(above).map(|device| table(vec![("create", device.into())])),
                );
                let is_virtual =
                    matches!(self.model.links[name].kind, Kind::Vlan | Kind::Ipvlan | Kind::Macvlan);
                is_virtual.then(|| (format!("recreate-{name}").replace('.', "-"), steps))
            }
            Change::Qdisc(name, kind) => {
                let qdisc = table(vec![("kind", kind.as_str().into())]);
                let step = table(vec![("device", there(name)?.into()), ("qdisc", qdisc)]);
                Some((format!("{kind}-on-{name}").replace('.', "-"), vec![step]))
            }
            Change::Offload(name, feature, on) => {
                let nic = self
                    .model
                    .links
                    .iter()
                    .find(|(_, link)| link.kind == Kind::Nic)
                    .map(|(name, _)| name.clone());
                let device = there(&name.clone().or(nic)?)?;
                let switch = |on: bool| {
                    table(vec![
                        ("device", device.as_str().into()),
                        ("offload", (*feature).into()),
                        ("on", on.into()),
                    ])
                };
                Some(((*feature).to_owned(), vec![switch(!on), switch(*on)]))
            }
        }
    }
}
