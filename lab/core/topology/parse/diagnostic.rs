//! What is wrong with a topology file: place, message, hint; shown the way a compiler shows it.

use std::fmt;
use std::ops::Range;

use crate::net::clean;

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};

/// One thing wrong with a topology file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// Where it stands, in bytes.
    pub span: Range<usize>,
    /// A lowercase fragment.
    pub message: String,
    /// What to do about it.
    pub hint: String,
}

/// Everything wrong with one topology file, in the order of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopologyErrors {
    path: String,
    text: String,
    /// At least one.
    pub problems: Vec<Diagnostic>,
}

impl TopologyErrors {
    pub(crate) fn new(path: &str, text: &str, mut problems: Vec<Diagnostic>) -> Self {
        problems.sort_by_key(|problem| (problem.span.start, problem.span.end));
        problems.dedup();
        for problem in &mut problems {
            // Both quote what is in the file.
            problem.message = clean::line(&problem.message).into_owned();
            problem.hint = clean::line(&problem.hint).into_owned();
        }
        Self { path: clean::line(path).into_owned(), text: masked(text), problems }
    }

    /// Line and column of a byte, both from 1; columns count characters.
    fn place(&self, byte: usize) -> (usize, usize) {
        let before = self.text.get(..byte).unwrap_or(&self.text);
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
    }

    /// One line a problem: `file:line:column: message; hint`.
    pub fn lines(&self) -> String {
        let mut out = String::new();
        for problem in &self.problems {
            let (line, column) = self.place(problem.span.start);
            out += &format!("{}:{line}:{column}: {}\n  hint: {}\n", self.path, problem.message, problem.hint);
        }
        out
    }

    /// With the lines of the file, and in colour when wanted.
    pub fn pretty(&self, colour: bool) -> String {
        let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
        let mut out = String::new();
        for problem in &self.problems {
            let end = problem.span.end.min(self.text.len());
            let first_line_end = self.text[problem.span.start..end].find('\n');
            let end = first_line_end.map_or(end, |at| problem.span.start + at);
            let snippet = Snippet::source(self.text.as_str())
                .path(self.path.as_str())
                .annotation(AnnotationKind::Primary.span(problem.span.start..end));
            let report = [Level::ERROR
                .primary_title(problem.message.as_str())
                .element(snippet)
                .element(Level::HELP.message(problem.hint.as_str()))];
            out += &renderer.render(&report);
            out += "\n\n";
        }
        let count = self.problems.len();
        out += &format!(
            "{count} problem{} in {}; nothing was created\n",
            if count == 1 { "" } else { "s" },
            self.path
        );
        out
    }
}

/// The text with substitutes for what is not to be shown, as long in bytes, so that every place stays where it is.
fn masked(text: &str) -> String {
    let mask = |c: char| match c {
        '\n' | '\t' => c.to_string(),
        '\r' => " ".into(),
        c if clean::is_unsafe(c) => match c.len_utf8() {
            2 => "\u{bf}".into(),
            3 => "\u{fffd}".into(),
            bytes => "?".repeat(bytes),
        },
        c => c.to_string(),
    };
    text.chars().map(mask).collect()
}

impl fmt::Display for TopologyErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.lines())
    }
}

impl std::error::Error for TopologyErrors {}
