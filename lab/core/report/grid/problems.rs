//! What of a matrix is not as expected, and why.

use std::fmt::Write;

use indexmap::IndexMap;

use crate::judge::outcome::Outcome;
use crate::report::behaviour;
use crate::report::document::Document;
use crate::report::grid::{WIDTH, differences, in_a_line, wrap};
use crate::report::matrix::{Cell, Matrix, SnapshotStatus};

/// What is not as expected, with what to do next: cells of one topology that say the same are shown once.
pub(super) fn problems(matrix: &Matrix, width: usize) -> String {
    let mut alike: IndexMap<(&str, &str, String), Vec<String>> = IndexMap::new();
    for cell in &matrix.cells {
        let Document { topology, kernel, outcome, .. } = &cell.document;
        if outcome.is_failure() {
            alike.entry((topology, outcome.word(), why(cell, width))).or_default().push(kernel.id.clone());
        }
    }
    let mut out = String::new();
    for ((topology, outcome, why), kernels) in alike {
        let range = behaviour::ranges(&matrix.grid.kernels, &kernels);
        let _ = write!(out, "\n{} {topology} on {range}{why}", outcome.to_uppercase());
    }
    out
}

/// One cell that is not as expected: its verdict and why.
pub fn problem(cell: &Cell) -> String {
    let Document { topology, kernel, outcome, .. } = &cell.document;
    format!("{} {topology} on {}{}", outcome.word().to_uppercase(), kernel.id, why(cell, WIDTH))
}

/// Why a cell is not as expected, from the colon on.
fn why(cell: &Cell, width: usize) -> String {
    let document = &cell.document;
    let outcome = document.outcome;
    let mut out = String::new();
    match (&document.reason, cell.snapshot.status) {
        (Some(reason), _) if outcome == Outcome::Skip => {
            let _ = writeln!(out, ": {}", in_a_line(reason));
        }
        (Some(reason), status) => {
            let _ = writeln!(out, ": {}", in_a_line(reason));
            for line in reason.lines().filter(|line| line.starts_with("next: ")) {
                let _ = writeln!(out, "  {line}");
            }
            if status == SnapshotStatus::Differs {
                out += "  another behaviour was accepted\n";
            }
        }
        (None, SnapshotStatus::Differs) => {
            out += ": differs from what was accepted (accepted | now)\n";
            out += &differences(&cell.snapshot.differences, "    ", width);
        }
        (None, _) if crate::report::matrix::unattributed(document) > 0 => {
            let frames = crate::report::matrix::unattributed(document);
            let _ = writeln!(out, ": {frames} frames are unaccounted for, which no snapshot covers");
        }
        (None, SnapshotStatus::New) if cell.ran == Outcome::Pass => {
            out += ": no snapshot is accepted for it, and CI accepts none\n";
            out += "  next: run the same where you can review it, then `lab accept`\n";
        }
        (None, _) => {
            out += ": the topology's own conditions do not hold\n";
            for check in
                document.checks.iter().filter(|check| !matches!(check.outcome, Outcome::Pass | Outcome::Skip))
            {
                let line =
                    format!("{}: expected {}, observed {}", check.name, check.expected, check.observed);
                out += &wrap(line.split(' ').map(str::to_owned), " ", "    ", width);
            }
        }
    }
    out
}
