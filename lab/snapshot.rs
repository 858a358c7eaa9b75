//! What a topology did on a kernel, as text that is the same in every run: names and counts, no address, index or time.
//!
//! Only counters that the lab's own frames decide are in it. A bonding driver's or bridge's own frames move
//! `rx_packets` and the like by a few, differently in each run.

use std::fmt::Write;

use crate::document::{Document, FlowDocument, QdiscDocument, TrialDocument};
use crate::outcome::Outcome;

/// Device counters that tell of a loss.
const LOSSES: [&str; 4] = ["rx_dropped", "tx_dropped", "rx_errors", "tx_errors"];
/// Counters of a queueing discipline that tell of a loss, a wait, or a driver that said busy.
const QUEUE_EVENTS: [&str; 3] = ["drops", "requeues", "backlog_packets"];

/// The canonical text of a result.
pub fn text(document: &Document) -> String {
    let mut out = String::new();
    let _ = writeln!(out, "outcome: {}", document.outcome);
    if let Some(reason) = &document.reason {
        // The first line says what happened; below it is the console.
        let _ = writeln!(out, "{}", reason.lines().next().unwrap_or_default());
    }
    for check in document.checks.iter().filter(|check| check.outcome != Outcome::Pass) {
        let _ = writeln!(
            out,
            "{}: {}: expected {}, observed {}",
            check.outcome, check.name, check.expected, check.observed
        );
    }
    for (subject, value) in &document.states {
        let _ = writeln!(out, "state: {subject}: {value}");
    }
    for trial in &document.trials {
        trial_text(&mut out, trial);
    }
    if !document.hypotheses.is_empty() {
        out.push_str("\nhypotheses\n");
    }
    for one in &document.hypotheses {
        let word = |fits| if fits { "yes" } else { "no" };
        let evidence: Vec<String> =
            one.evidence.iter().map(|item| format!("{}: {}", item.item, word(item.fits))).collect();
        let _ = writeln!(
            out,
            "  {}: {} ({})",
            one.name,
            if one.fits { "fits" } else { "does not fit" },
            evidence.join("; ")
        );
    }
    out
}

fn trial_text(out: &mut String, trial: &TrialDocument) {
    let _ = writeln!(out, "\ntrial {}", trial.name);
    if let Some(refused) = &trial.refused {
        let _ = writeln!(out, "  refused: {refused}");
    }
    for flow in &trial.flows {
        flow_text(out, flow);
    }
    for (device, counters) in &trial.devices {
        let moved: Vec<String> = LOSSES
            .iter()
            .filter_map(|name| Some((name, *counters.get(*name)?)))
            .filter(|(_, value)| *value > 0)
            .map(|(name, value)| format!("{name} {value}"))
            .collect();
        if !moved.is_empty() {
            let _ = writeln!(out, "  {device}: {}", moved.join(", "));
        }
    }
    for (device, qdisc) in trial.qdiscs.iter().chain(&trial.hooks) {
        qdisc_text(out, device, qdisc);
    }
}

fn flow_text(out: &mut String, flow: &FlowDocument) {
    let _ = write!(out, "  flow {} ({}): {} asked, {} sent", flow.name, flow.socket, flow.asked, flow.sent);
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
    for fate in &flow.fates {
        let device = fate.device.as_deref().unwrap_or("-");
        let _ = writeln!(out, "    {} lost: {} {device} {}", fate.frames, fate.layer, fate.reason);
    }
}

fn qdisc_text(out: &mut String, device: &str, qdisc: &QdiscDocument) {
    let moved: Vec<String> = QUEUE_EVENTS
        .iter()
        .filter_map(|name| Some((name, *qdisc.counters.get(*name)?)))
        .filter(|(_, value)| *value > 0)
        .map(|(name, value)| format!("{name} {value}"))
        .collect();
    if !moved.is_empty() {
        let _ = writeln!(out, "  {} of {device}: {}", qdisc.kind, moved.join(", "));
    }
}
