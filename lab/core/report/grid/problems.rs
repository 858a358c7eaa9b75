//! What of a matrix is not as expected, and why.

use std::fmt::Write;

use indexmap::IndexMap;

use crate::judge::outcome::Outcome;
use crate::report::document::{CheckDocument, Document};
use crate::report::grid::{WIDTH, differences, in_a_line, wrap};
use crate::report::matrix::{BehaviourGroup, Behaviours, Cell, Matrix, SnapshotStatus, between};
use crate::report::plural::s;
use crate::report::{behaviour, snapshot};

/// What is not as expected, with what to do next: cells of one topology that say the same are shown once, and what the
/// paragraph on the topology's behaviours has is not repeated.
pub(super) fn problems(matrix: &Matrix, width: usize) -> String {
    let mut alike: IndexMap<(&str, &str, String), Vec<String>> = IndexMap::new();
    for cell in &matrix.cells {
        let Document { topology, kernel, outcome, .. } = &cell.document;
        if outcome.is_failure() {
            let why = why(cell, Above::of(matrix, cell).as_ref(), width);
            alike.entry((topology, outcome.word(), why)).or_default().push(kernel.id.clone());
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
    format!("{} {topology} on {}{}", outcome.word().to_uppercase(), kernel.id, why(cell, None, WIDTH))
}

/// What stands above the problems: the behaviours of a cell's topology, where there are several.
struct Above<'m> {
    behaviours: &'m Behaviours,
    /// The cells of the topology.
    cells: Vec<&'m Cell>,
    /// The group of the cell.
    own: usize,
}

impl<'m> Above<'m> {
    fn of(matrix: &'m Matrix, cell: &Cell) -> Option<Self> {
        let Document { topology, kernel, .. } = &cell.document;
        let behaviours =
            matrix.groups.iter().find(|one| one.topology == *topology && one.groups.len() > 1)?;
        let own = behaviours.groups.iter().position(|group| group.kernels.contains(&kernel.id))?;
        let cells = matrix.cells.iter().filter(|cell| cell.document.topology == *topology).collect();
        Some(Self { behaviours, cells, own })
    }

    /// The kernels that do what was accepted for the cell: in what it differs from them is shown already.
    fn as_accepted(&self, cell: &Cell) -> Option<&str> {
        let does = |group: &&BehaviourGroup| {
            let of_group = |other: &&&Cell| {
                group.kernels.first().is_some_and(|first| *first == other.document.kernel.id)
            };
            let other = self.cells.iter().find(of_group);
            other.is_some_and(|other| {
                let [other, own] = [other, cell].map(|cell| cell.behaviour.clone().split_features().0);
                between(&other, &own, &cell.document) == cell.snapshot.differences
            })
        };
        self.behaviours.groups.iter().find(does).map(|group| group.range.as_str())
    }

    /// Whether what a check has come to is shown already.
    fn has(&self, check: &CheckDocument) -> bool {
        let name = snapshot::check_name(check);
        let numbers = format!("expected {}, observed {}", check.expected, check.observed);
        let all = &self.behaviours.differences;
        let mut of_check = all.iter().filter(|one| one.check.as_deref() == Some(name.as_str()));
        of_check.any(|one| one.values.get(self.own).is_some_and(|value| value.ends_with(&numbers)))
    }
}

/// Why a cell is not as expected, from the colon on.
fn why(cell: &Cell, above: Option<&Above<'_>>, width: usize) -> String {
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
            // Of a run that the lab could not make nothing was seen.
            let is_seen = !matches!(outcome, Outcome::Error | Outcome::BootFail);
            if status == SnapshotStatus::Differs && is_seen {
                out += "  another behaviour was accepted\n";
            }
        }
        (None, SnapshotStatus::Differs) => match above.and_then(|above| above.as_accepted(cell)) {
            Some(kernels) => {
                let line = format!(": differs from what was accepted, which {kernels} still does, see above");
                out += &wrap(line.split(' ').map(str::to_owned), " ", "", width);
            }
            None => {
                out += ": differs from what was accepted (accepted | now)\n";
                out += &differences(&cell.snapshot.differences, "    ", width);
            }
        },
        (None, _) if crate::report::matrix::unattributed(document) > 0 => {
            let frames = crate::report::matrix::unattributed(document);
            let _ = writeln!(out, ": unaccounted for: {frames} frame{}, which no snapshot covers", s(frames));
        }
        (None, SnapshotStatus::New) if cell.ran == Outcome::Pass => {
            out += ": no snapshot is accepted for it, and CI accepts none\n";
            out += "  next: run the same where you can review it, then `lab accept`\n";
        }
        (None, _) => {
            out += ": the topology's own conditions do not hold\n";
            out += &failed_checks(document, above, width);
        }
    }
    out
}

