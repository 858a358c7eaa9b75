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
/// What stands for a cell that was not run.
const NOT_RUN: &str = "–";

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
    let scripts: BTreeSet<&str> = results.runs.iter().map(|run| run.script.as_str()).collect();
    let find = |script: &str, kernel: &str| {
        results.runs.iter().find(|run| run.script == script && run.kernel == kernel)
    };
    let mut text = PREFACE.to_owned();
    let _ = writeln!(text, "\n| script | {} |", kernels.join(" | "));
    let _ = writeln!(text, "|---|{}", "---|".repeat(kernels.len()));
    let sources = kernels.iter().map(|kernel| {
        let run = results.runs.iter().find(|run| run.kernel == *kernel);
        run.map_or(NOT_RUN.to_owned(), |run| format!("*{}*", clean::line(&run.source)))
    });
    let _ = writeln!(text, "| *source of the scripts* | {} |", sources.collect::<Vec<_>>().join(" | "));
    for script in &scripts {
        let cells = kernels
            .iter()
            .map(|kernel| find(script, kernel).map_or(NOT_RUN.to_owned(), |run| cell(run).to_owned()));
        let _ = writeln!(text, "| {} | {} |", clean::line(script), cells.collect::<Vec<_>>().join(" | "));
    }
    let count = |wanted: Outcome| results.runs.iter().filter(|run| run.outcome() == wanted).count();
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
    let counts: Vec<String> = counts.map(|outcome| format!("{} {outcome}", count(outcome))).collect();
    let _ = writeln!(text, "\n{} cells: {}.\n", results.runs.len(), counts.join(", "));
    text.push_str("## Why a cell is no pass\n\n");
    for script in &scripts {
        for kernel in kernels {
            if let Some(run) = find(script, kernel).filter(|run| run.outcome() != Outcome::Pass) {
                let _ = writeln!(text, "{}", reason(run));
            }
        }
    }
    text
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

fn reason(run: &Run) -> String {
    let outcome = run.outcome();
    let mut text = format!("- **{}** on {}: {outcome}. ", clean::line(&run.script), clean::line(&run.kernel));
    match explanation(run) {
        Some(explanation) => text.push_str(explanation.text.trim()),
        None => match &run.no_result {
            Some(why) => text.push_str(&clean::line(why.lines().next().unwrap_or_default())),
            None => text.push_str("Not explained."),
        },
    }
    for line in Ktap::read(&run.output).reasons {
        let _ = write!(text, "\n  `{}`", clean::line(&line).replace('`', "'"));
    }
    text
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

3 cells: 1 pass, 1 fail, 1 broken.

## Why a cell is no pass

- **a.sh** on 7.3.4: fail. Not explained.
  `TEST: one [FAIL]`
- **bond-break-lacpdu-tx.sh** on 7.3.4: broken. ";
        assert!(below.starts_with(expected), "{below}");
        assert!(below.ends_with("\n  `./bond-break-lacpdu-tx.sh: 26: source: not found`\n"), "{below}");
        assert_eq!(unexplained(&results()), ["a.sh on 7.3.4"]);
    }

    #[test]
    fn the_explanations_can_be_read() {
        let all: Explanations = toml::from_str(EXPLANATIONS).unwrap();
        assert!(all.because.iter().all(|because| !because.text.trim().is_empty()));
    }
}
