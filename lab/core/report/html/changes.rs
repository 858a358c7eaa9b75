//! What changed from one kernel to the next that behaves differently.

use indexmap::IndexMap;
use maud::{Markup, html};

use crate::report::behaviour::differences;
use crate::report::html::places;
use crate::report::html::topology::One;
use crate::report::matrix::Cell;

/// A cell with the number of its group.
type Grouped<'a> = (&'a Cell, usize);

/// A table for each pair of groups that neighbours are in: a change back and forth again is the same table.
pub fn between(one: &One<'_>) -> Markup {
    let grouped: Vec<Grouped<'_>> =
        one.cells.iter().filter_map(|cell| Some((*cell, one.group_of(&cell.document.kernel.id)?))).collect();
    let mut pairs: IndexMap<(usize, usize), Vec<[Grouped<'_>; 2]>> = IndexMap::new();
    for pair in grouped.windows(2).filter(|pair| pair[0].1 != pair[1].1) {
        pairs.entry((pair[0].1, pair[1].1)).or_default().push([pair[0], pair[1]]);
    }
    html! {
        @if !pairs.is_empty() {
            h3 { "What changed between neighbouring kernels" }
            @for same in pairs.values() { (table(one.name, same)) }
        }
    }
}

fn table(of: &str, same: &[[Grouped<'_>; 2]]) -> Markup {
    let [(before, old), (after, new)] = same[0];
    let found = differences(&[&before.behaviour, &after.behaviour]);
    html! {
        details open[found.len() <= 12] {
            summary {
                @for (number, [(before, old), (after, new)]) in same.iter().enumerate() {
                    (if number == 0 { "From " } else { ", from " })
                    b { (heading(before, *old)) } " to " b { (heading(after, *new)) }
                }
                ", lines that differ: " (found.len())
            }
            div.scroll role="group" aria-label={ "What changed in " (of) " from " (heading(before, old)) " to " (heading(after, new)) } tabindex="0" {
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

fn heading(cell: &Cell, group: usize) -> String {
    format!("{} ({})", cell.document.kernel.id, places::letter(group))
}
