//! What a topology did on a kernel, as text that is the same in every run: names and counts, no address, index or time.
//!
//! Only counters that the lab's own frames decide are in it. A bonding driver's or bridge's own frames move
//! `rx_packets` and the like by a few, differently in each run. Of those that tell of a loss, what the kernel's own frames
//! moved is taken off; where that is not known, the counter is `not compared`. Every line is `label: value`, or the heading of the
//! lines indented below it: `behaviour` pairs the lines of two kernels by their labels.
//!
//! The text ends with the features of devices, which are compared and make no group of their own; `by_topology` has the file.

pub(crate) mod by_topology;
pub(crate) mod comparison;
pub(crate) mod end;
pub mod selection;

use std::collections::BTreeMap;

pub use crate::report::snapshot::by_topology::{Accepted, SnapshotError};
pub use crate::report::snapshot::comparison::{comparable, count as not_compared, is_older, of_frames, same};

use crate::judge::outcome::Outcome;
use crate::net::inner_path::{FileName, UnsafeName};
use crate::net::layer::Layer;
use crate::report::behaviour::parse::items;
use crate::report::behaviour::{Behaviour, Item, Label, Line};
use crate::report::document::{
    CheckDocument, Document, FlowDocument, HypothesisDocument, KernelFramesDocument, MovedDocument,
    ReplacedDocument, TrialDocument,
};
use crate::report::snapshot::comparison::FORM;
use crate::topology::scenario::Socket;

/// What is said of a comparison with a text that was accepted before more was recorded.
pub const OLDER: &str = "accepted before links, LACP, features, captures and the kernel log were recorded; these were not compared";

/// What no text holds, for `--help`; docs/snapshots.md has the whole of it.
pub const LEFT_OUT: &str = "\
Not compared, because it depends on chance or on the host's load (docs/snapshots.md):
  - loss counters, as far as the kernel's own frames changed them; queues in which they wait
  - paced flows, and captures of frames that a kernel sends by timers: only `some` or `none`
  - LACP, unless the run waited for it; links that have not settled; fixed features
  - in the kernel's log: numbers, addresses, repetitions, and messages about a slow host,
    about igb's mailbox and about a missing LACP partner
  - addresses, interface indexes, times";

/// Device counters that tell of a loss.
const LOSSES: [&str; 4] = ["rx_dropped", "tx_dropped", "rx_errors", "tx_errors"];
/// In the place of a device, where frames were lost on none.
pub(crate) const NO_DEVICE: &str = "no device";
/// Why a counter is not compared.
const MOVED_BY_KERNEL: &str = "the kernel's own frames moved it";
/// The same, of a queue in which more frames wait than those of the flows that are accounted for.
const OTHERS_WAIT: &str = "other frames wait there than those of the flows";
/// A counter that is not below zero as the kernel keeps it (`struct gnet_stats_queue`), in 32 bits.
const NOT_NEGATIVE: u64 = i32::MAX as u64;
/// Counters of a queueing discipline that tell of a loss, a wait, or a driver that said busy.
const QUEUE_EVENTS: [&str; 3] = ["drops", "requeues", "backlog_packets"];

/// The name of the file that has what was accepted for a topology, within the folder of snapshots.
///
/// # Errors
/// When a result names a topology whose file would be in another folder.
pub fn file_name(topology: &str) -> Result<FileName, UnsafeName> {
    FileName::parse(&format!("{topology}.snap"))
}

/// The canonical text of a result.
pub fn text(document: &Document) -> String {
    behaviour(document).to_string()
}

/// What a result shows of its kernel.
pub fn behaviour(document: &Document) -> Behaviour {
    let mut behaviour = of_round(document);
    if !document.trials.is_empty() {
        behaviour.lines.extend(end::log(document));
        behaviour.lines.extend(end::features(document));
    }
    behaviour
}

/// The same of one round of several, without the kernel's log, of which a kernel prints some lines only once, and without
/// features, which no round changes.
pub fn of_round(document: &Document) -> Behaviour {
    let mut lines = vec![worded(Label::Outcome, &document.outcome.to_string())];
    if !document.trials.is_empty() {
        lines.push(worded(Label::Form, FORM));
    }
    let reason = document.reason.as_ref();
    lines.extend(reason.map(|reason| worded(Label::Reason, &reason_text(document.outcome, reason))));
    lines.extend(document.substitutions.iter().map(|text| worded(Label::Substitute, text)));
    for check in document.checks.iter().filter(|check| check.outcome != Outcome::Pass) {
        let CheckDocument { outcome, expected, observed, .. } = check;
        let said = format!("{outcome}, expected {expected}, observed {observed}");
        lines.push(worded(Label::Check(check_name(check)), &said));
    }
    for (subject, value) in &document.states {
        lines.push(worded(Label::State, &format!("{subject}: {value}")));
    }
    let first = end::first(document);
    for trial in &document.trials {
        let below = [trial_lines(trial), end::lines(trial, first)].concat();
        lines.push(Line::heading(Label::Trial(trial.name.clone()), below));
    }
    if !document.hypotheses.is_empty() {
        let hypotheses = document.hypotheses.iter().map(hypothesis_line).collect();
        lines.push(Line::heading(Label::Hypotheses, hypotheses));
    }
    Behaviour { lines }
}

