//! One topology: what it is, where kernels differ, and what each did.

use std::collections::BTreeMap;

use maud::{Markup, html};

use crate::judge::outcome::Outcome;
use crate::report::behaviour;
use crate::report::drawing::{Structure, svg};
use crate::report::html::{account, changes, numbers, places, runs, silences};
use crate::report::matrix::{Behaviours, Cell, Matrix};

/// A row of the matrix with its cells.
pub struct One<'a> {
    /// The topology's name.
    pub name: &'a str,
    /// The matrix's columns, for the order.
    pub kernels: &'a [String],
    /// In the order of kernels.
    pub cells: Vec<&'a Cell>,
    /// Whether the page has this run and no other: then all of it is shown at once.
    pub is_alone: bool,
    groups: Option<&'a Behaviours>,
    by_kernel: BTreeMap<&'a str, usize>,
}

impl<'a> One<'a> {
    /// The number of the group that a kernel is in.
    pub fn group_of(&self, kernel: &str) -> Option<usize> {
        self.groups?.groups.iter().position(|group| group.kernels.iter().any(|name| name == kernel))
    }

    /// The cell of a kernel.
    pub fn cell_on(&self, kernel: &str) -> Option<&'a Cell> {
        self.by_kernel.get(kernel).map(|place| self.cells[*place])
    }

    fn differs(&self) -> bool {
        self.groups.is_some_and(|groups| groups.groups.len() > 1)
    }
}

/// All rows.
pub fn all(matrix: &Matrix) -> Vec<One<'_>> {
    let mut cells: BTreeMap<&str, BTreeMap<&str, &Cell>> = BTreeMap::new();
    for cell in &matrix.cells {
        cells.entry(&cell.document.topology).or_default().insert(&cell.document.kernel.id, cell);
    }
    let row = |name: &'_ String| {
        let on = cells.get(name.as_str());
        let kernels = matrix.grid.kernels.iter();
        kernels.filter_map(|kernel| on?.get(kernel.as_str()).copied()).collect::<Vec<&Cell>>()
    };
    let one = |name| {
        let cells = row(name);
        let by_kernel =
            cells.iter().enumerate().map(|(place, cell)| (&*cell.document.kernel.id, place)).collect();
        let groups = matrix.groups.iter().find(|group| group.topology == *name);
        One {
            name,
            kernels: &matrix.grid.kernels,
            cells,
            is_alone: matrix.cells.len() == 1,
            groups,
            by_kernel,
        }
    };
    matrix.grid.rows.keys().map(one).collect()
}

/// The section of one.
pub fn section(one: &One<'_>) -> Markup {
    let place = places::of_topology(one.name);
    let mut outcomes: Vec<Outcome> = Vec::new();
    for cell in &one.cells {
        if !outcomes.contains(&cell.document.outcome) {
            outcomes.push(cell.document.outcome);
        }
    }
    let verdicts: Vec<&str> = outcomes.iter().map(|outcome| outcome.word()).collect();
    let about = one.cells.iter().find_map(|cell| cell.document.about.as_ref());
    html! {
        section.topology id=(place) data-verdicts=(verdicts.join(" ")) data-differs=(one.differs())
            aria-label=(one.name) {
            h2 { a href={ "#" (place) } { (one.name) } }
            @if let Some(about) = about { p.about { (about) } }
            @for (structure, kernels) in structures(one) {
                figure.scroll aria-label={ "Drawing of " (one.name) } tabindex="0" {
                    (svg::element(structure))
                    @if let Some(kernels) = kernels { figcaption { "On " (kernels) } }
                }
            }
            (changes::between(one))
            (runs::table(one))
            (silences::of_topology(one))
            (account::all(one))
            (numbers::table(one))
        }
    }
}

/// Drawings, each with the kernels it is of where there are several: a substitute has other links.
fn structures<'a>(one: &One<'a>) -> Vec<(&'a Structure, Option<String>)> {
    let mut found: Vec<(&Structure, Vec<String>)> = Vec::new();
    for cell in &one.cells {
        let Some(structure) = &cell.document.structure else { continue };
        let kernel = cell.document.kernel.id.clone();
        match found.iter_mut().find(|(known, _)| *known == structure) {
            Some((_, kernels)) => kernels.push(kernel),
            None => found.push((structure, vec![kernel])),
        }
    }
    let are_several = found.len() > 1;
    let named = found.into_iter();
    named.map(|(drawn, on)| (drawn, are_several.then(|| behaviour::ranges(one.kernels, &on)))).collect()
}
