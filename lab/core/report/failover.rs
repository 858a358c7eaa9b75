//! Failover by mode and monitor, measured: frames lost, how long the far end heard nothing, what announced the new way.
//!
//! Made from results, not from accepted texts: these hold no milliseconds. Where a cell was run more than once, its
//! numbers are the smallest and the largest.

pub(crate) mod plot;

use std::collections::BTreeSet;
use std::fmt::Write;

use indexmap::IndexMap;

use crate::net::bond::Bond;
use crate::net::link::LinkKind;
use crate::report::document::{Document, FlowDocument};
use crate::topology::Topology;
use crate::topology::fault::Fault;
use crate::topology::scenario::Step;

pub use crate::report::failover::plot::svg;

/// What the page is, and how it is made.
const PREFACE: &str = include_str!("failover/preface.md");
/// The flow in whose midst a port fails, and the one that is sent when the bond has had its time.
const STREAM: &str = "stream";
const AFTER: &str = "after";

/// What was refused: of which topologies, on which kernels.
type Words = IndexMap<String, (BTreeSet<String>, BTreeSet<String>)>;

/// One topology, and all results of it.
#[derive(Debug, Clone)]
pub struct Failover {
    /// The topology.
    pub topology: Topology,
    /// Its file, from the top of a checkout.
    pub file: String,
    /// What it did.
    pub results: Vec<Document>,
}

/// The page with its table. `kernels` are the columns.
pub fn markdown(failovers: &[Failover], kernels: &[String]) -> String {
    let mut out = PREFACE.trim_end().to_owned();
    let runs = failovers.iter().map(|failover| failover.results.len()).sum::<usize>();
    let _ = writeln!(out, "\n\n{} topologies on {} kernels, {runs} runs.\n", failovers.len(), kernels.len());
    let _ = writeln!(out, "| mode | monitor | what fails | {} |", kernels.join(" | "));
    let _ = writeln!(out, "|---|---|---|{}", "---|".repeat(kernels.len()));
    let mut words = Words::new();
    for failover in failovers {
        let Some(bond) = bond_of(&failover.topology) else { continue };
        let cells = kernels.iter().map(|kernel| cell(failover, kernel, &mut words));
        let cells = cells.collect::<Vec<_>>().join(" | ");
        let what = format!("[{}](../{})", broken(&failover.topology), failover.file);
        let _ = writeln!(out, "| {} | {} | {what} | {cells} |", bond.mode, monitor(bond));
    }
    if !words.is_empty() {
        out.push_str("\nRequests that were refused, with the kernel's message:\n\n");
    }
    for (words, (names, on)) in words {
        let on: Vec<&str> =
            kernels.iter().map(String::as_str).filter(|kernel| on.contains(*kernel)).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let _ = writeln!(out, "- `{words}`: {}, on {}", names.join(", "), on.join(", "));
    }
    out
}

/// The numbers of one topology on one kernel.
fn cell(failover: &Failover, kernel: &str, words: &mut Words) -> String {
    let results = || failover.results.iter().filter(|result| result.kernel.id == kernel);
    let refused = results().find_map(|result| result.trials.first()?.refused.clone());
    if let Some(refused) = refused {
        let (names, on) = words.entry(refused).or_default();
        names.insert(failover.topology.name.clone());
        on.insert(kernel.to_owned());
        return "refused".to_owned();
    }
    let streams: Vec<&FlowDocument> = results().filter_map(|result| flow(result, STREAM)).collect();
    if streams.is_empty() {
        return results().next().map_or_else(|| "-".to_owned(), |result| result.outcome.to_string());
    }
    let lost = range(streams.iter().map(|stream| u64::from(stream.asked - stream.delivered)));
    let silence = range(streams.iter().filter_map(|stream| stream.silence_ms));
    let mut cell = format!("{lost} lost, {silence} ms");
    if streams.iter().any(|stream| stream.delivered == 0) {
        cell += ", never up";
    } else if results().any(is_for_good) {
        cell += ", for good";
    }
    for (capture, word) in [("gratuitous-arp", "GARP"), ("unsolicited-na", "NA")] {
        let seen = results().filter_map(|result| result.trials.first()?.captured.get(capture).copied());
        let seen: Vec<u64> = seen.collect();
        if seen.iter().any(|count| *count > 0) {
            let _ = write!(cell, ", {} {word}", range(seen.into_iter()));
        }
    }
    cell
}

fn flow<'d>(document: &'d Document, name: &str) -> Option<&'d FlowDocument> {
    document.flows.iter().find(|flow| flow.name == name)
}

/// Whether the bond never left the port: nothing arrives any more.
fn is_for_good(result: &Document) -> bool {
    flow(result, AFTER).is_some_and(|flow| flow.delivered == 0)
}

