//! Topologies by kernels: a verdict and a letter in each cell. Equal letters in a row are equal behaviour.

use maud::{Markup, html};

use crate::judge::outcome::Outcome;
use crate::report::html::places;
use crate::report::html::topology::One;
use crate::report::matrix::Matrix;

/// The grid's columns, for the style: cells have a fixed width.
pub fn style(matrix: &Matrix) -> String {
    format!("#grid {{ --kernels: {}; }}\n", matrix.grid.kernels.len())
}

/// The grid.
pub fn section(matrix: &Matrix, topologies: &[One<'_>]) -> Markup {
    html! {
        section aria-labelledby="grid-title" {
            h2 #grid-title { "Topologies by kernels" }
            p.hint {
                "A row's letters are groups of kernels that behave alike; a thick line is where behaviour changes. "
                span."mark pass" {} "pass, " span."mark xfail" {} "fails as accepted, " span."mark fail" {} "fail, "
                span."mark skip" {} "skip, " span."mark unsupported" {} "unsupported (the kernel does not know an option, or a word of one); other verdicts are "
                "written out. "
                "Tables of counters have what moved, the kernel's own frames included; counters that are 0 on all kernels are left out."
            }
            div.scroll.tall role="group" aria-labelledby="grid-title" tabindex="0" {
                table #grid {
                    thead {
                        tr {
                            th scope="col" { "Topology" }
                            @for kernel in &matrix.grid.kernels { th.kernel scope="col" { span { (kernel) } } }
                        }
                    }
                    tbody {
                        @for one in topologies { (row(matrix, one)) }
                    }
                }
            }
        }
    }
}

fn row(matrix: &Matrix, one: &One<'_>) -> Markup {
    let mut before: Option<usize> = None;
    let cells: Vec<Markup> = matrix
        .grid
        .kernels
        .iter()
        .map(|kernel| {
            let group = one.group_of(kernel);
            let changes = group.is_some() && before.is_some() && group != before;
            before = group.or(before);
            cell(one, kernel, group, changes)
        })
        .collect();
    html! {
        tr {
            th scope="row" { a href={ "#" (places::of_topology(one.name)) } { (one.name) } }
            @for cell in cells { (cell) }
        }
    }
}

fn cell(one: &One<'_>, kernel: &str, group: Option<usize>, changes: bool) -> Markup {
    let Some(cell) = one.cell_on(kernel) else {
        return html! { td { span.none title="not run" { "·" } } };
    };
    // The verdict is the class, and most have none, which is a pass: the style writes a sign before the letter, with a word for
    // those who do not see it.
    let class = Some(cell.document.outcome.word()).filter(|_| cell.document.outcome != Outcome::Pass);
    html! {
        td class=[changes.then_some("edge")] {
            a class=[class] href={ "#" (places::of_cell(cell)) } {
                @if let Some(group) = group { (places::letter(group)) } @else { "-" }
            }
        }
    }
}
