//! What changed from one kernel to the next that behaves differently.

use maud::{Markup, html};

use crate::report::behaviour::differences;
use crate::report::html::places;
use crate::report::html::topology::One;
use crate::report::matrix::Cell;

/// A table for each pair of neighbours in different groups.
pub fn between(one: &One<'_>) -> Markup {
    let grouped: Vec<(&Cell, usize)> =
        one.cells.iter().filter_map(|cell| Some((*cell, one.group_of(&cell.document.kernel.id)?))).collect();
    let pairs: Vec<_> = grouped.windows(2).filter(|pair| pair[0].1 != pair[1].1).collect();
    html! {
        @if !pairs.is_empty() {
            h3 { "What changed between neighbouring kernels" }
            @for pair in pairs { (table(pair[0], pair[1])) }
        }
    }
}

fn table((before, old): (&Cell, usize), (after, new): (&Cell, usize)) -> Markup {
    let found = differences(&[&before.text, &after.text]);
    let heading = |cell: &Cell, group| format!("{} ({})", cell.document.kernel.id, places::letter(group));
    html! {
        details open[found.len() <= 12] {
            summary {
                "From " b { (heading(before, old)) } " to " b { (heading(after, new)) } ", lines that differ: " (found.len())
            }
            div.scroll role="region" aria-label="Lines that differ" tabindex="0" {
                table.list {
                    thead { tr { th scope="col" { "Line" } th scope="col" { (before.document.kernel.id) } th scope="col" { (after.document.kernel.id) } } }
                    tbody {
                        @for line in &found {
                            tr { th scope="row" { (line.item) } @for value in &line.values { td { (value) } } }
                        }
                    }
                }
            }
        }
    }
}
