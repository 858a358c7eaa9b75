//! The catalogue of causes as Markdown: what each looks like from outside, on which kernels, and a page for each.
//!
//! Made from accepted behaviour alone (see `snapshot`), so that the page can be made again from the accepted ones, and a
//! test can tell when the two say something else.

pub(crate) mod sockets;

use std::fmt::Write;

use crate::net::link::{Link, LinkKind};
use crate::net::name::DeviceRef;
use crate::report::behaviour::{self, Behaviour, Label, Line};
use crate::topology::Topology;

/// One cause: a topology, and what it did on kernels.
#[derive(Debug, Clone)]
pub struct Cause {
    /// The topology.
    pub topology: Topology,
    /// Its file, from the top of a checkout.
    pub file: String,
    /// Kernel and what it did, in the order of versions.
    pub seen: Vec<(String, Behaviour)>,
}

/// Where the kernel itself does not do exactly the same each time.
const PRECISION: &str = include_str!("causes/precision.md");

/// What the page is, and how it is made.
const PREFACE: &str = include_str!("causes/preface.md");

/// The whole page. `kernels` are the versions that any cause was seen on, in order.
pub fn render(causes: &[Cause], kernels: &[String]) -> String {
    let mut out = PREFACE.to_owned();
    let _ = writeln!(out, "\n{} causes, on {}.\n", causes.len(), kernels.join(", "));
    out.push_str("| cause | kernels | the sender gets | VLAN | bond | port | others | queues | lost at |\n");
    out.push_str("|---|---|---|---|---|---|---|---|---|\n");
    for cause in causes {
        rows(&mut out, cause, kernels);
    }
    sockets::tables(&mut out, causes, kernels);
    let _ = writeln!(out, "\n{}", PRECISION.trim_end());
    out.push_str("\n## The causes\n");
    for cause in causes {
        page(&mut out, cause);
    }
    out
}

fn groups(cause: &Cause) -> Vec<behaviour::Group> {
    behaviour::group(cause.seen.iter().map(|(kernel, behaviour)| (kernel.as_str(), behaviour)))
}

fn rows(out: &mut String, cause: &Cause, order: &[String]) {
    let name = &cause.topology.name;
    let roles = Roles::of(&cause.topology);
    for (number, group) in groups(cause).iter().enumerate() {
        let told = Seen::of(&group.behaviour);
        let first = if number == 0 { format!("[{name}](#{name})") } else { String::new() };
        let kernels = behaviour::ranges(order, &group.kernels);
        let kernels = if group.kernels.len() == order.len() { "all".to_owned() } else { kernels };
        let counted = |devices: &[DeviceRef]| match devices {
            [] => "-".to_owned(),
            _ => devices.iter().map(|device| told.dropped(device)).collect::<Vec<_>>().join(" / "),
        };
        let cells = [
            first,
            kernels,
            told.answers(),
            counted(&roles.vlans),
            counted(&roles.bonds),
            counted(&roles.ports),
            told.others(&roles),
            told.queues(),
            told.places(),
        ];
        let _ = writeln!(out, "| {} |", cells.join(" | "));
    }
}

fn page(out: &mut String, cause: &Cause) {
    let name = &cause.topology.name;
    let _ = writeln!(out, "\n### {name}\n");
    if let Some(about) = &cause.topology.about {
        let _ = writeln!(out, "{about}\n");
    }
    let _ = writeln!(out, "Topology: [{}](../{})", cause.file, cause.file);
    let groups = groups(cause);
    if groups.len() < 2 {
        return;
    }
    let order: Vec<String> = cause.seen.iter().map(|(kernel, _)| kernel.clone()).collect();
    let ranges: Vec<String> = groups.iter().map(|group| behaviour::ranges(&order, &group.kernels)).collect();
    let _ = writeln!(out, "\nNot the same on all kernels ({}):\n", ranges.join(" \\| "));
    let all: Vec<&Behaviour> = groups.iter().map(|group| &group.behaviour).collect();
    for difference in behaviour::differences(&all) {
        let _ = writeln!(out, "- {}: {}", difference.item, difference.values.join(" \\| "));
    }
}

