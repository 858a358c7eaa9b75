//! Which explanation fits a report, and what would tell those that do from each other.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::report::document::{Document, EvidenceDocument};
use crate::report::terminal::look::WHOLE;
use crate::report::terminal::wrap;

/// How a cell, and the marks behind and before a row that fits, are written: shorter where there is less room.
const STYLES: [(&str, &str, &str); 3] =
    [("yes", "  <- fits all of it", "  "), ("yes", "  <-", "  "), ("y", "", "> ")];

/// One row an explanation, one column a piece of evidence; and what it comes to, in words.
pub fn table(out: &mut String, document: &Document, columns: usize) {
    if document.hypotheses.is_empty() {
        return;
    }
    out.push_str("\nWhich explanation fits the report?\n");
    let letters = ('a'..='z').map(String::from);
    let items: Vec<&EvidenceDocument> = document.hypotheses[0].evidence.iter().collect();
    for (letter, item) in letters.clone().zip(&items) {
        let _ = writeln!(out, "  {letter}  {}", item.item);
    }
    let width = document.hypotheses.iter().map(|one| one.name.len()).max().unwrap_or(0);
    let needed = |(yes, mark, _): &(&str, &str, &str)| 3 + width + items.len() * (yes.len() + 1) + mark.len();
    let (yes, behind, before) =
        STYLES.into_iter().find(|style| needed(style) <= columns).unwrap_or(STYLES[STYLES.len() - 1]);
    let cell = yes.len();
    let heads: Vec<String> = letters.take(items.len()).map(|letter| format!("{letter:cell$}")).collect();
    let _ = writeln!(out, "{}", format!("  {:width$}  {}", "", heads.join(" ")).trim_end());
    for one in &document.hypotheses {
        let cells: Vec<String> =
            one.evidence.iter().map(|item| format!("{:cell$}", if item.fits { yes } else { "-" })).collect();
        let (before, mark) = if one.fits { (before, behind) } else { ("  ", "") };
        let row = format!("{before}{:width$}  {}{mark}", one.name, cells.join(" "));
        let _ = writeln!(out, "{}", row.trim_end());
    }
    let fitting: Vec<_> = document.hypotheses.iter().filter(|one| one.fits).collect();
    match fitting[..] {
        [] => out.push_str("  None of them produces everything that was reported.\n"),
        [only] => out.push_str(&wrap(&format!("Only `{}` does: {}", only.name, only.about), 2, columns)),
        _ => {
            out.push_str("  The report cannot tell these apart:\n");
            for one in fitting {
                out.push_str(&wrap(&format!("`{}`: {}", one.name, one.about), 4, columns));
            }
        }
    }
}

/// Commands, each with its answers; explanations that answer alike share a line.
pub fn next_checks(out: &mut String, document: &Document) {
    if document.next_checks.is_empty() {
        return;
    }
    let fitting = document.hypotheses.iter().filter(|one| one.fits).count();
    out.push_str(match fitting {
        1 => "\nWhat would confirm it, where it happens; `#` is the answer under each explanation:\n",
        _ => "\nWhat would tell them apart, where it happens; `#` is the answer under each:\n",
    });
    for next_check in &document.next_checks {
        let _ = writeln!(out, "{WHOLE}  {}", next_check.command);
        let mut by_answer: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (name, answer) in &next_check.answers {
            by_answer.entry(answer).or_default().push(name);
        }
        for (answer, names) in by_answer {
            let _ = writeln!(out, "    # {answer}: {}", names.join(", "));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::outcome::Outcome;
    use crate::report::document::HypothesisDocument;
    use crate::report::matrix::tests::finished;

    /// The row of an explanation that fits half of the evidence, and of one that fits all of it.
    fn rows(columns: usize) -> Vec<String> {
        let mut document = finished("t", "6.1", Outcome::Pass, 0, 0);
        let one = |name: &str, all: [bool; 6]| HypothesisDocument {
            name: name.to_owned(),
            about: "Why.".to_owned(),
            fits: !all.contains(&false),
            evidence: all
                .map(|fits| EvidenceDocument { item: "drops".into(), fits, observed: None, applies: true })
                .to_vec(),
        };
        document.hypotheses = vec![
            one("port-default-queue-full", [true, false, true, false, true, false]),
            one("filter-on-bond", [true; 6]),
        ];
        let mut out = String::new();
        table(&mut out, &document, columns);
        let rows = out.lines().filter(|line| line.contains("port-") || line.contains("filter-on-bond  "));
        rows.map(str::to_owned).collect()
    }

    #[test]
    fn a_row_fits_narrow_terminals() {
        let whole = "  filter-on-bond           yes yes yes yes yes yes";
        let full = "  port-default-queue-full  yes -   yes -   yes -";
        assert_eq!(rows(100), [full.to_owned(), format!("{whole}  <- fits all of it")]);
        assert_eq!(rows(60), [full.to_owned(), format!("{whole}  <-")]);
        assert_eq!(
            rows(40),
            ["  port-default-queue-full  y - y - y -", "> filter-on-bond           y y y y y y"]
        );
    }
}
