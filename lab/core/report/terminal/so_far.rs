//! The account of a trial that goes on: in the words of a result, and without a word about its end.

use std::fmt::Write;

use crate::judge::account::TrialAccount;
use crate::report::document::trial_document;
use crate::report::plural::s;
use crate::report::terminal::{trial, wrap};

/// Renders what has become of every frame up to now. A frame without a place is not lost yet: where nothing but the end of a
/// trial looks, it may be held.
pub fn render(account: &TrialAccount, width: usize) -> String {
    let mut document = trial_document(account);
    let mut open: Vec<String> = Vec::new();
    for flow in &mut document.flows {
        if flow.unattributed > 0 {
            open.push(format!("{} frame{} of {}", flow.unattributed, s(flow.unattributed), flow.name));
            flow.unattributed = 0;
        }
    }
    let mut out = String::new();
    trial(&mut out, &document, width);
    for (capture, count) in &document.captured {
        let _ = writeln!(out, "capture {capture}: {count} frame{}", s(*count));
    }
    if !open.is_empty() {
        let text = format!(
            "Neither delivered nor seen to be lost so far: {}. They may be held where only the end of the trial looks.",
            open.join(", ")
        );
        out += &wrap(&text, 2, width);
    }
    if out.is_empty() {
        out.push_str("no flow was sent so far\n");
    }
    out
}
