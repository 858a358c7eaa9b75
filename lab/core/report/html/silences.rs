//! Failovers as plots: how long a receiver heard nothing of a flow with an interval, a dot for each kernel.

use maud::{Markup, html};

use crate::report::drawing::layout::clip;
use crate::report::html::places;
use crate::report::html::runs::seconds;
use crate::report::html::topology::One;
use crate::report::matrix::Cell;

/// From the first mark of the axis to the last one.
const AXIS: u64 = 444;
/// Left of the axis are the labels: as much room as the longest one needs.
const CHARACTER: u64 = 7;
const LABEL_GAP: u64 = 10;
const RIGHT: u64 = 16;
const TOP: u64 = 8;
const ROW: u64 = 26;
const BOTTOM: u64 = 34;
/// The axis has a mark at each multiple of one of these, in ms, and no more than [`MARKS_MAX`].
const MARKS_MS: [u64; 7] = [1, 10, 100, 200, 500, 1000, 5000];
const MARKS_MAX: u64 = 10;

/// One flow of one topology on all kernels.
struct Row<'a> {
    label: String,
    /// With the silence in ms, and whether frames were lost.
    dots: Vec<(&'a Cell, u64, bool)>,
}

/// The flows of one topology.
pub fn of_topology(one: &One<'_>) -> Markup {
    let rows = rows(one, "");
    html! { @if !rows.is_empty() { h3 { "Silence at the receiver" } (plot(&rows, one.name)) } }
}

/// The flows of all topologies one below the other, where there are several.
pub fn section(topologies: &[One<'_>]) -> Markup {
    let of_each = topologies.iter().map(|one| rows(one, &format!("{}: ", one.name)));
    let of_each: Vec<Vec<Row<'_>>> = of_each.filter(|rows| !rows.is_empty()).collect();
    let rows: Vec<Row<'_>> =
        if of_each.len() > 1 { of_each.into_iter().flatten().collect() } else { Vec::new() };
    html! {
        @if !rows.is_empty() {
            section #silences aria-labelledby="silences-title" {
                h2 #silences-title { "Silence at the receivers" }
                p.hint { "Of flows with an interval. A failover shows as a silence that is longer than the interval." }
                (plot(&rows, "all topologies"))
            }
        }
    }
}

fn rows<'a>(one: &One<'a>, before: &str) -> Vec<Row<'a>> {
    let mut rows: Vec<Row<'a>> = Vec::new();
    for cell in &one.cells {
        for flow in cell.document.trials.first().iter().flat_map(|trial| &trial.flows) {
            let Some(silence_ms) = flow.silence_ms else { continue };
            let (label, dot) =
                (format!("{before}{}", flow.name), (*cell, silence_ms, flow.delivered < flow.asked));
            match rows.iter_mut().find(|row| row.label == label) {
                Some(row) => row.dots.push(dot),
                None => rows.push(Row { label, dots: vec![dot] }),
            }
        }
    }
    rows
}

fn plot(rows: &[Row<'_>], of: &str) -> Markup {
    let longest = rows.iter().flat_map(|row| &row.dots).map(|(_, ms, _)| *ms).max().unwrap_or(0);
    let mark_ms = MARKS_MS.into_iter().find(|mark| longest / mark < MARKS_MAX).unwrap_or(longest);
    let end_ms = (longest / mark_ms.max(1) + 1) * mark_ms.max(1);
    let longest_label = rows.iter().map(|row| clip(&row.label).chars().count()).max().unwrap_or(0) as u64;
    let left = LABEL_GAP + CHARACTER * longest_label;
    let width = left + AXIS + RIGHT;
    let x = |ms: u64| left + ms * AXIS / end_ms;
    let bottom = TOP + ROW * rows.len() as u64;
    html! {
        figure {
            div.scroll role="group" aria-label={ "Silence at the receivers of " (of) } tabindex="0" {
                svg.plot role="group" aria-label={ "Silence in ms, 0 to " (end_ms) ", a dot for each kernel" }
                    viewBox={ "0 0 " (width) " " (bottom + BOTTOM) } width=(width) height=(bottom + BOTTOM) {
                    @for ms in (0..=end_ms).step_by(usize::try_from(mark_ms.max(1)).unwrap_or(usize::MAX)) {
                        path d={ "M" (x(ms)) " " (TOP) "V" (bottom) } {}
                        text.mark-ms x=(x(ms)) y=(bottom + 14) { (ms) }
                    }
                    text.unit x=(width - RIGHT) y=(bottom + 29) { "ms; filled: frames were lost" }
                    @for (number, row) in rows.iter().enumerate() {
                        @let middle = TOP + ROW * number as u64 + ROW / 2;
                        text x=(left - LABEL_GAP) y=(middle + 4) { (clip(&row.label)) }
                        @for (place, (cell, ms, has_lost)) in row.dots.iter().enumerate() { (dot(cell, (x(*ms), height(middle, place, row.dots.len())), *ms, *has_lost)) }
                    }
                }
            }
        }
    }
}

/// Kernels lie one below the other within their row, the oldest at the top: dots at the same place stay visible.
fn height(middle: u64, place: usize, count: usize) -> u64 {
    let room = ROW - 10;
    middle - room / 2 + room * place as u64 / count.saturating_sub(1).max(1) as u64
}

fn dot(cell: &Cell, (x, y): (u64, u64), ms: u64, has_lost: bool) -> Markup {
    let what = if has_lost { "frames were lost" } else { "nothing was lost" };
    html! {
        a href={ "#" (places::of_cell(cell)) } aria-label={ (cell.document.kernel.id) ": " (ms) " ms, " (what) } {
            circle.lost[has_lost] cx=(x) cy=(y) r="4" {
                title { (cell.document.kernel.id) ": " (seconds(ms)) " s, " (what) }
            }
        }
    }
}
