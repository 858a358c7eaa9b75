//! What the runs of a topology say: checks, explanations, and each trial's frames. Kernels of which the same is to be said
//! share one account.

use maud::{Markup, PreEscaped, html};

use crate::report::behaviour;
use crate::report::document::{Document, TrialDocument};
use crate::report::html::topology::One;
use crate::report::html::{flows, tables};

/// All accounts of a topology.
pub fn all(one: &One<'_>) -> Markup {
    let mut found: Vec<(String, Vec<String>)> = Vec::new();
    for cell in one.cells.iter().filter(|cell| !cell.document.trials.is_empty()) {
        let body = body(&cell.document).into_string();
        let kernel = cell.document.kernel.id.clone();
        match found.iter_mut().find(|(known, _)| *known == body) {
            Some((_, kernels)) => kernels.push(kernel),
            None => found.push((body, vec![kernel])),
        }
    }
    html! {
        @if !found.is_empty() { h3 { "Account of every frame" } }
        @for (body, kernels) in found {
            details.account data-kernels=(kernels.join(" ")) {
                summary { "On " (behaviour::ranges(one.kernels, &kernels)) }
                (PreEscaped(body))
            }
        }
    }
}

fn body(document: &Document) -> Markup {
    let (first, rest) = document.trials.split_at(document.trials.len().min(1));
    html! {
        (tables::substitutions(document))
        (tables::attachments(document))
        (tables::checks(document))
        @for trial in first { h4 { "Trial " (trial.name) } (frames(trial)) }
        (tables::states(document))
        (tables::explanations(document))
        (tables::next_checks(document))
        (tables::mitigations(document))
        (tables::proofs(document))
        @for trial in rest {
            details { summary { "Trial " (trial.name) } (frames(trial)) }
        }
    }
}

/// A trial's frames, its own and the kernel's.
fn frames(trial: &TrialDocument) -> Markup {
    html! {
        @if let Some(refused) = &trial.refused { p { b { "The kernel refused: " } (refused) } }
        @for flow in &trial.flows { (flows::diagram(flow)) }
        @if !trial.kernel_frames.is_empty() {
            p { "The kernel's own frames that were lost:" }
            ul {
                @for lost in &trial.kernel_frames {
                    li {
                        (lost.frames) " " (lost.what)
                        @if let Some(vlan) = lost.vlan { " in VLAN " (vlan) }
                        " at " (lost.layer.as_deref().unwrap_or("an unknown layer"))
                        " of " (lost.device.as_deref().unwrap_or("an unknown device")) " (" (lost.reason) ")"
                    }
                }
            }
        }
        @if let Some(log) = trial.kernel_log.as_ref().filter(|log| !log.lines.is_empty()) {
            details { summary { "Kernel log, level warning and above" } ul { @for line in &log.lines { li { code { (line) } } } } }
        }
        @if let Some(why) = &trial.unobserved {
            p { "Attributed by counters only; the drop tracepoint is not read: " (why) }
        }
    }
}
