//! A matrix as one HTML file: no network, no external script. All text in it is escaped by the template library.
//!
//! Everything is in the page as it is delivered; the script searches, filters, shows one kernel's part, and moves the focus. What
//! several kernels did alike is in it once, so that a gallery on all kernels stays a file to send to somebody.

mod account;
mod changes;
mod controls;
mod csp;
mod flows;
mod grid;
mod numbers;
mod places;
mod runs;
mod silences;
mod tables;
#[cfg(test)]
mod tests;
mod times;
mod topology;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::judge::outcome::Outcome;
use crate::report::drawing::svg;
use crate::report::matrix::Matrix;
use crate::report::plural::s;

const STYLE: &str = include_str!("html/page.css");
const SCRIPT: &str = include_str!("html/page.js");
/// It stands before the grid, which it shows in slices while the rest of the page is read.
const SLICES: &str = include_str!("html/slices.js");

/// An empty statement between sections. A browser parses what it has of a file in one go, which takes it 0.1 s for a gallery; a
/// script ends that, and it paints and answers before it goes on.
const PAUSE: &str = ";";

/// Sections from one pause to the next: of a gallery, 5 ms of parsing.
const SECTIONS_AT_ONCE: usize = 8;

/// The verdicts in the order in which a page counts and filters them.
const OUTCOMES: [Outcome; 9] = [
    Outcome::Pass,
    Outcome::Xfail,
    Outcome::Fail,
    Outcome::Panic,
    Outcome::Hang,
    Outcome::BootFail,
    Outcome::Error,
    Outcome::Skip,
    Outcome::Unsupported,
];

/// The page of a matrix.
pub fn render(matrix: &Matrix) -> String {
    let title = title(matrix);
    let topologies = topology::all(matrix);
    let style = format!("{}{STYLE}{}", svg::STYLE, grid::style(matrix));
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta http-equiv="Content-Security-Policy" content=(csp::policy(&style, &[SCRIPT, PAUSE, SLICES]));
                title { (title) }
                style { (PreEscaped(&style)) }
            }
            body {
                a.jump href="#results" { "Skip to the results" }
                header { h1 { (title) } (summary(matrix)) }
                (controls::search())
                main #results tabindex="-1" {
                    script { (PreEscaped(SLICES)) }
                    (grid::section(matrix, &topologies))
                    @for some in topologies.chunks(SECTIONS_AT_ONCE) {
                        @for one in some { (topology::section(one)) }
                        script { (PreEscaped(PAUSE)) }
                    }
                    (silences::section(&topologies))
                    (times::section(matrix))
                }
                footer { p { "Made by bondlab " (env!("CARGO_PKG_VERSION")) ". This file is complete: it fetches nothing." } }
                script { (PreEscaped(SCRIPT)) }
            }
        }
    };
    page.into_string() + "\n"
}

fn title(matrix: &Matrix) -> String {
    match (&matrix.cells[..], matrix.grid.rows.len(), matrix.grid.kernels.len()) {
        ([only], _, _) => {
            let document = &only.document;
            format!("{} on {}: {}", document.topology, document.kernel.id, document.outcome)
        }
        (_, topologies, kernels) => {
            let ies = if topologies == 1 { "y" } else { "ies" };
            format!("{topologies} topolog{ies} on {kernels} kernel{}", s(kernels))
        }
    }
}

/// How many of each verdict, and what is missing.
fn summary(matrix: &Matrix) -> Markup {
    let missing = matrix.missing();
    html! {
        ul.counts aria-label="Verdicts" {
            @for outcome in OUTCOMES {
                @let count = matrix.count(outcome);
                @if count > 0 {
                    li { span class={ "mark " (outcome.word()) } {} (count) " " (outcome.word()) }
                }
            }
            @if !missing.is_empty() { li { b { (missing.len()) " missing" } } }
        }
    }
}
