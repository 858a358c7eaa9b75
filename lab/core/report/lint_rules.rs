//! The page of lint's rules: docs/lint.md.

use crate::topology::lint::RULES;

const PREFACE: &str = include_str!("lint_rules/preface.md");

/// The page.
pub fn page() -> String {
    let mut out = PREFACE.to_owned();
    for rule in RULES {
        out += &format!("\n## `{}`: {}\n\n{}.\n", rule.name, rule.severity, capital(rule.reason));
        if let Some(report) = rule.report {
            out += &format!("\nSee <{report}>.\n");
        }
    }
    out
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or(String::new(), |first| first.to_uppercase().chain(letters).collect())
}
