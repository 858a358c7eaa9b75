//! A matrix as KTAP (Documentation/dev-tools/ktap.rst): a subtest for each topology, a line for each kernel.

use std::fmt::Write;

use crate::judge::outcome::Outcome;
use crate::report::grid;
use crate::report::matrix::{Cell, Matrix};

/// Renders all of it. The plan counts every cell: those that were not run are missed by whoever reads it.
pub fn render(matrix: &Matrix) -> String {
    let rows = &matrix.grid.rows;
    let mut out = format!("KTAP version 1\n1..{}\n", rows.len());
    for (number, topology) in rows.keys().enumerate() {
        let _ =
            writeln!(out, "  KTAP version 1\n  # Subtest: {topology}\n  1..{}", matrix.grid.kernels.len());
        let mut is_good = true;
        for (column, kernel) in matrix.grid.kernels.iter().enumerate() {
            let cell = matrix
                .cells
                .iter()
                .find(|cell| cell.document.topology == *topology && cell.document.kernel.id == *kernel);
            is_good &= cell.is_some_and(is_ok);
            if let Some(cell) = cell {
                line(&mut out, column + 1, cell);
            }
        }
        let _ = writeln!(out, "{} {} {topology}", if is_good { "ok" } else { "not ok" }, number + 1);
    }
    let of = |outcome| matrix.count(outcome);
    let passed = of(Outcome::Pass);
    let (xfail, skip) = (of(Outcome::Xfail), of(Outcome::Skip) + of(Outcome::Unsupported));
    let failed = matrix.cells.iter().filter(|cell| !is_ok(cell)).count();
    let _ = writeln!(out, "# Totals: pass:{passed} fail:{failed} xfail:{xfail} xpass:0 skip:{skip} error:0");
    out
}

fn is_ok(cell: &Cell) -> bool {
    !cell.document.outcome.is_failure()
}

fn line(out: &mut String, number: usize, cell: &Cell) {
    let outcome = cell.document.outcome;
    let word = if is_ok(cell) { "ok" } else { "not ok" };
    let problem = grid::problem(cell);
    let mut lines = problem.lines();
    let head = lines.next().unwrap_or_default();
    let directive = match outcome {
        Outcome::Skip | Outcome::Unsupported => {
            format!(" # SKIP {}", head.split_once(": ").map_or(head, |(_, why)| why))
        }
        Outcome::Xfail => " # XFAIL failed as the accepted snapshot says".to_owned(),
        _ => String::new(),
    };
    if !is_ok(cell) {
        for line in std::iter::once(head).chain(lines) {
            let _ = writeln!(out, "  # {}", line.trim_end());
        }
    }
    if let Some(said) = grid::substitutions(cell) {
        let _ = writeln!(out, "  # {said}");
    }
    let _ = writeln!(out, "  {word} {number} {}{directive}", cell.document.kernel.id);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::matrix::tests::{LOCAL, ended, finished};
    use crate::report::matrix::{Measures, judge};
    use crate::report::snapshot;

    #[test]
    fn a_cell_that_was_not_run_is_missing_from_its_plan_and_its_topology_is_not_ok() {
        let kernels: Vec<String> = ["5.10", "6.1", "6.12", "6.18"].map(String::from).to_vec();
        let bad = finished("t", "6.1", Outcome::Fail, 3, 0);
        let accepted = snapshot::behaviour(&bad);
        let cells = [
            (finished("t", "5.10", Outcome::Pass, 0, 0), None),
            (bad, Some(&accepted)),
            (ended("t", "6.12", Outcome::Skip, "6.12 lacks:\n  igb"), None),
            (ended("u", "5.10", Outcome::Hang, "hung\nnext: again"), None),
        ];
        let cells = cells.map(|(document, accepted)| judge(document, "t.toml", accepted, LOCAL)).to_vec();
        let text = render(&Matrix::new(cells, &["t", "u"].map(String::from), &kernels, Measures::default()));
        let expected = "KTAP version 1\n1..2\n  KTAP version 1\n  # Subtest: t\n  1..4\n  ok 1 5.10\n  \
            ok 2 6.1 # XFAIL failed as the accepted snapshot says\n  ok 3 6.12 # SKIP 6.12 lacks: igb\nnot ok 1 t\n  \
            KTAP version 1\n  # Subtest: u\n  1..4\n  # HANG u on 5.10: hung\n  #   next: again\n  not ok 1 5.10\n\
            not ok 2 u\n# Totals: pass:1 fail:1 xfail:1 xpass:0 skip:1 error:0\n";
        assert_eq!(text, expected);
    }
}