fn hypothesis_line(one: &HypothesisDocument) -> Line {
    let evidence = one.evidence.iter();
    let below = evidence.map(|item| {
        // Its name may have a colon in it, which ends a label: what is read is one line in the same way.
        let said = format!("{}: {}", item.item, if item.fits { "yes" } else { "no" });
        let (label, value) = said.split_once(": ").unwrap_or((&said, ""));
        worded(Label::Name(label.to_owned()), value)
    });
    let fits = if one.fits { "fits" } else { "does not fit" };
    Line { below: below.collect(), ..worded(Label::Name(one.name.clone()), fits) }
}

/// A line whose words are somebody else's: a reason, a check, a state. They are one line.
pub(crate) fn worded(label: Label, words: &str) -> Line {
    Line::new(label, items(words.split('\n').map(str::trim).collect::<Vec<_>>().join(" ").trim()))
}

/// A check's name as it stands in a text, where `: ` ends a label.
pub fn check_name(check: &CheckDocument) -> String {
    check.name.replace(": ", ", ")
}

/// The first line says what happened; below it is the console. Of a skip, the first line names the release and the
/// others what it lacks.
fn reason_text(outcome: Outcome, reason: &str) -> String {
    let mut lines = reason.lines().map(str::trim);
    let first = lines.next().unwrap_or_default();
    let lacks = lines.collect::<Vec<_>>().join(", ");
    if outcome == Outcome::Skip && !lacks.is_empty() { format!("lacks {lacks}") } else { first.to_owned() }
}

fn trial_lines(trial: &TrialDocument) -> Vec<Line> {
    let mut lines: Vec<Line> = trial.refused.iter().map(|refused| worded(Label::Refused, refused)).collect();
    lines.extend(trial.flows.iter().map(flow_line));
    // Without a flow only the kernel's own frames have moved them.
    if trial.flows.is_empty() || trial.flows.iter().any(|flow| varies(flow) || sends_again(flow)) {
        return lines;
    }
    for (device, counters) in &trial.devices {
        let moved = moved(trial, (device, "device"), counters, &LOSSES);
        if !moved.is_empty() {
            lines.push(Line::new(Label::Device(device.clone()), moved));
        }
    }
    for (of, qdiscs) in [("qdisc", &trial.qdiscs), ("clsact", &trial.hooks)] {
        for (device, qdisc) in qdiscs {
            let mut moved = moved(trial, (device, of), &qdisc.counters, &QUEUE_EVENTS);
            if others_wait(trial, device, &qdisc.counters) {
                moved.iter_mut().for_each(leave_out_wait);
            }
            // A driver that was busy for a moment, and nothing came of it: a NIC's ring is, differently in each run.
            let is_busy = |item: &Item| match item {
                Item::Counter(name, _) | Item::NotCompared { name, .. } => name == "requeues",
                _ => false,
            };
            if !moved.iter().all(is_busy) {
                let (kind, device) = (qdisc.kind.clone(), device.clone());
                lines.push(Line::new(Label::Queue { kind, device }, moved));
            }
        }
    }
    lines.extend(replaced_lines(trial));
    lines
}

/// Whether frames wait in a queue that are not the flows': the kernel's own, for as long as chance has them there, fragments of the
/// flows' frames or copies of them.
fn others_wait(trial: &TrialDocument, device: &str, counters: &BTreeMap<String, u64>) -> bool {
    let fates = trial.flows.iter().flat_map(|flow| &flow.fates).filter(|fate| {
        fate.layer == Layer::Qdisc && fate.reason == "BACKLOG" && fate.device_or(NO_DEVICE) == device
    });
    let of_flows: u64 = fates.map(|fate| u64::from(fate.frames)).sum();
    counters.get("backlog_packets").is_some_and(|all| (of_flows + 1..=NOT_NEGATIVE).contains(all))
}

/// Leaves out how many frames wait, and how often a driver had none of their place.
fn leave_out_wait(item: &mut Item) {
    if let Item::Counter(name, _) = item
        && ["backlog_packets", "requeues"].contains(&name.as_str())
    {
        *item = Item::NotCompared { name: std::mem::take(name), why: OTHERS_WAIT.into() };
    }
}

