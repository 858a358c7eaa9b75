//! The runs of one topology: a row for kernels of which the same is to be said, in it the kernels, where links to a cell lead.

use indexmap::IndexMap;
use maud::{Markup, html};

use crate::judge::outcome::Outcome;
use crate::report::html::places;
use crate::report::html::topology::One;
use crate::report::matrix::{Cell, SnapshotStatus};

/// What a row says beside its kernels.
type Row = (Option<usize>, String, String);

/// The table.
pub fn table(one: &One<'_>) -> Markup {
    let mut rows: IndexMap<Row, Vec<&Cell>> = IndexMap::new();
    for cell in &one.cells {
        let kernel = &cell.document.kernel;
        let clock = if kernel.clock == "virtual" { "; virtual time" } else { "" };
        let row = (one.group_of(&kernel.id), verdict(cell), format!("{}{clock}", standing(cell)));
        rows.entry(row).or_default().push(cell);
    }
    html! {
        h3 { "Runs" }
        div.scroll role="group" aria-label={ "Runs of " (one.name) } tabindex="0" {
            table.list.runs {
                thead {
                    tr {
                        @for title in ["Behaviour", "Verdict", "Accepted", "Kernels, with times in s"] {
                            th scope="col" { (title) }
                        }
                    }
                }
                tbody {
                    @for ((group, verdict, standing), cells) in &rows {
                        tr {
                            th scope="row" { (group.map_or_else(|| "-".to_owned(), places::letter)) }
                            td { span class={ "mark " (cells[0].document.outcome.word()) } {} (verdict) }
                            td { (standing) }
                            td { ul { @for cell in cells { (kernel(cell)) } } }
                        }
                    }
                }
            }
        }
        @for cell in &one.cells { (details(cell)) }
    }
}

fn kernel(cell: &Cell) -> Markup {
    html! {
        li id=(places::of_cell(cell)) { (cell.document.kernel.id) ": " (seconds(cell.document.timing_ms.total)) }
    }
}

fn verdict(cell: &Cell) -> String {
    match (cell.document.outcome, cell.ran) {
        (Outcome::Xfail, ran) => format!("xfail: {ran}, as accepted"),
        (outcome, ran) if outcome == ran => outcome.to_string(),
        (outcome, ran) => format!("{outcome}: by itself {ran}"),
    }
}

fn standing(cell: &Cell) -> &'static str {
    match cell.snapshot.status {
        SnapshotStatus::None => "not compared",
        SnapshotStatus::Same => "same",
        SnapshotStatus::Differs => "differs",
        SnapshotStatus::New => "nothing accepted yet",
        SnapshotStatus::Substituted => "not compared: a substitute is in the place of NICs",
    }
}

/// Milliseconds as seconds with one decimal place.
pub fn seconds(ms: u64) -> String {
    format!("{}.{}", ms / 1000, ms % 1000 / 100)
}

/// Why a run ended early, and where it differs from what was accepted.
fn details(cell: &Cell) -> Markup {
    let kernel = &cell.document.kernel.id;
    html! {
        @if let Some(reason) = &cell.document.reason {
            details { summary { "How the run on " (kernel) " ended" } pre { (reason) } }
        }
        @if !cell.snapshot.differences.is_empty() {
            details {
                summary { "Where " (kernel) " differs from what was accepted" }
                div.scroll role="group" aria-label={ "Differences of " (cell.document.topology) " on " (kernel) } tabindex="0" {
                    table.list {
                        thead { tr { th scope="col" { "Line" } th scope="col" { "accepted" } th scope="col" { "now" } } }
                        tbody {
                            @for line in &cell.snapshot.differences {
                                tr { th scope="row" { (line.item) } @for value in &line.values { td { (value) } } }
                            }
                        }
                    }
                }
            }
        }
    }
}