/// Which devices of the sending side are which. The sending side is the namespace with the bond.
struct Roles {
    vlans: Vec<DeviceRef>,
    bonds: Vec<DeviceRef>,
    ports: Vec<DeviceRef>,
}

impl Roles {
    fn of(topology: &Topology) -> Self {
        let links = topology.links.values();
        let bond = links.clone().find(|link| matches!(link.kind, LinkKind::Bond(_)));
        let Some(bond) = bond else {
            return Self { vlans: Vec::new(), bonds: Vec::new(), ports: Vec::new() };
        };
        let on_bond = |link: &&Link| {
            matches!(link.kind, LinkKind::Vlan { .. }) && link.kind.parent() == Some(&bond.device)
        };
        Self {
            vlans: links.filter(on_bond).map(|link| link.device.clone()).collect(),
            bonds: vec![bond.device.clone()],
            ports: bond.below(),
        }
    }

    fn has(&self, device: &str) -> bool {
        let all = self.vlans.iter().chain(&self.bonds).chain(&self.ports);
        all.into_iter().any(|known| known.to_string() == device)
    }
}

/// What the table says of one behaviour.
#[derive(Debug, Default)]
struct Seen<'a> {
    refused: Option<String>,
    /// Name of the flow, and its line.
    flows: Vec<(&'a str, &'a Line)>,
    /// Layer and device, and reasons with numbers.
    lost: Vec<(String, &'a Line)>,
    /// Device, counter, number.
    counters: Vec<(&'a str, &'a str, u64)>,
    /// Kind and device, counter, number.
    queues: Vec<(String, &'a str, u64)>,
    /// TCP sends again by timers: no counter is recorded.
    uncounted: bool,
}

impl<'a> Seen<'a> {
    fn of(behaviour: &'a Behaviour) -> Self {
        let mut seen = Self::default();
        for line in behaviour.trial("main").unwrap_or_default() {
            match &line.label {
                Label::Refused => seen.refused = Some(line.value()),
                Label::Flow { name, socket } => {
                    seen.uncounted |= socket == "tcp" && line.count("delivered") < line.count("asked");
                    seen.flows.push((name, line));
                    let place = |lost: &'a Line| match &lost.label {
                        Label::LostAt { layer, device } => Some((format!("{layer} of {device}"), lost)),
                        _ => None,
                    };
                    seen.lost.extend(line.below.iter().filter_map(place));
                }
                Label::Device(device) => {
                    seen.counters.extend(line.counters().map(|(name, value)| (device.as_str(), name, value)));
                }
                Label::Queue { .. } | Label::Replaced { .. } => {
                    let queue = line.label.to_string();
                    seen.queues.extend(line.counters().map(|(name, value)| (queue.clone(), name, value)));
                }
                _ => {}
            }
        }
        seen
    }

    fn dropped(&self, device: &DeviceRef) -> String {
        if self.uncounted {
            return "-".to_owned();
        }
        let name = device.to_string();
        let here = self.counters.iter().find(|(of, counter, _)| *of == name && *counter == "tx_dropped");
        here.map_or(0, |(.., value)| *value).to_string()
    }

    /// What the sender of each flow hears, and whether its frames arrive.
    fn answers(&self) -> String {
        if let Some(refused) = &self.refused {
            return format!("refused: {refused}");
        }
        let flows = self.flows.iter().map(|(name, flow)| {
            let (asked, delivered) = (flow.count("asked"), flow.count("delivered"));
            let told = told(flow);
            match delivered {
                0 => format!("{name}: {told}"),
                _ if delivered == asked => format!("{name}: arrives"),
                _ => format!("{name}: {told}, {delivered} of {asked} arrive"),
            }
        });
        flows.collect::<Vec<_>>().join("; ")
    }

    fn others(&self, roles: &Roles) -> String {
        let is_other =
            |(device, counter, _): &&(&str, &str, u64)| !(roles.has(device) && *counter == "tx_dropped");
        let others = self.counters.iter().filter(is_other);
        or_none(others.map(|(device, counter, value)| format!("{device} {counter} {value}")))
    }

    fn queues(&self) -> String {
        or_none(self.queues.iter().map(|(queue, counter, value)| {
            format!("{queue} {} {value}", counter.trim_end_matches("_packets"))
        }))
    }

    fn places(&self) -> String {
        let mut places: Vec<(&str, Vec<&str>)> = Vec::new();
        for (place, lost) in &self.lost {
            let reasons = lost.counts().map(|(_, reason)| reason);
            match places.iter_mut().find(|(known, _)| known == place) {
                Some((_, known)) => known.extend(reasons),
                None => places.push((place, reasons.collect())),
            }
        }
        or_none(places.into_iter().map(|(place, mut reasons)| {
            reasons.sort_unstable();
            reasons.dedup();
            format!("{place} ({})", reasons.join(", "))
        }))
    }
}