/// What disciplines that were replaced in the run had counted. Where the kernel's own frames were lost in a queue of the device
/// too, it is not known how much the lab's have moved.
fn replaced_lines(trial: &TrialDocument) -> impl Iterator<Item = Line> {
    trial.replaced_qdiscs.iter().filter_map(|ReplacedDocument { device, kind, counters }| {
        let is_in_queue = |lost: &KernelFramesDocument| {
            lost.layer.as_deref() == Some("qdisc") && lost.device.as_ref() == Some(device)
        };
        let drops = *counters.get("drops").filter(|drops| **drops > 0)?;
        let counted = match trial.kernel_frames.iter().any(is_in_queue) {
            true => Item::NotCompared { name: "drops".into(), why: MOVED_BY_KERNEL.into() },
            false => Item::Counter("drops".into(), drops),
        };
        let label = Label::Replaced { kind: kind.clone(), device: device.clone() };
        Some(Line::new(label, vec![counted]))
    })
}

/// Counters that the lab's frames moved, by `names`; those of which the kernel's own frames moved an unknown part
/// are left out with a word.
fn moved(
    trial: &TrialDocument,
    (device, of): (&str, &str),
    counters: &BTreeMap<String, u64>,
    names: &[&str],
) -> Vec<Item> {
    let item = |name: &&str| {
        let counted = *counters.get(*name)?;
        let is_it =
            |moved: &&MovedDocument| moved.device == device && moved.of == of && moved.counter == **name;
        let name = (*name).to_owned();
        match trial.kernel_moved.iter().find(is_it).map(|moved| moved.by) {
            Some(None) => Some(Item::NotCompared { name, why: MOVED_BY_KERNEL.into() }),
            by => {
                let own = counted.saturating_sub(by.flatten().unwrap_or(0));
                (own > 0).then_some(Item::Counter(name, own))
            }
        }
    };
    names.iter().filter_map(item).collect()
}

/// Whether a flow is paced, so that something can be broken in its midst: where it loses frames, how many, and whether
/// any at all, is a little different in each run.
fn varies(flow: &FlowDocument) -> bool {
    flow.interval_us.is_some()
}

/// Whether TCP has sent segments again, each at a time of its own choice: how many were counted by the end is a little
/// different in each run.
fn sends_again(flow: &FlowDocument) -> bool {
    flow.socket == Socket::Tcp && flow.delivered < flow.asked
}

