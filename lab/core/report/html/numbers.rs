//! Counters by kernels: a row a counter, a column a kernel; neighbours with one value share a cell.

use indexmap::IndexMap;
use maud::{Markup, html};

use crate::report::document::{Document, TrialDocument};
use crate::report::html::topology::One;

/// Of one trial, by the counter's name, its value on each kernel.
type Rows<'a> = IndexMap<String, Vec<Option<u64>>>;

/// The table of all trials; counters that are zero everywhere are left out.
pub fn table(one: &One<'_>) -> Markup {
    let ran: Vec<&Document> =
        one.cells.iter().map(|cell| &cell.document).filter(|document| !document.trials.is_empty()).collect();
    if ran.is_empty() {
        return html! {};
    }
    let mut trials: IndexMap<&str, Rows<'_>> = IndexMap::new();
    for (column, document) in ran.iter().enumerate() {
        for trial in &document.trials {
            let rows = trials.entry(&trial.name).or_default();
            for (name, value) in counters(trial) {
                rows.entry(name).or_insert_with(|| vec![None; ran.len()])[column] = Some(value);
            }
        }
    }
    html! {
        details.numbers {
            summary { "Counters by kernel" }
            p.hint { "What moved; what the kernel's own frames moved is included. Counters that are 0 on all kernels are left out." }
            div.scroll role="region" aria-label={ "Counters of " (one.name) } tabindex="0" {
                table.list {
                    thead { tr { th scope="col" { "Counter" } @for document in &ran { th scope="col" { (document.kernel.id) } } } }
                    @for (trial, rows) in &trials {
                        tbody {
                            tr { th.trial scope="rowgroup" colspan=(ran.len() + 1) { "Trial " (trial) } }
                            @for (name, values) in rows.iter().filter(|(_, values)| values.iter().flatten().any(|value| *value > 0)) {
                                tr { th scope="row" { (name) } (row(values)) }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn counters(trial: &TrialDocument) -> Vec<(String, u64)> {
    let silence =
        trial.flows.iter().filter_map(|flow| Some((format!("{} silence_ms", flow.name), flow.silence_ms?)));
    let of_devices = trial.devices.iter().flat_map(|(device, counters)| {
        counters.iter().map(move |(name, value)| (format!("{device} {name}"), *value))
    });
    let of_queues = trial.qdiscs.iter().chain(&trial.hooks).flat_map(|(device, qdisc)| {
        qdisc.counters.iter().map(move |(name, value)| (format!("{device} {} {name}", qdisc.kind), *value))
    });
    silence.chain(of_devices).chain(of_queues).collect()
}

fn row(values: &[Option<u64>]) -> Markup {
    html! {
        @for same in values.chunk_by(|one, other| one == other) {
            @let span = (same.len() > 1).then_some(same.len());
            td colspan=[span] { @if let Some(value) = same[0] { (value) } @else { "-" } }
        }
    }
}
