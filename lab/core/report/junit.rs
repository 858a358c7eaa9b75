//! A matrix as JUnit XML: a suite for each topology, a case for each kernel.

use std::fmt::Write;

use crate::judge::outcome::Outcome;
use crate::report::grid;
use crate::report::matrix::{Cell, Matrix};

/// Renders all of it.
pub fn render(matrix: &Matrix) -> String {
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let all: Vec<&Cell> = matrix.cells.iter().collect();
    let _ = writeln!(out, "<testsuites name=\"lab matrix\" {}>", counts(&all));
    for topology in matrix.grid.rows.keys() {
        let cells: Vec<&Cell> =
            matrix.cells.iter().filter(|cell| cell.document.topology == *topology).collect();
        let _ = writeln!(out, "  <testsuite name=\"{}\" {}>", escape(topology), counts(&cells));
        for cell in cells {
            out += &case(cell);
        }
        out += "  </testsuite>\n";
    }
    out += "</testsuites>\n";
    out
}

fn counts(cells: &[&Cell]) -> String {
    let of = |kind: &str| cells.iter().filter(|cell| element(cell.document.outcome) == Some(kind)).count();
    let time: u64 = cells.iter().map(|cell| cell.document.timing_ms.total).sum();
    format!(
        "tests=\"{}\" failures=\"{}\" errors=\"{}\" skipped=\"{}\" time=\"{}\"",
        cells.len(),
        of("failure"),
        of("error"),
        of("skipped"),
        seconds(time)
    )
}

/// What JUnit calls a verdict; `None` is its green.
fn element(outcome: Outcome) -> Option<&'static str> {
    match outcome {
        Outcome::Pass | Outcome::Xfail => None,
        Outcome::Fail => Some("failure"),
        Outcome::Skip => Some("skipped"),
        Outcome::Panic | Outcome::Hang | Outcome::BootFail | Outcome::Error => Some("error"),
    }
}

fn case(cell: &Cell) -> String {
    let document = &cell.document;
    let mut out = format!(
        "    <testcase classname=\"{}\" name=\"{}\" time=\"{}\"",
        escape(&document.topology),
        escape(&document.kernel.id),
        seconds(document.timing_ms.total)
    );
    let outcome = document.outcome;
    let Some(element) = element(outcome) else {
        // JUnit has no word for it: the text says that this green is a known failure, or a stand-in's.
        let known = || "xfail: failed as the accepted snapshot says".to_owned();
        let said = grid::stand_ins(cell).or_else(|| (outcome == Outcome::Xfail).then(known));
        let end = said
            .map(|said| format!(">\n      <system-out>{}</system-out>\n    </testcase>\n", escape(&said)));
        return out + &end.unwrap_or_else(|| "/>\n".into());
    };
    let problem = grid::problem(cell);
    let head = problem.lines().next().unwrap_or_default();
    let _ = write!(out, ">\n      <{element} message=\"{}\"", escape(head));
    let body = document.reason.clone().unwrap_or_else(|| problem.clone());
    if element == "skipped" {
        out += "/>\n";
    } else {
        let _ = writeln!(out, " type=\"{}\">{}</{element}>", outcome.word(), escape(body.trim_end()));
    }
    out + "    </testcase>\n"
}

fn seconds(ms: u64) -> String {
    format!("{}.{:03}", ms / 1000, ms % 1000)
}

/// Text for an attribute or an element. XML 1.0 has no way to write most control characters; a console line has some.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out += "&amp;",
            '<' => out += "&lt;",
            '>' => out += "&gt;",
            '"' => out += "&quot;",
            '\n' | '\t' => out.push(c),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
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
        let bad_text = snapshot::text(&bad);
        let mut documents = [
            (finished("t<1>", "5.10", Outcome::Pass, 0, 0), None),
            (bad, Some(bad_text.as_str())),
            (finished("t<1>", "6.12", Outcome::Fail, 4, 0), None),
            (ended("t<1>", "6.16", Outcome::Panic, "it \"died\" & \u{1b}[0m\n  | x\nnext: look"), None),
            (ended("t<1>", "6.18", Outcome::Skip, "6.18 lacks:\n  igb"), None),
        ];
        documents[0].0.timing_ms.total = 1234;
        let cells = documents.map(|(document, accepted)| judge(document, "t.toml", accepted, LOCAL)).to_vec();
        let xml = render(&Matrix::new(cells, &["t<1>".to_owned()], &kernels, Measures::default()));
        for expected in [
            "<testsuite name=\"t&lt;1&gt;\" tests=\"5\" failures=\"1\" errors=\"1\" skipped=\"1\" time=\"1.234\">",
            "<testcase classname=\"t&lt;1&gt;\" name=\"5.10\" time=\"1.234\"/>",
            "<system-out>xfail: failed as the accepted snapshot says</system-out>",
            "type=\"fail\">FAIL t&lt;1&gt; on 6.12: the topology's own conditions do not hold\n    all arrive",
            "<error message=\"PANIC t&lt;1&gt; on 6.16: it &quot;died&quot; &amp; \u{fffd}[0m\" type=\"panic\">",
            "<skipped message=\"SKIP t&lt;1&gt; on 6.18: 6.18 lacks: igb\"/>",
        ] {
            assert!(xml.contains(expected), "{expected}\nin\n{xml}");
        }
        assert_eq!(xml.matches("<testcase").count(), 5);
        assert_eq!(xml.matches("</testcase>").count(), 4);
    }
}
