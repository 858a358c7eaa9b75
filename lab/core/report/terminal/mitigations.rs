//! What was tried against a report, and what it came to.

use std::fmt::Write;

use crate::report::document::{AttemptDocument, Document};
use crate::report::terminal::wrap;

/// One block a cause, one row a fix.
pub fn table(out: &mut String, document: &Document, columns: usize) {
    let width = document.mitigations.iter().map(|fix| fix.name.len()).max().unwrap_or(0);
    let causes: Vec<&String> =
        document.mitigations.first().map(|fix| fix.under.keys().collect()).unwrap_or_default();
    for cause in causes {
        let attempts = || document.mitigations.iter().filter_map(|fix| Some((fix, fix.under.get(cause)?)));
        let before = attempts().next().map(|(_, attempt)| attempt.before.to_string()).unwrap_or_default();
        let _ = writeln!(out, "\nUnder {cause}, {before} arrive. With");
        for (fix, attempt) in attempts() {
            let _ =
                writeln!(out, "  {:width$}  {:>12}  {}", fix.name, attempt.after.to_string(), words(attempt));
        }
    }
    if !document.mitigations.is_empty() {
        out.push('\n');
    }
    for fix in &document.mitigations {
        out.push_str(&wrap(&format!("{}: {}", fix.name, fix.about), 2, columns));
    }
}

fn words(attempt: &AttemptDocument) -> String {
    let mut words = attempt.effect.words().to_owned();
    if !attempt.gone.is_empty() {
        words += &format!(": {} is gone", attempt.gone_in_words());
    }
    if !attempt.hidden.is_empty() {
        words += &format!(" (no longer: {})", attempt.hidden.join("; "));
    }
    words
}
