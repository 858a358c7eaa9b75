//! The page of the kernel's own selftests: a row for each script, a column for each kernel, and why a cell is no pass.

use std::collections::BTreeSet;
use std::fmt::Write;

use serde::Deserialize;

use crate::net::clean;
use crate::report::selftests::ktap::Ktap;
use crate::report::selftests::{Outcome, Results, Run};

/// What is above the table.
const PREFACE: &str = include_str!("preface.md");
/// Why scripts do not pass, found out by hand.
const EXPLANATIONS: &str = include_str!("explanations.toml");
/// What stands for a script that the kernel's source does not have.
const NO_SCRIPT: &str = "–";
/// What stands for a cell that was not run.
const NOT_RUN: &str = "*not run*";

/// Why a script does not pass.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Explanation {
    script: String,
    outcome: Outcome,
    /// A part of the output by which the cause is recognised; an explanation without it holds for all.
    #[serde(default)]
    says: Option<String>,
    text: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Explanations {
    because: Vec<Explanation>,
}

/// The page, for the kernels in this order.
#[must_use]
pub fn page(results: &Results, kernels: &[String]) -> String {
    let table = Table::new(results, kernels);
    let mut text = PREFACE.to_owned();
    table.write(&mut text);
    table.write_counts(&mut text);
    text.push_str("## Why a cell is no pass\n\n");
    for script in &table.scripts {
        table.write_reasons(&mut text, script);
    }
    text
}

/// Scripts by kernels.
struct Table<'r> {
    results: &'r Results,
    kernels: &'r [String],
    scripts: BTreeSet<&'r str>,
}

impl<'r> Table<'r> {
    fn new(results: &'r Results, kernels: &'r [String]) -> Self {
        let of_sources = results.sources.values().flatten().map(String::as_str);
        let scripts = results.runs.iter().map(|run| run.script.as_str()).chain(of_sources).collect();
        Self { results, kernels, scripts }
    }

    fn find(&self, script: &str, kernel: &str) -> Option<&'r Run> {
        self.results.runs.iter().find(|run| run.script == script && run.kernel == kernel)
    }

    /// The version of the source that a kernel's scripts are from.
    fn source(&self, kernel: &str) -> Option<&'r str> {
        self.results.runs.iter().find(|run| run.kernel == kernel).map(|run| run.source.as_str())
    }

    fn cell(&self, script: &str, kernel: &str) -> String {
        match self.find(script, kernel) {
            Some(run) => cell(run),
            None if self.is_missing(script, kernel) => NOT_RUN.to_owned(),
            None => NO_SCRIPT.to_owned(),
        }
    }

    /// Whether the source of this kernel's scripts has the script, and there is no run of it.
    fn is_missing(&self, script: &str, kernel: &str) -> bool {
        let scripts = self.source(kernel).and_then(|source| self.results.sources.get(source));
        let has = scripts.is_some_and(|scripts| scripts.iter().any(|known| known == script));
        has && self.find(script, kernel).is_none()
    }

    fn write(&self, text: &mut String) {
        let _ = writeln!(text, "\n| script | {} |", self.kernels.join(" | "));
        let _ = writeln!(text, "|---|{}", "---|".repeat(self.kernels.len()));
        let source = |kernel| self.source(kernel).map_or(NO_SCRIPT.to_owned(), clean_source);
        let sources: Vec<String> = self.kernels.iter().map(|kernel| source(kernel.as_str())).collect();
        let _ = writeln!(text, "| *source of the scripts* | {} |", sources.join(" | "));
        for script in &self.scripts {
            let cells: Vec<String> = self.kernels.iter().map(|kernel| self.cell(script, kernel)).collect();
            let _ = writeln!(text, "| {} | {} |", clean::line(script), cells.join(" | "));
        }
    }

    fn write_counts(&self, text: &mut String) {
        let runs = &self.results.runs;
        let count = |wanted: Outcome| runs.iter().filter(|run| run.outcome() == wanted).count();
        let all = [
            Outcome::Pass,
            Outcome::Fail,
            Outcome::Skip,
            Outcome::Xfail,
            Outcome::Broken,
            Outcome::Timeout,
            Outcome::None,
        ];
        let counts = all.into_iter().filter(|outcome| count(*outcome) > 0);
        let mut counts: Vec<String> = counts.map(|outcome| format!("{} {outcome}", count(outcome))).collect();
        let cells = self.kernels.iter().flat_map(|kernel| self.scripts.iter().map(move |s| (s, kernel)));
        let missing = cells.filter(|(script, kernel)| self.is_missing(script, kernel)).count();
        if missing > 0 {
            counts.push(format!("{missing} not run"));
        }
        let _ = writeln!(text, "\n{} cells: {}.\n", runs.len() + missing, counts.join(", "));
    }

    /// One entry for all kernels on which the script ended for the same reason.
    fn write_reasons(&self, text: &mut String, script: &str) {
        let mut entries: Vec<(Reason, Vec<&str>)> = Vec::new();
        for kernel in self.kernels {
            let Some(run) = self.find(script, kernel).filter(|run| run.outcome() != Outcome::Pass) else {
                continue;
            };
            let reason = Reason::of(run);
            match entries.iter_mut().find(|(known, _)| *known == reason) {
                Some((_, kernels)) => kernels.push(kernel),
                None => entries.push((reason, vec![kernel])),
            }
        }
        for (reason, kernels) in entries {
            let (script, kernels) = (clean::line(script), clean::line(&kernels.join(", ")).into_owned());
            let _ = writeln!(text, "- **{script}** on {kernels}: {}. {}", reason.outcome, reason.because);
            for line in reason.lines {
                let _ = writeln!(text, "  `{}`", clean::line(&line).replace('`', "'"));
            }
        }
    }
}