/// Smallest and largest; one number where they are the same.
fn range(values: impl Iterator<Item = u64> + Clone) -> String {
    match (values.clone().min(), values.max()) {
        (Some(least), Some(most)) if least == most => least.to_string(),
        (Some(least), Some(most)) => format!("{least}..{most}"),
        _ => "-".to_owned(),
    }
}

/// The bond that fails over: the first one.
fn bond_of(topology: &Topology) -> Option<&Bond> {
    topology.links.values().find_map(|link| match &link.kind {
        LinkKind::Bond(bond) => Some(&**bond),
        _ => None,
    })
}

/// What it goes by, in the words of `ip link`.
fn monitor(bond: &Bond) -> String {
    let mut words = Vec::new();
    let mut word = |key: &str, value: Option<u32>| {
        words.extend(value.map(|value| format!("{key} {value}")));
    };
    word("miimon", bond.options.miimon);
    word("updelay", bond.options.updelay);
    word("downdelay", bond.options.downdelay);
    let kind = if bond.options.ns_ip6_target.is_none() { "ARP" } else { "NS" };
    word(kind, bond.options.arp_interval);
    words.extend(bond.options.arp_validate.map(|validate| format!("arp_validate {validate}")));
    words.join(", ")
}

/// What happens to the port.
fn broken(topology: &Topology) -> &'static str {
    let fault = topology.scenario.steps.iter().find_map(|step| match step {
        Step::Break { inject, .. } => topology.scenario.faults.get(inject),
        _ => None,
    });
    match fault {
        None => "-",
        Some(Fault::Down { .. } | Fault::Unplug { .. } | Fault::CarrierLost { .. }) => "cable out",
        Some(fault) if leads_to_a_port(topology, fault) => "link up, no answers",
        Some(_) => "uplink gone, other hosts answer",
    }
}

/// Whether what is broken is the other end of a port's cable, and not something behind it.
fn leads_to_a_port(topology: &Topology, fault: &Fault) -> bool {
    let Some(LinkKind::Veth { peer }) = topology.link(fault.device()).map(|link| &link.kind) else {
        return false;
    };
    topology.links.values().any(|link| matches!(link.kind, LinkKind::Bond(_)) && link.has_port(peer))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::outcome::Outcome;
    use crate::report::document::{KernelDocument, Timing};
    use crate::topology::scenario::Socket;

    pub(crate) fn failover(silences: &[(&str, u64)]) -> Failover {
        let text = r#"
[ns.node.veth.p0]
peer = "switch:s0"
addresses = ["192.0.2.9/24"]
[ns.node.bond.bond0]
mode = "active-backup"
miimon = 100
downdelay = 200
ports = ["p0"]
[ns.switch.veth.s0]
peer = "node:p0"
addresses = ["192.0.2.2/24"]
[flow.stream]
from = "node:p0"
to = "switch:s0"
frames = 600
interval_us = 2000
[fault.down.cable]
device = "switch:s0"
[[step]]
flood = "stream"
inject = "cable"
at_frame = 100
"#;
        let topology = Topology::parse("ab", "ab.toml", text).unwrap_or_else(|errors| panic!("{errors}"));
        let result = |(kernel, silence_ms): &(&str, u64)| {
            let kernel = KernelDocument {
                id: (*kernel).into(),
                release: (*kernel).into(),
                backend: "vm".into(),
                accelerator: "tcg".into(),
                clock: "real".into(),
            };
            let mut document =
                Document::unfinished("ab", kernel, Outcome::Pass, String::new(), Timing::default());
            document.flows = vec![FlowDocument {
                name: STREAM.into(),
                from: "node:p0".into(),
                to: "switch:s0".into(),
                socket: Socket::Packet,
                counts_at: None,
                asked: 600,
                sent: 600,
                errors: Default::default(),
                delivered: 500,
                duplicated: 0,
                unattributed: 0,
                fates: Vec::new(),
                interval_us: Some(2000),
                silence_ms: Some(*silence_ms),
                seen_from: Vec::new(),
                reordered: 0,
                retransmitted: None,
            }];
            document
        };
        Failover { topology, file: "ab.toml".into(), results: silences.iter().map(result).collect() }
    }

    #[test]
    fn a_row_has_the_range_of_its_runs() {
        let page = markdown(
            &[failover(&[("5.10", 210), ("5.10", 290), ("6.1", 250)])],
            &["5.10".into(), "6.1".into()],
        );
        let row = "| active-backup | miimon 100, downdelay 200 | [cable out](../ab.toml) | \
                   100 lost, 210..290 ms | 100 lost, 250 ms |";
        assert!(page.lines().any(|line| line == row), "{page}");
    }
}
