//! Search and filters. They are hidden where no script runs, since they do nothing there.

use maud::{Markup, html};

use crate::report::html::OUTCOMES;

/// The form above the results.
pub fn search() -> Markup {
    html! {
        search.controls hidden {
            label { "Search " input #search type="search" placeholder="topology, device, drop reason" autocomplete="off"; }
            label {
                "Verdict "
                select #verdict {
                    option value="" { "any" }
                    option value="unexpected" { "not as expected" }
                    @for outcome in OUTCOMES { option value=(outcome.word()) { (outcome.word()) } }
                }
            }
            label { input #changing type="checkbox"; " only where kernels differ" }
            button #theme type="button" { "Dark or light" }
            output #shown role="status" {}
            p #absent role="alert" hidden { "This page has no place of that address." }
            p.keys { kbd { "/" } " search, arrow keys move in the grid, " kbd { "Enter" } " opens a cell" }
        }
    }
}