fn clean_source(version: &str) -> String {
    format!("*{}*", clean::line(version))
}

/// The cells of which the explanation is missing: `script on kernel`.
#[must_use]
pub fn unexplained(results: &Results) -> Vec<String> {
    let missing = results
        .runs
        .iter()
        .filter(|run| !matches!(run.outcome(), Outcome::Pass | Outcome::None) && explanation(run).is_none());
    missing.map(|run| format!("{} on {}", run.script, run.kernel)).collect()
}

fn cell(run: &Run) -> String {
    let ktap = Ktap::read(&run.output);
    let outcome = run.outcome();
    let word = if outcome == Outcome::Pass { outcome.to_string() } else { format!("**{outcome}**") };
    let passed = ktap.cases.iter().filter(|case| case.outcome == Outcome::Pass).count();
    if ktap.cases.is_empty() { word } else { format!("{word} {passed}/{}", ktap.cases.len()) }
}

/// Why a script did not pass.
#[derive(PartialEq, Eq)]
struct Reason {
    outcome: Outcome,
    because: String,
    /// The script's own words.
    lines: Vec<String>,
}

impl Reason {
    fn of(run: &Run) -> Self {
        let because = match (explanation(run), &run.no_result) {
            (Some(explanation), _) => explanation.text.trim().to_owned(),
            (None, Some(why)) => clean::line(why.lines().next().unwrap_or_default()).into_owned(),
            (None, None) => "Not explained.".to_owned(),
        };
        Self { outcome: run.outcome(), because, lines: Ktap::read(&run.output).reasons }
    }
}

fn explanation(run: &Run) -> Option<Explanation> {
    let all: Explanations = toml::from_str(EXPLANATIONS).expect("a test reads it");
    let outcome = run.outcome();
    all.because.into_iter().find(|because| {
        because.script == run.script
            && because.outcome == outcome
            && because.says.as_ref().is_none_or(|says| run.output.contains(says.as_str()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(kernel: &str, script: &str, output: &str) -> Run {
        let (kernel, script) = (kernel.to_owned(), script.to_owned());
        Run { kernel, source: "7.3.4".into(), script, no_result: None, seconds: 3, output: output.into() }
    }

    fn results() -> Results {
        Results {
            runs: vec![
                run("6.12.57", "a.sh", "# TEST: one [ OK ]\n# TEST: two [ OK ]\nok 1 selftests: a.sh\n"),
                run(
                    "7.3.4",
                    "a.sh",
                    "# TEST: one [FAIL]\n# TEST: two [ OK ]\nnot ok 1 selftests: a.sh # exit=1\n",
                ),
                run(
                    "7.3.4",
                    "bond-break-lacpdu-tx.sh",
                    "# ./bond-break-lacpdu-tx.sh: 26: source: not found\n# PASS, captured 2\nok 1 selftests: x.sh\n",
                ),
            ],
            sources: [("7.3.4".to_owned(), vec!["a.sh".to_owned(), "not-run.sh".to_owned()])].into(),
        }
    }

    #[test]
    fn each_cell_is_shown_and_what_is_no_pass_has_a_reason() {
        let page = page(&results(), &["6.12.57".to_owned(), "7.3.4".to_owned()]);
        let below = page.strip_prefix(PREFACE).expect("the preface is first");
        let expected = "
| script | 6.12.57 | 7.3.4 |
|---|---|---|
| *source of the scripts* | *7.3.4* | *7.3.4* |
| a.sh | pass 2/2 | **fail** 1/2 |
| bond-break-lacpdu-tx.sh | – | **broken** |
| not-run.sh | *not run* | *not run* |

5 cells: 1 pass, 1 fail, 1 broken, 2 not run.

## Why a cell is no pass

- **a.sh** on 7.3.4: fail. Not explained.
  `TEST: one [FAIL]`
- **bond-break-lacpdu-tx.sh** on 7.3.4: broken. ";
        assert!(below.starts_with(expected), "{below}");
        assert!(below.ends_with("\n  `./bond-break-lacpdu-tx.sh: 26: source: not found`\n"), "{below}");
        assert_eq!(unexplained(&results()), ["a.sh on 7.3.4"]);
    }

    #[test]
    fn kernels_with_the_same_reason_are_in_one_entry() {
        let output = "# Usage: ip link\n# TEST: one [ OK ]\nok 1 selftests: a.sh\n";
        let runs = vec![run("6.12.57", "a.sh", output), run("7.3.4", "a.sh", output)];
        let results = Results { runs, ..Results::default() };
        let page = page(&results, &["6.12.57".to_owned(), "7.3.4".to_owned()]);
        let expected = "- **a.sh** on 6.12.57, 7.3.4: broken. Not explained.\n  `Usage: ip link`\n";
        assert!(page.ends_with(expected), "{page}");
    }

    #[test]
    fn the_explanations_can_be_read() {
        let all: Explanations = toml::from_str(EXPLANATIONS).unwrap();
        assert!(all.because.iter().all(|because| !because.text.trim().is_empty()));
    }
}
