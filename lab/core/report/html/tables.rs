//! Tables of a document: checks, explanations, commands that separate them, mitigations, proofs.

use maud::{Markup, html};

use crate::judge::outcome::Outcome;
use crate::report::document::{Document, EvidenceDocument};

/// What is in the place of NICs.
pub fn substitutions(document: &Document) -> Markup {
    html! {
        @if !document.substitutions.is_empty() {
            p { b { "Substitutes, and no hardware: " } (document.substitutions.join(", ")) }
        }
        @for difference in &document.substitution_differences { p.hint { (difference) } }
    }
}

/// Who attached pods.
pub fn attachments(document: &Document) -> Markup {
    html! {
        @if !document.attachments.is_empty() {
            table.list {
                thead { tr { @for title in ["Pod", "Interface", "Network", "Plugin", "ADD by"] { th scope="col" { (title) } } } }
                tbody {
                    @for one in &document.attachments {
                        tr {
                            th scope="row" { (one.pod) }
                            td { (one.interface) } td { (one.network) } td { (one.plugin) } td { (one.by) }
                        }
                    }
                }
            }
        }
    }
}

/// What had to hold. Checks that hold are counted, and listed on demand.
pub fn checks(document: &Document) -> Markup {
    let (held, other): (Vec<_>, Vec<_>) =
        document.checks.iter().partition(|check| check.outcome == Outcome::Pass);
    html! {
        p { (held.len()) " of " (document.checks.len()) " checks hold." }
        @if !other.is_empty() {
            table.list {
                thead { tr { @for title in ["Check", "Verdict", "Expected", "Observed"] { th scope="col" { (title) } } } }
                tbody {
                    @for check in other {
                        tr {
                            th scope="row" { (check.name) }
                            td { span class={ "mark " (check.outcome.word()) } {} (check.outcome.word()) }
                            td { (check.expected) } td { (check.observed) }
                        }
                    }
                }
            }
        }
        @if !held.is_empty() {
            details { summary { "Checks that hold" } ul { @for check in held { li { (check.name) ": " (check.observed) } } } }
        }
    }
}

/// Observed states, and what captures counted in the main trial.
pub fn states(document: &Document) -> Markup {
    let captured = document.trials.first().map(|trial| &trial.captured);
    let captured = captured.into_iter().flatten().map(|(name, count)| (format!("capture {name}"), count));
    let states: Vec<(String, &u64)> =
        document.states.iter().map(|(name, value)| (name.clone(), value)).chain(captured).collect();
    html! {
        @if !states.is_empty() {
            table.list {
                thead { tr { th scope="col" { "State or capture" } th scope="col" { "Value" } } }
                tbody { @for (name, value) in states { tr { th scope="row" { (name) } td.number { (value) } } } }
            }
        }
    }
}

/// One row an explanation, one column a piece of evidence.
pub fn explanations(document: &Document) -> Markup {
    let Some(first) = document.hypotheses.first() else { return html! {} };
    html! {
        h4 { "Which explanation fits the report?" }
        ol.evidence type="a" { @for item in &first.evidence { li { (item.item) } } }
        table.list {
            thead {
                tr {
                    th scope="col" { "Explanation" }
                    @for number in 0..first.evidence.len() { th scope="col" { (column(number)) } }
                    th scope="col" { "Fits" }
                }
            }
            tbody {
                @for one in &document.hypotheses {
                    tr.fits[one.fits] {
                        th scope="row" { (one.name) div.soft { (one.about) } }
                        @for item in &one.evidence { td { (evidence(item)) } }
                        td { (if one.fits { "all of it" } else { "no" }) }
                    }
                }
            }
        }
    }
}

/// The letter of a piece of evidence, as the list before the table has it.
fn column(number: usize) -> String {
    let letter = char::from(b'a' + u8::try_from(number % 26).unwrap_or(0));
    if number < 26 { letter.to_string() } else { format!("{letter}{}", number / 26) }
}

fn evidence(item: &EvidenceDocument) -> String {
    let word = match (item.applies, item.fits) {
        (false, _) => "not for this kernel",
        (true, true) => "yes",
        (true, false) => "no",
    };
    item.observed.map_or_else(|| word.to_owned(), |value| format!("{word} ({value})"))
}

/// Commands for the reporter, with what each says under each explanation.
pub fn next_checks(document: &Document) -> Markup {
    html! {
        @if !document.next_checks.is_empty() {
            h4 { "Commands that tell explanations apart" }
            table.list {
                thead { tr { th scope="col" { "Command" } th scope="col" { "Explanation" } th scope="col" { "Answer" } } }
                @for next_check in &document.next_checks {
                    tbody {
                        @for (number, (name, answer)) in next_check.answers.iter().enumerate() {
                            tr {
                                @if number == 0 {
                                    th scope="rowgroup" rowspan=(next_check.answers.len()) { code { (next_check.command) } }
                                }
                                td { (name) } td { (answer) }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// What was tried, under each cause.
pub fn mitigations(document: &Document) -> Markup {
    html! {
        @if !document.mitigations.is_empty() {
            h4 { "What was tried" }
            table.list {
                thead { tr { @for title in ["Tried", "Under", "Before", "With it", "Effect"] { th scope="col" { (title) } } } }
                @for fix in &document.mitigations {
                    tbody {
                        @for (number, (cause, attempt)) in fix.under.iter().enumerate() {
                            tr {
                                @if number == 0 {
                                    th scope="rowgroup" rowspan=(fix.under.len()) { (fix.name) div.soft { (fix.about) } }
                                }
                                td { (cause) } td { (attempt.before) } td { (attempt.after) }
                                td {
                                    (attempt.effect.words())
                                    @if !attempt.gone.is_empty() { ": " (attempt.gone_in_words()) " is gone" }
                                    @if !attempt.hidden.is_empty() { " (no longer: " (attempt.hidden.join("; ")) ")" }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Whether each expectation can fail.
pub fn proofs(document: &Document) -> Markup {
    html! {
        @if !document.proofs.is_empty() {
            h4 { "Whether each expectation can fail" }
            table.list {
                thead { tr { @for title in ["Expectation", "Can fail", "With", "Observed then"] { th scope="col" { (title) } } } }
                tbody {
                    @for proof in &document.proofs {
                        tr {
                            th scope="row" { (proof.name) }
                            td { (if proof.proven { "yes" } else { "VACUOUS" }) }
                            td { (proof.broken_by.as_deref().unwrap_or("nothing")) }
                            td.number { @if let Some(value) = proof.observed { (value) } }
                        }
                    }
                }
            }
        }
    }
}
