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
use std::fmt::Write;

pub use crate::report::snapshot::by_topology::{Accepted, SnapshotError};
pub use crate::report::snapshot::comparison::{comparable, count as not_compared, is_older, of_frames, same};

use crate::judge::outcome::Outcome;
use crate::net::inner_path::{FileName, UnsafeName};
use crate::report::document::{
    CheckDocument, Document, FlowDocument, KernelFramesDocument, MovedDocument, ReplacedDocument,
    TrialDocument,
};
use crate::report::snapshot::comparison::{FORM, NOT_COMPARED};
use crate::topology::scenario::Socket;

/// What is said of a comparison with a text that was accepted before more was recorded.
pub const OLDER: &str = "accepted before links, LACP, features, captures and the kernel log were recorded; these were not compared";

/// What no text holds, for `--help`; docs/snapshots.md has the whole of it.
pub const LEFT_OUT: &str = "\
Not compared, because chance or the host's load decides it (docs/snapshots.md):
  what the kernel's own frames moved of loss counters; all but `some` or `none` of paced flows and of captures of what
  a kernel sends by timers; LACP that the run did not wait for; links that have not settled; numbers, addresses and
  repetitions in the kernel's log, what it says of a slow host, of igb's mailbox and of a missing LACP partner; fixed
  features; addresses, indexes, times";

/// Device counters that tell of a loss.
const LOSSES: [&str; 4] = ["rx_dropped", "tx_dropped", "rx_errors", "tx_errors"];
/// Counters of a queueing discipline that tell of a loss, a wait, or a driver that said busy.
const QUEUE_EVENTS: [&str; 3] = ["drops", "requeues", "backlog_packets"];

/// The heading of what devices can offload; the last one of a text.
pub(crate) const FEATURES: &str = "features";

/// The name of the file that has what was accepted for a topology, within the folder of snapshots.
///
/// # Errors
/// When a result names a topology whose file would be in another folder.
pub fn file_name(topology: &str) -> Result<FileName, UnsafeName> {
    FileName::parse(&format!("{topology}.snap"))
}

/// A text without the features of devices, and these.
pub fn split_features(text: &str) -> (&str, Option<&str>) {
    let heading = format!("\n{FEATURES}\n");
    match text.split_once(heading.as_str()) {
        Some((behaviour, features)) => (behaviour, Some(features)),
        None => (text, None),
    }
}

/// What `split_features` parted.
pub(crate) fn join_features(behaviour: &str, features: Option<&str>) -> String {
    let behaviour = behaviour.trim_end();
    match features {
        Some(features) => format!("{behaviour}\n\n{FEATURES}\n{}\n", features.trim_end()),
        None => format!("{behaviour}\n"),
    }
}

/// Whether two texts are the same but for the end of the last line: what one of them does not compare, the other does not
/// either.
pub fn identical(one: &str, other: &str) -> bool {
    one.trim_end() == other.trim_end()
}

/// The canonical text of a result.
pub fn text(document: &Document) -> String {
    let mut out = round_text(document);
    if !document.trials.is_empty() {
        end::log(&mut out, document);
        end::features(&mut out, document);
    }
    out
}

