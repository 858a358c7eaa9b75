//! What stood in for which NICs, in the words of a matrix for people and for CI.

use std::fmt::Write;

use indexmap::IndexMap;

use crate::report::behaviour;
use crate::report::grid::{sentence, wrap};
use crate::report::matrix::{Cell, Matrix, SnapshotStatus};

/// Each topology with its substitutes, and where.
pub fn paragraph(matrix: &Matrix, width: usize) -> String {
    let mut kernels: IndexMap<(&str, &[String]), Vec<String>> = IndexMap::new();
    for cell in matrix.cells.iter().filter(|cell| cell.snapshot.status == SnapshotStatus::Substituted) {
        let key = (cell.document.topology.as_str(), cell.document.substitutions.as_slice());
        kernels.entry(key).or_default().push(cell.document.kernel.id.clone());
    }
    let mut out = String::new();
    if !kernels.is_empty() {
        let said = "SUBSTITUTES for NICs that the lab could not emulate: what these cells show is no behaviour of the NICs.";
        let _ = write!(out, "\n{}", sentence(said, width));
    }
    for ((topology, substitutions), kernels) in kernels {
        let range = behaviour::ranges(&matrix.grid.kernels, &kernels);
        let line = format!("{topology} on {range}: {}", substitutions.join(", "));
        out += &wrap(line.split(' ').map(str::to_owned), " ", "  ", width);
    }
    out
}

/// The same of one cell; nothing where there is none.
pub fn of_cell(cell: &Cell) -> Option<String> {
    let is_substituted = cell.snapshot.status == SnapshotStatus::Substituted;
    is_substituted
        .then(|| format!("substitute: {}; compared with no snapshot", cell.document.substitutions.join(", ")))
}

#[cfg(test)]
mod tests {
    use crate::judge::outcome::Outcome;
    use crate::report::matrix::tests::{LOCAL, finished, substituted};
    use crate::report::matrix::{Matrix, Measures, judge};
    use crate::report::{grid, junit, ktap, snapshot};

    fn matrix() -> Matrix {
        let kernels = ["6.1.1", "6.12.2"].map(str::to_owned);
        let real = finished("t", "6.1.1", Outcome::Pass, 0, 0);
        let accepted = snapshot::behaviour(&real);
        let cells = kernels.iter().map(|kernel| {
            let document = substituted(finished("t", kernel, Outcome::Pass, 3, 0));
            judge(document, "t.toml", Some(&accepted), LOCAL)
        });
        Matrix::new(cells.collect(), &["t".to_owned()], &kernels, Measures::default())
    }

    #[test]
    fn the_grid_says_what_the_cells_are_from() {
        let text = grid::render(&matrix());
        for expected in [
            "t  pass~       pass~\n~ is from a substitute, compared with no snapshot; its own conditions decided\n",
            "\nt: all 2 kernels behave alike\n",
            "\n  t on 6.1.1, 6.12.2: node:enp1s0 by switch\n",
            "\n2 cells: 2 pass\n",
        ] {
            assert!(text.contains(expected), "{expected:?} in {text}");
        }
    }

    #[test]
    fn ci_is_reported_as_well() {
        let said = "substitute: node:enp1s0 by switch; compared with no snapshot";
        for text in [junit::render(&matrix()), ktap::render(&matrix())] {
            assert_eq!(text.matches(said).count(), 2, "{text}");
        }
    }
}