fn failed_checks(document: &Document, above: Option<&Above<'_>>, width: usize) -> String {
    let mut out = String::new();
    let failed = document.checks.iter().filter(|one| !matches!(one.outcome, Outcome::Pass | Outcome::Skip));
    let (shown, new): (Vec<&CheckDocument>, Vec<&CheckDocument>) =
        failed.partition(|check| above.is_some_and(|above| above.has(check)));
    for check in new {
        let line = format!("{}: expected {}, observed {}", check.name, check.expected, check.observed);
        out += &wrap(line.split(' ').map(str::to_owned), " ", "    ", width);
    }
    if !shown.is_empty() {
        let names: Vec<&str> = shown.iter().map(|check| check.name.as_str()).collect();
        let line = format!("see above: {}", names.join("; "));
        out += &wrap(line.split(' ').map(str::to_owned), " ", "    ", width);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::grid::render;
    use crate::report::matrix::tests::{LOCAL, finished};
    use crate::report::matrix::{Measures, judge};

    fn rendered(cells: Vec<Cell>, kernels: &[String]) -> String {
        render(&Matrix::new(cells, &["t".to_owned()], kernels, Measures::default()))
    }

    #[test]
    fn a_difference_that_the_behaviours_show_is_not_repeated() {
        let kernels = ["6.1.1", "6.6.6", "6.12.2"].map(str::to_owned);
        let accepted = snapshot::behaviour(&finished("t", "6.1.1", Outcome::Pass, 0, 0));
        let cells = |lost: [u32; 3]| {
            let cells = kernels.iter().zip(lost);
            let cell = |(kernel, lost): (&String, u32)| {
                judge(finished("t", kernel, Outcome::Pass, lost, 0), "t.toml", Some(&accepted), LOCAL)
            };
            cells.map(cell).collect::<Vec<_>>()
        };
        let text = rendered(cells([0, 3, 3]), &kernels);
        let expected =
            "FAIL t on 6.6.6, 6.12.2: differs from what was accepted, which 6.1.1 still does, see above\n";
        assert!(text.contains(expected), "{text}");
        assert_eq!(text.matches("97 delivered").count(), 1, "{text}");
        // Where no kernel does it any more, nothing above has it.
        let text = rendered(cells([2, 3, 3]), &kernels);
        let expected = "FAIL t on 6.6.6, 6.12.2: differs from what was accepted (accepted | now)\n    \
                        main, flow f (packet): 100 delivered | 97 delivered\n";
        assert!(text.contains(expected), "{text}");
    }

    #[test]
    fn a_check_that_the_behaviours_show_is_named_and_its_numbers_are_not_repeated() {
        let kernels = ["6.1.1", "6.6.6"].map(str::to_owned);
        let mut failed = finished("t", "6.6.6", Outcome::Fail, 3, 0);
        failed.checks.push(CheckDocument { name: "another".into(), ..failed.checks[0].clone() });
        let mut passed = finished("t", "6.1.1", Outcome::Pass, 0, 0);
        passed.checks =
            failed.checks.iter().map(|one| CheckDocument { outcome: Outcome::Pass, ..one.clone() }).collect();
        let cells =
            |all: Vec<Document>| all.into_iter().map(|one| judge(one, "t.toml", None, LOCAL)).collect();
        let text = rendered(cells(vec![passed, failed.clone()]), &kernels);
        let expected = "FAIL t on 6.6.6: the topology's own conditions do not hold\n    see above: all arrive; another\n";
        assert!(text.contains(expected), "{text}");
        assert_eq!(text.matches("expected 0, observed 3").count(), 2, "once for each check: {text}");
        // With one behaviour there is nothing above.
        let text = rendered(cells(vec![failed]), &kernels);
        assert_eq!(text.matches("expected 0, observed 3").count(), 2, "{text}");
        assert!(text.contains("    all arrive: expected 0, observed 3\n"), "{text}");
    }
}
