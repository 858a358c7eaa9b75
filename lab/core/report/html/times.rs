//! What the runs took: by kernel, the longest runs, and the whole matrix's wall-clock figures.

use maud::{Markup, html};

use crate::report::html::places;
use crate::report::html::runs::seconds;
use crate::report::matrix::{Cell, Matrix, Measures};

/// The longest runs that are listed.
const LONGEST: usize = 10;
/// Width of the longest bar, in CSS pixels.
const BAR: u64 = 120;

/// What one kernel's runs took, in ms.
struct Row<'a> {
    kernel: &'a str,
    cells: Vec<&'a Cell>,
    sum_ms: u64,
    median_ms: u64,
}

/// The section; times vary from run to run, and are in no snapshot.
pub fn section(matrix: &Matrix) -> Markup {
    let rows: Vec<Row<'_>> = matrix.grid.kernels.iter().filter_map(|kernel| row(matrix, kernel)).collect();
    let most = rows.iter().map(|row| row.sum_ms).max().unwrap_or(0).max(1);
    let mut longest: Vec<&Cell> = matrix.cells.iter().collect();
    longest.sort_by_key(|cell| std::cmp::Reverse(cell.document.timing_ms.total));
    longest.truncate(LONGEST);
    html! {
        section #times aria-labelledby="times-title" {
            h2 #times-title { "Kernels and times" }
            (whole(&matrix.measures))
            div.scroll role="group" aria-labelledby="times-title" tabindex="0" {
                table.list {
                    thead {
                        tr {
                            @for title in ["Kernel", "Release", "Machine", "Runs", "Median in s", "All runs in s"] {
                                th scope="col" { (title) }
                            }
                        }
                    }
                    tbody { @for row in &rows { (line(row, most)) } }
                }
            }
            @if longest.len() > 1 {
                h3 { "The longest runs" }
                ol { @for cell in longest { li { (link(cell)) " " (seconds(cell.document.timing_ms.total)) " s" } } }
            }
        }
    }
}

fn whole(measures: &Measures) -> Markup {
    let Measures { wall_ms, prepare_ms, cells_per_s, jobs, .. } = measures;
    html! {
        @if *wall_ms > 0 {
            p {
                (seconds(*wall_ms)) " s for all of it with " (jobs) " guests at a time, " (seconds(*prepare_ms))
                " s of that until every machine was saved; then " (format!("{cells_per_s:.2}")) " runs a second."
            }
        }
    }
}

fn row<'a>(matrix: &'a Matrix, kernel: &'a str) -> Option<Row<'a>> {
    let mut cells: Vec<&Cell> =
        matrix.cells.iter().filter(|cell| cell.document.kernel.id == kernel).collect();
    cells.sort_by_key(|cell| cell.document.timing_ms.total);
    let median_ms = cells.get(cells.len() / 2)?.document.timing_ms.total;
    let sum_ms = cells.iter().map(|cell| cell.document.timing_ms.total).sum();
    Some(Row { kernel, cells, sum_ms, median_ms })
}

fn line(row: &Row<'_>, most: u64) -> Markup {
    let all = |of: fn(&Cell) -> String| {
        let mut all: Vec<String> = row.cells.iter().map(|cell| of(cell)).collect();
        all.sort();
        all.dedup();
        all.join(", ")
    };
    html! {
        tr {
            th scope="row" { (row.kernel) }
            td { (all(|cell| cell.document.kernel.release.clone())) }
            td { (all(|cell| format!("{} {}", cell.document.kernel.backend, cell.document.kernel.accelerator))) }
            td.number { (row.cells.len()) }
            td.number { (seconds(row.median_ms)) }
            td.number {
                svg.bar aria-hidden="true" width=(BAR) height="10" { rect width=(row.sum_ms * BAR / most) height="10" {} }
                " " (seconds(row.sum_ms))
            }
        }
    }
}

fn link(cell: &Cell) -> Markup {
    html! { a href={ "#" (places::of_cell(cell)) } { (cell.document.topology) " on " (cell.document.kernel.id) } }
}