fn flow_line(flow: &FlowDocument) -> Line {
    let label = Label::Flow { name: flow.name.clone(), socket: flow.socket.to_string() };
    let count = |number: u32, of: &str| Item::Count(number.into(), of.to_owned());
    let mut items = vec![count(flow.asked, "asked")];
    if varies(flow) {
        let delivered = if flow.delivered > 0 { "some delivered" } else { "none delivered" };
        items.push(Item::Words(delivered.into()));
        return Line::new(label, items);
    }
    items.push(count(flow.sent, "sent"));
    items.extend(flow.errors.iter().map(|(errno, number)| count(*number, errno)));
    items.push(count(flow.delivered, "delivered"));
    let others = [(flow.duplicated, "duplicated"), (flow.unattributed, "unattributed")];
    items.extend(others.iter().filter(|(number, _)| *number > 0).map(|(number, of)| count(*number, of)));
    let mut places: BTreeMap<(&str, String), Vec<Item>> = BTreeMap::new();
    for fate in &flow.fates {
        let device = fate.device_or(NO_DEVICE);
        let place = (fate.layer.as_str(), device);
        places.entry(place).or_default().push(count(fate.frames, &fate.reason));
    }
    let below = places.into_iter().map(|((layer, device), mut lost)| {
        // As texts: those of accepted ones are in this order.
        lost.sort_by_key(ToString::to_string);
        Line::new(Label::LostAt { layer: layer.to_owned(), device }, lost)
    });
    Line { below: below.collect(), ..Line::new(label, items) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::document::{KernelDocument, Timing};

    fn ended(outcome: Outcome, reason: &str) -> Document {
        let kernel = KernelDocument {
            id: "6.12.57".into(),
            release: "6.12.57+deb12-amd64".into(),
            backend: "vm".into(),
            accelerator: "tcg".into(),
            clock: "real".into(),
        };
        Document::unfinished("t", kernel, outcome, reason.into(), Timing::default())
    }

    /// A failover of balance-tlb loses a frame or none: both are the same behaviour.
    #[test]
    fn a_paced_flow_is_reported_alike_whatever_it_lost() {
        let told = |delivered: u32| {
            let flow = serde_json::json!({
                "name": "f", "from": "a:b", "to": "c:d", "socket": "packet", "asked": 9, "sent": 9, "errors": {},
                "delivered": delivered, "duplicated": 0, "unattributed": 0, "fates": [], "interval_us": 2000,
            });
            let flow: FlowDocument = serde_json::from_value(flow).expect("a flow");
            flow_line(&flow)
        };
        assert_eq!(told(9), told(8));
        assert_ne!(told(9), told(0));
    }

    /// How many reports of multicast groups die in a queue is chance.
    #[test]
    fn what_the_kernels_own_frames_moved_is_no_behaviour() {
        let told = |dropped: u64, by: Option<u64>| {
            let trial = serde_json::json!({
                "name": "main", "foreign_drops": 1, "qdiscs": {}, "hooks": {},
                "flows": [{
                    "name": "f", "from": "a:b", "to": "c:d", "socket": "packet", "asked": 9, "sent": 9, "errors": {},
                    "delivered": 9, "duplicated": 0, "unattributed": 0, "fates": [],
                }],
                "devices": { "a:b": { "rx_dropped": 7, "tx_dropped": dropped } },
                "kernel_moved": [{ "device": "a:b", "of": "device", "counter": "tx_dropped", "by": by }],
            });
            let lines = trial_lines(&serde_json::from_value(trial).expect("a trial"));
            Behaviour { lines: vec![Line::heading(Label::Trial("main".into()), lines)] }
        };
        assert_eq!(told(103, Some(3)), told(101, Some(1)));
        assert!(told(103, Some(3)).to_string().ends_with("  a:b: rx_dropped 7, tx_dropped 100\n"));
        assert!(told(3, Some(3)).to_string().ends_with("  a:b: rx_dropped 7\n"));
        let unknown = told(5, None);
        let says = unknown.to_string().contains("tx_dropped not compared: the kernel's own frames moved it");
        assert!(says, "{unknown}");
        assert!(same(&unknown, &told(103, Some(3))) && same(&unknown, &told(3, Some(3))));
        assert!(!same(&told(103, Some(3)), &told(3, Some(3))));
    }

    /// A frame of the kernel's own may be in a queue at the end, or have left it.
    #[test]
    fn waiting_frames_that_are_not_the_flows_are_no_behaviour() {
        let told = |waits: u64, requeues: u64| {
            let trial = serde_json::json!({
                "name": "main", "foreign_drops": 0, "devices": {}, "hooks": {},
                "flows": [{
                    "name": "f", "from": "a:b", "to": "c:d", "socket": "packet", "asked": 9, "sent": 9, "errors": {},
                    "delivered": 6, "duplicated": 0, "unattributed": 0,
                    "fates": [{ "layer": "qdisc", "device": "a:b", "reason": "BACKLOG", "frames": 3 }],
                }],
                "qdiscs": { "a:b": { "kind": "pfifo", "backlog_packets": waits, "requeues": requeues } },
            });
            let lines = trial_lines(&serde_json::from_value(trial).expect("a trial"));
            Behaviour { lines: vec![Line::heading(Label::Trial("main".into()), lines)] }
        };
        assert!(told(3, 1).to_string().ends_with("  pfifo of a:b: requeues 1, backlog_packets 3\n"));
        let more = told(4, 2).to_string();
        assert!(more.contains("backlog_packets not compared: other frames wait there"), "{more}");
        assert!(same(&told(3, 1), &told(4, 2)) && !same(&told(3, 1), &told(2, 1)));
        // Below zero: a fault of the kernel, and behaviour (tbf with cake).
        assert!(told(4_294_967_210, 1).to_string().contains("backlog_packets 4294967210"));
    }

    /// `--help` names each kind of thing that the page has in bold.
    #[test]
    fn the_help_leaves_out_what_the_page_does() {
        let page = include_str!("../../../docs/snapshots.md");
        let (_, part) = page.split_once("## What is not compared").expect("the page has it");
        let bold: Vec<&str> = part.split("**").skip(1).step_by(2).collect();
        assert_eq!(bold.len(), 7, "{bold:?}");
        let help = LEFT_OUT.to_lowercase();
        for kind in bold {
            let words = kind.split(' ').filter(|word| !["A", "The"].contains(word));
            let first =
                words.map(|word| word.trim_end_matches('s').to_lowercase()).next().unwrap_or_default();
            assert!(help.contains(&first), "{kind}");
        }
    }

    #[test]
    fn an_early_end_has_no_release_and_no_console_in_it() {
        let skip =
            ended(Outcome::Skip, "5.10.0-46-amd64 cannot run this topology; it lacks:\n  igb\n  sch_x");
        assert_eq!(text(&skip), "outcome: skip\nreason: lacks igb, sch_x\n");
        let panic = ended(Outcome::Panic, "the kernel panicked: oops (a < b)\n  | [1.23] oops\nnext: look");
        assert_eq!(text(&panic), "outcome: panic\nreason: the kernel panicked: oops (a < b)\n");
    }
}
