//! The runs of one topology: a row for each kernel, which is where links to a cell lead.

use maud::{Markup, html};

use crate::judge::outcome::Outcome;
use crate::report::html::places;
use crate::report::html::topology::One;
use crate::report::matrix::{Cell, SnapshotStatus};

/// The table.
pub fn table(one: &One<'_>) -> Markup {
    html! {
        h3 { "Runs" }
        div.scroll role="region" aria-label={ "Runs of " (one.name) } tabindex="0" {
            table.list {
                thead {
                    tr {
                        @for title in ["Kernel", "Verdict", "Behaviour", "Release", "Machine", "Accepted", "Time"] {
                            th scope="col" { (title) }
                        }
                    }
                }
                tbody { @for cell in &one.cells { (row(one, cell)) } }
            }
        }
        @for cell in &one.cells { (details(cell)) }
    }
}

fn row(one: &One<'_>, cell: &Cell) -> Markup {
    let document = &cell.document;
    let kernel = &document.kernel;
    let group = one.group_of(&kernel.id).map(places::letter);
    html! {
        tr id=(places::of_cell(cell)) tabindex="-1" {
            th scope="row" { a href={ "#" (places::of_cell(cell)) } { (kernel.id) } }
            td { span class={ "mark " (document.outcome.word()) } {} (verdict(cell)) }
            td { (group.as_deref().unwrap_or("-")) }
            td { (kernel.release) }
            td { (kernel.backend) ", " (kernel.accelerator) ", " (kernel.clock) " time" }
            td { (standing(cell)) }
            td.number { (seconds(document.timing_ms.total)) }
        }
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

/// Milliseconds as seconds.
fn seconds(ms: u64) -> String {
    format!("{}.{} s", ms / 1000, ms % 1000 / 100)
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
