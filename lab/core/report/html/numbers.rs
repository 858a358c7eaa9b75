//! Counters by kernels: a row a counter, a column for kernels that have the same in all rows.

use indexmap::IndexMap;
use maud::{Markup, html};

use crate::report::behaviour;
use crate::report::document::{Document, TrialDocument};
use crate::report::html::topology::One;
use crate::report::plural::s;

/// Of one trial, by what counts and the counter's name, its value on each kernel.
type Rows = IndexMap<(String, String), Vec<Option<u64>>>;

/// Trials with the same numbers, and these.
type Block<'a> = (Vec<&'a str>, Rows);

/// The table of all trials; counters that are zero everywhere are left out, and those that are alike on all kernels are one row for
/// all of a device.
pub fn table(one: &One<'_>) -> Markup {
    let ran: Vec<&Document> =
        one.cells.iter().map(|cell| &cell.document).filter(|document| !document.trials.is_empty()).collect();
    let blocks = blocks(&ran);
    let columns = columns(&blocks, ran.len());
    let heading = |column: &Vec<usize>| {
        let kernels: Vec<String> = column.iter().map(|number| ran[*number].kernel.id.clone()).collect();
        behaviour::ranges(one.kernels, &kernels)
    };
    html! {
        @if !blocks.is_empty() {
            details.numbers {
                summary { h3 { "Counters by kernel" } }
                div.scroll role="group" aria-label={ "Counters of " (one.name) } tabindex="0" {
                    table.list {
                        thead {
                            tr {
                                th scope="col" { "Counter" }
                                @for kernels in columns.iter().map(heading) { th scope="col" { (kernels) } }
                            }
                        }
                        @for block in &blocks { (body(block, &columns)) }
                    }
                }
            }
        }
    }
}

fn body((names, rows): &Block<'_>, columns: &[Vec<usize>]) -> Markup {
    let mut alike: IndexMap<&str, Vec<String>> = IndexMap::new();
    for ((of, name), values) in rows.iter().filter(|(_, values)| is_alike(values)) {
        alike.entry(of).or_default().extend(values[0].map(|value| format!("{name} {value}")));
    }
    html! {
        tbody {
            tr { th.trial scope="rowgroup" colspan=(columns.len() + 1) { "Trial" (s(names.len())) " " (names.join(", ")) } }
            @for ((of, name), values) in rows.iter().filter(|(_, values)| !is_alike(values)) {
                tr { th scope="row" { (of) " " (name) } (row(values, columns)) }
            }
            @for (of, counters) in alike {
                tr { th scope="row" { (of) } td.alike colspan=(columns.len()) { (counters.join(", ")) } }
            }
        }
    }
}

fn is_alike(values: &[Option<u64>]) -> bool {
    values.windows(2).all(|pair| pair[0] == pair[1])
}

fn blocks<'a>(ran: &[&'a Document]) -> Vec<Block<'a>> {
    let mut trials: IndexMap<&str, Rows> = IndexMap::new();
    for (column, document) in ran.iter().enumerate() {
        for trial in &document.trials {
            let rows = trials.entry(&trial.name).or_default();
            for (counter, value) in counters(trial) {
                rows.entry(counter).or_insert_with(|| vec![None; ran.len()])[column] = Some(value);
            }
        }
    }
    let mut blocks: Vec<Block<'_>> = Vec::new();
    for (name, mut rows) in trials {
        rows.retain(|_, values| values.iter().flatten().any(|value| *value > 0));
        match blocks.iter_mut().find(|(_, known)| *known == rows) {
            Some((names, _)) => names.push(name),
            None if rows.is_empty() => {}
            None => blocks.push((vec![name], rows)),
        }
    }
    blocks
}

/// Which kernels share a column: those with the same value in each row.
fn columns(blocks: &[Block<'_>], count: usize) -> Vec<Vec<usize>> {
    let same = |one: usize, other: usize| {
        blocks.iter().flat_map(|(_, rows)| rows.values()).all(|values| values[one] == values[other])
    };
    let mut columns: Vec<Vec<usize>> = Vec::new();
    for number in 0..count {
        match columns.iter_mut().find(|column| same(column[0], number)) {
            Some(column) => column.push(number),
            None => columns.push(vec![number]),
        }
    }
    columns
}

fn counters(trial: &TrialDocument) -> Vec<((String, String), u64)> {
    let silence = trial.flows.iter().filter_map(|flow| {
        Some(((format!("flow {}", flow.name), "silence_ms".to_owned()), flow.silence_ms?))
    });
    let of_devices = trial.devices.iter().flat_map(|(device, counters)| {
        counters.iter().map(move |(name, value)| ((device.clone(), name.clone()), *value))
    });
    let of_queues = trial.qdiscs.iter().chain(&trial.hooks).flat_map(|(device, qdisc)| {
        qdisc
            .counters
            .iter()
            .map(move |(name, value)| ((format!("{device} {}", qdisc.kind), name.clone()), *value))
    });
    silence.chain(of_devices).chain(of_queues).collect()
}

/// Neighbouring columns with one value share a cell.
fn row(values: &[Option<u64>], columns: &[Vec<usize>]) -> Markup {
    let values: Vec<Option<u64>> = columns.iter().map(|column| values[column[0]]).collect();
    html! {
        @for same in values.chunk_by(|one, other| one == other) {
            @let span = (same.len() > 1).then_some(same.len());
            td colspan=[span] { @if let Some(value) = same[0] { (value) } @else { "-" } }
        }
    }
}
