//! A result to paste into an issue or a mail: Markdown, with a Mermaid picture that GitHub and GitLab draw.

use std::fmt::Write;

use crate::report::document::{Document, TrialDocument};
use crate::report::drawing::mermaid;
use crate::report::terminal;

/// Renders a result: headline, picture, where each frame of the first trial is, explanations, and the whole account.
pub fn render(document: &Document) -> String {
    let kernel = &document.kernel;
    let mut out = String::new();
    let outcome = document.outcome.word().to_uppercase();
    let _ = writeln!(out, "### {} on Linux {}: {outcome}", plain(&document.topology), plain(&kernel.release));
    if let Some(about) = &document.about {
        let _ = writeln!(out, "\n{}", plain(about));
    }
    if let Some(structure) = &document.structure {
        out += "\n";
        fenced(&mut out, "mermaid", &mermaid::render(structure));
    }
    if let Some(trial) = document.trials.first() {
        frames(&mut out, trial);
    }
    explanations(&mut out, document);
    out += "\n<details><summary>The whole account</summary>\n\n";
    fenced(&mut out, "text", &terminal::render(document, None));
    out += "\n</details>\n";
    out
}

fn frames(out: &mut String, trial: &TrialDocument) {
    if trial.flows.is_empty() {
        return;
    }
    let _ = writeln!(
        out,
        "\n| flow (trial {}) | frames | what became of them | where |\n|---|--:|---|---|",
        plain(&trial.name)
    );
    for flow in &trial.flows {
        let mut row = |frames: u32, what: &str, place: &str| {
            if frames > 0 {
                let _ = writeln!(
                    out,
                    "| {} | {frames} | {} | {} |",
                    plain(&flow.name),
                    plain(what),
                    plain(place)
                );
            }
        };
        row(flow.delivered, "delivered", &flow.to);
        for fate in &flow.fates {
            let device = fate.device_or("no device named");
            row(fate.frames, &format!("lost: {}", fate.reason), &format!("{} of {device}", fate.layer));
        }
        row(flow.unattributed, "UNATTRIBUTED", "no place is known");
    }
}

fn explanations(out: &mut String, document: &Document) {
    if document.hypotheses.is_empty() {
        return;
    }
    out.push_str("\n| explanation | fits the report |\n|---|---|\n");
    for one in &document.hypotheses {
        let fitting = one.evidence.iter().filter(|item| item.fits).count();
        let fits = if one.fits { "all of it".into() } else { format!("{fitting} of {}", one.evidence.len()) };
        let _ = writeln!(out, "| {}: {} | {fits} |", plain(&one.name), plain(&one.about));
    }
}

/// A block of text; its fence is longer than any that the text could close it with.
fn fenced(out: &mut String, language: &str, text: &str) {
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest.max(2) + 1);
    let _ = writeln!(out, "{fence}{language}\n{}\n{fence}", text.trim_end());
}

/// A text of which nothing is markup, on one line.
fn plain(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '<' => out += "&lt;",
            '>' => out += "&gt;",
            '&' => out += "&amp;",
            // GitHub would notify the person of that name.
            '@' => out += "&#64;",
            '\n' | '\r' => out.push(' '),
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '#' | '~' | '!' => {
                out.push('\\');
                out.push(c);
            }
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::outcome::Outcome;
    use crate::report::drawing::{LinkDocument, Structure};
    use crate::report::matrix::tests::finished;

    fn document() -> Document {
        let link = |device: &str, kind: &str, below: &[&str]| LinkDocument {
            device: device.into(),
            kind: kind.into(),
            below: below.iter().map(|name| (*name).to_owned()).collect(),
            ..LinkDocument::default()
        };
        let structure = Structure {
            namespaces: vec!["a".into()],
            links: vec![link("a:p0", "veth", &[]), link("a:bond0", "bond", &["a:p0"])],
        };
        Document { structure: Some(structure), ..finished("t", "6.1", Outcome::Pass, 3, 0) }
    }

    #[test]
    fn a_result_has_a_picture_and_a_row_for_each_fate() {
        let text = render(&document());
        assert!(text.contains("```mermaid\nflowchart TB\n"), "{text}");
        assert!(text.contains("  l1 --- l0\n"), "{text}");
        assert!(text.contains("| f | 97 | delivered | b:v |"), "{text}");
    }

    #[test]
    fn no_text_of_a_result_is_markup_or_ends_a_block() {
        let hostile = "`````\n| <img src=x> @someone [a](b) **\n";
        let mut document = document();
        document.about = Some(hostile.into());
        document.trials[0].flows[0].name = hostile.into();
        document.trials[0].flows[0].to = hostile.into();
        if let Some(structure) = &mut document.structure {
            structure.links[0].detail = hostile.into();
        }
        let text = render(&document);
        let fences: Vec<&str> = text.lines().filter(|line| line.starts_with("``````")).collect();
        assert_eq!(fences, ["``````text", "``````"], "{text}");
        // Between the fences of the picture the text is Mermaid's, which has it within quotes.
        let (before, rest) = text.split_once("```mermaid\n").expect("a picture");
        let (picture, rest) = rest.split_once("\n```\n").expect("its end");
        assert!(
            picture.lines().all(|line| !line.starts_with('`') && line.matches('"').count() != 1),
            "{picture}"
        );
        let outside = format!("{before}{}", rest.split("``````text").next().unwrap_or_default());
        assert!(
            !outside.contains("<img") && !outside.contains("@someone") && !outside.contains("[a](b)"),
            "{outside}"
        );
    }
}