/// The errnos of a flow, or the word for none.
fn told(flow: &Line) -> String {
    let asked = flow.count("asked");
    let errors = flow.counts().filter(|(_, word)| word.starts_with('E'));
    let errors: Vec<String> = errors
        .map(|(n, errno)| if n == asked { errno.to_owned() } else { format!("{errno} {n} of {asked}") })
        .collect();
    if errors.is_empty() { "nothing".to_owned() } else { errors.join(", ") }
}

fn or_none(items: impl Iterator<Item = String>) -> String {
    let items: Vec<String> = items.collect();
    if items.is_empty() { "-".to_owned() } else { items.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOPOLOGY: &str = r#"about = "A queue that is full."
[ns.node.veth.p0]
peer = "switch:p0"
[ns.node.bond.bond0]
mode = "active-backup"
miimon = 50
ports = ["p0"]
[ns.node.vlan."bond0.7"]
parent = "bond0"
id = 7
[ns.switch.veth.p0]
peer = "node:p0"
"#;
    const NEW: &str = "outcome: pass\n\ntrial main\n  flow packet (packet): 9 asked, 2 sent, 7 ENOBUFS, 0 delivered\n    \
                       lost at qdisc of node:p0: 2 BACKLOG, 7 QDISC_DROP\n  flow udp (udp): 9 asked, 9 sent, 9 delivered\n  \
                       node:bond0.7: tx_dropped 7\n  switch:p0: rx_dropped 1\n  pfifo of node:p0: drops 7, backlog_packets 2\n";

    fn cause(seen: &[(&str, &str)]) -> Cause {
        Cause {
            topology: Topology::parse("queue-full", "queue-full.toml", TOPOLOGY).unwrap(),
            file: "topologies/causes/queue-full.toml".into(),
            seen: seen.iter().map(|(kernel, text)| ((*kernel).into(), Behaviour::parse(text))).collect(),
        }
    }

    #[test]
    fn one_row_for_kernels_that_do_the_same() {
        let page = render(&[cause(&[("5.10", NEW), ("6.1", NEW)])], &["5.10".into(), "6.1".into()]);
        let row = "| [queue-full](#queue-full) | all | packet: ENOBUFS 7 of 9; udp: arrives | 7 | 0 | 0 | \
                   switch:p0 rx_dropped 1 | pfifo of node:p0 drops 7, pfifo of node:p0 backlog 2 | \
                   qdisc of node:p0 (BACKLOG, QDISC_DROP) |";
        assert!(page.lines().any(|line| line == row), "{page}");
        assert!(page.contains("\n### queue-full\n\nA queue that is full.\n"), "{page}");
        assert!(!page.contains("Not the same"), "{page}");
    }

    #[test]
    fn each_behaviour_has_a_row_and_the_page_says_what_differs() {
        let old = NEW.replace("  node:bond0.7: tx_dropped 7\n", "");
        let page = render(&[cause(&[("5.10", &old), ("6.1", NEW)])], &["5.10".into(), "6.1".into()]);
        assert!(page.lines().any(|line| line.starts_with("| [queue-full](#queue-full) | 5.10 |")), "{page}");
        assert!(page.lines().any(|line| line.starts_with("|  | 6.1 |")), "{page}");
        assert!(page.contains("- main, node:bond0.7: tx_dropped 0 \\| tx_dropped 7\n"), "{page}");
    }
}