/// The same of one round of several, without the kernel's log, of which a kernel prints some lines only once, and without
/// features, which no round changes.
pub fn round_text(document: &Document) -> String {
    let mut out = String::new();
    let _ = writeln!(out, "outcome: {}", document.outcome);
    if !document.trials.is_empty() {
        let _ = writeln!(out, "{FORM}");
    }
    if let Some(reason) = &document.reason {
        let _ = writeln!(out, "reason: {}", reason_text(document.outcome, reason));
    }
    for substitution in &document.substitutions {
        let _ = writeln!(out, "substitute: {substitution}");
    }
    for check in document.checks.iter().filter(|check| check.outcome != Outcome::Pass) {
        let name = check_name(check);
        let _ = writeln!(
            out,
            "check {name}: {}, expected {}, observed {}",
            check.outcome, check.expected, check.observed
        );
    }
    for (subject, value) in &document.states {
        let _ = writeln!(out, "state: {subject}: {value}");
    }
    let first = end::first(document);
    for trial in &document.trials {
        trial_text(&mut out, trial);
        end::text(&mut out, trial, first);
    }
    if !document.hypotheses.is_empty() {
        out.push_str("\nhypotheses\n");
    }
    for one in &document.hypotheses {
        let _ = writeln!(out, "  {}: {}", one.name, if one.fits { "fits" } else { "does not fit" });
        for item in &one.evidence {
            let _ = writeln!(out, "    {}: {}", item.item, if item.fits { "yes" } else { "no" });
        }
    }
    out
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

fn trial_text(out: &mut String, trial: &TrialDocument) {
    let _ = writeln!(out, "\ntrial {}", trial.name);
    if let Some(refused) = &trial.refused {
        let _ = writeln!(out, "  refused: {refused}");
    }
    for flow in &trial.flows {
        flow_text(out, flow);
    }
    // Without a flow only the kernel's own frames have moved them.
    if trial.flows.is_empty() || trial.flows.iter().any(|flow| varies(flow) || sends_again(flow)) {
        return;
    }
    for (device, counters) in &trial.devices {
        let moved = items(trial, (device, "device"), counters, &LOSSES);
        if !moved.is_empty() {
            let _ = writeln!(out, "  {device}: {}", moved.join(", "));
        }
    }
    for (of, qdiscs) in [("qdisc", &trial.qdiscs), ("clsact", &trial.hooks)] {
        for (device, qdisc) in qdiscs {
            let moved = items(trial, (device, of), &qdisc.counters, &QUEUE_EVENTS);
            // A driver that was busy for a moment, and nothing came of it: a NIC's ring is, differently in each run.
            let is_only_busy = moved.iter().all(|event| event.starts_with("requeues"));
            if !is_only_busy {
                let _ = writeln!(out, "  {} of {device}: {}", qdisc.kind, moved.join(", "));
            }
        }
    }
    replaced_text(out, trial);
}

/// What disciplines that were replaced in the run had counted. Where the kernel's own frames were lost in a queue of the device
/// too, it is not known how much the lab's have moved.
fn replaced_text(out: &mut String, trial: &TrialDocument) {
    for ReplacedDocument { device, kind, counters } in &trial.replaced_qdiscs {
        let is_in_queue = |lost: &KernelFramesDocument| {
            lost.layer.as_deref() == Some("qdisc") && lost.device.as_ref() == Some(device)
        };
        let Some(drops) = counters.get("drops").filter(|drops| **drops > 0) else { continue };
        let counted = if trial.kernel_frames.iter().any(is_in_queue) {
            format!("{NOT_COMPARED}: the kernel's own frames moved it")
        } else {
            format!(" {drops}")
        };
        let _ = writeln!(out, "  {kind} of {device}, replaced: drops{counted}");
    }
}

/// Counters that the lab's frames moved, by `names`; those of which the kernel's own frames moved an unknown part
/// are left out with a word.
fn items(
    trial: &TrialDocument,
    (device, of): (&str, &str),
    counters: &BTreeMap<String, u64>,
    names: &[&str],
) -> Vec<String> {
    let item = |name: &&str| {
        let counted = *counters.get(*name)?;
        let is_it =
            |moved: &&MovedDocument| moved.device == device && moved.of == of && moved.counter == **name;
        match trial.kernel_moved.iter().find(is_it).map(|moved| moved.by) {
            Some(None) => Some(format!("{name}{NOT_COMPARED}: the kernel's own frames moved it")),
            by => {
                let own = counted.saturating_sub(by.flatten().unwrap_or(0));
                (own > 0).then(|| format!("{name} {own}"))
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

fn flow_text(out: &mut String, flow: &FlowDocument) {
    let _ = write!(out, "  flow {} ({}): {} asked", flow.name, flow.socket, flow.asked);
    if varies(flow) {
        let delivered = if flow.delivered > 0 { "some" } else { "none" };
        let _ = writeln!(out, ", {delivered} delivered");
        return;
    }
    let _ = write!(out, ", {} sent", flow.sent);
    for (errno, count) in &flow.errors {
        let _ = write!(out, ", {count} {errno}");
    }
    let _ = write!(out, ", {} delivered", flow.delivered);
    for (count, what) in [(flow.duplicated, "duplicated"), (flow.unattributed, "unattributed")] {
        if count > 0 {
            let _ = write!(out, ", {count} {what}");
        }
    }
    out.push('\n');
    let mut places: BTreeMap<(&str, &str), Vec<String>> = BTreeMap::new();
    for fate in &flow.fates {
        let place = (fate.layer.as_str(), fate.device.as_deref().unwrap_or("no device"));
        places.entry(place).or_default().push(format!("{} {}", fate.frames, fate.reason));
    }
    for ((layer, device), mut lost) in places {
        lost.sort_unstable();
        let _ = writeln!(out, "    lost at {layer} of {device}: {}", lost.join(", "));
    }
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
            let mut out = String::new();
            flow_text(&mut out, &flow);
            out
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
            let mut out = String::new();
            trial_text(&mut out, &serde_json::from_value(trial).expect("a trial"));
            out
        };
        assert_eq!(told(103, Some(3)), told(101, Some(1)));
        assert!(told(103, Some(3)).ends_with("  a:b: rx_dropped 7, tx_dropped 100\n"));
        assert!(told(3, Some(3)).ends_with("  a:b: rx_dropped 7\n"));
        let unknown = told(5, None);
        assert!(unknown.contains("tx_dropped not compared: the kernel's own frames moved it"), "{unknown}");
        assert!(same(&unknown, &told(103, Some(3))) && same(&unknown, &told(3, Some(3))));
        assert!(!same(&told(103, Some(3)), &told(3, Some(3))));
    }

    #[test]
    fn features_come_last_and_are_parted_from_behaviour() {
        let text = "outcome: pass\n\nkernel log\n  a: printed\n\nfeatures\n  veth: gro\n";
        let (behaviour, features) = split_features(text);
        assert_eq!(
            (behaviour, features),
            ("outcome: pass\n\nkernel log\n  a: printed\n", Some("  veth: gro\n"))
        );
        assert_eq!(join_features(behaviour, features), text);
        assert_eq!(split_features("outcome: pass\n"), ("outcome: pass\n", None));
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
