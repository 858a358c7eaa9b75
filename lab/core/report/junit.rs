//! A matrix as JUnit XML: a suite for each topology, a case for each kernel.

use std::time::Duration;

use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

use crate::judge::outcome::Outcome;
use crate::report::grid;
use crate::report::matrix::{Cell, Matrix};

/// Renders all of it. Characters that XML cannot hold are left out.
pub fn render(matrix: &Matrix) -> String {
    let mut report = Report::new("lab matrix");
    report.set_time(time(matrix.cells.iter()));
    for topology in matrix.grid.rows.keys() {
        let of_topology = || matrix.cells.iter().filter(|cell| cell.document.topology == *topology);
        let mut suite = TestSuite::new(topology);
        suite.set_time(time(of_topology()));
        suite.add_test_cases(of_topology().map(case));
        report.add_test_suite(suite);
    }
    report.to_string().expect("a string takes all that is written")
}

fn time<'a>(cells: impl Iterator<Item = &'a Cell>) -> Duration {
    Duration::from_millis(cells.map(|cell| cell.document.timing_ms.total).sum())
}

fn case(cell: &Cell) -> TestCase {
    let document = &cell.document;
    let outcome = document.outcome;
    let mut status = match outcome {
        Outcome::Pass | Outcome::Xfail => TestCaseStatus::success(),
        Outcome::Fail => TestCaseStatus::non_success(NonSuccessKind::Failure),
        Outcome::Skip | Outcome::Unsupported => TestCaseStatus::skipped(),
        Outcome::Panic | Outcome::Hang | Outcome::BootFail | Outcome::Error => {
            TestCaseStatus::non_success(NonSuccessKind::Error)
        }
    };
    if !matches!(outcome, Outcome::Pass | Outcome::Xfail) {
        let problem = grid::problem(cell);
        status.set_message(problem.lines().next().unwrap_or_default());
        if outcome.is_failure() {
            status.set_type(outcome.word());
            status.set_description(document.reason.as_deref().unwrap_or(&problem).trim_end());
        }
    }
    let mut case = TestCase::new(document.kernel.id.as_str(), status);
    case.set_classname(document.topology.as_str());
    case.set_time(Duration::from_millis(document.timing_ms.total));
    // JUnit has no word for it: the text says that this green is a known failure, or a substitute's.
    let known = || "xfail: failed as the accepted snapshot says".to_owned();
    let is_green = matches!(outcome, Outcome::Pass | Outcome::Xfail);
    let said = grid::substitutions(cell).or_else(|| (outcome == Outcome::Xfail).then(known));
    if let Some(said) = said.filter(|_| is_green) {
        case.set_system_out(said);
    }
    case
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::matrix::tests::{LOCAL, ended, finished};
    use crate::report::matrix::{Measures, judge};
    use crate::report::snapshot;

    #[test]
    fn every_verdict_has_its_place() {
        let kernels: Vec<String> = ["5.10", "6.1", "6.12", "6.16", "6.18"].map(String::from).to_vec();
        let bad = finished("t<1>", "6.1", Outcome::Fail, 3, 0);
        let accepted = snapshot::behaviour(&bad);
        let mut documents = [
            (finished("t<1>", "5.10", Outcome::Pass, 0, 0), None),
            (bad, Some(&accepted)),
            (finished("t<1>", "6.12", Outcome::Fail, 4, 0), None),
            (ended("t<1>", "6.16", Outcome::Panic, "it \"died\" & \u{1b}[0m\n  | x\nnext: look"), None),
            (ended("t<1>", "6.18", Outcome::Skip, "6.18 lacks:\n  igb"), None),
        ];
        documents[0].0.timing_ms.total = 1234;
        let cells = documents.map(|(document, accepted)| judge(document, "t.toml", accepted, LOCAL)).to_vec();
        let xml = render(&Matrix::new(cells, &["t<1>".to_owned()], &kernels, Measures::default()));
        for expected in [
            "<testsuite name=\"t&lt;1&gt;\" tests=\"5\" skipped=\"1\" errors=\"1\" failures=\"1\" time=\"1.234\">",
            "<testcase name=\"5.10\" classname=\"t&lt;1&gt;\" time=\"1.234\"/>",
            "<system-out>xfail: failed as the accepted snapshot says</system-out>",
            "type=\"fail\">FAIL t&lt;1&gt; on 6.12: the topology&apos;s own conditions do not hold\n    all arrive",
            "<error message=\"PANIC t&lt;1&gt; on 6.16: it &quot;died&quot; &amp; \" type=\"panic\">",
            "<skipped message=\"SKIP t&lt;1&gt; on 6.18: 6.18 lacks: igb\"/>",
        ] {
            assert!(xml.contains(expected), "{expected}\nin\n{xml}");
        }
        assert!(!xml.contains('\u{1b}'));
        assert_eq!(xml.matches("<testcase").count(), 5);
    }
}
