//! What is wrong with a topology file: place, message, hint; shown the way a compiler shows it.

use std::fmt;
use std::ops::Range;

use crate::net::clean;
use crate::topology::source::{Source, SourceFile};

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

/// Everything wrong with one topology and the files that it includes, in the order of the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopologyErrors {
    /// With what is to be shown in the place of what is not, as long in bytes.
    source: Source,
    /// At least one.
    pub problems: Vec<Diagnostic>,
}

impl TopologyErrors {
    pub(crate) fn of(source: &Source, mut problems: Vec<Diagnostic>) -> Self {
        problems.sort_by_key(|problem| (problem.span.start, problem.span.end));
        problems.dedup();
        for problem in &mut problems {
            // Both quote what is in the file.
            problem.message = clean::line(&problem.message).into_owned();
            problem.hint = clean::line(&problem.hint).into_owned();
        }
        let mut shown = Source::default();
        for file in source.files() {
            shown.push(&clean::line(&file.path), &masked(&source.text()[file.range.clone()]));
        }
        Self { source: shown, problems }
    }

    /// The file that a problem is in, and the problem's place in it.
    fn file_of(&self, span: &Range<usize>) -> (&SourceFile, Range<usize>) {
        let files = self.source.files();
        let own = files.last().expect("a topology has a file");
        // A problem of the topology as a whole has no place, and is the own file's.
        let has =
            |file: &&SourceFile| *span != (0..0) && (file.range.start..=file.range.end).contains(&span.start);
        let file = files.iter().find(has).unwrap_or(own);
        let inside = |at: usize| at.saturating_sub(file.range.start).min(file.range.len());
        (file, inside(span.start)..inside(span.end))
    }

    fn text_of(&self, file: &SourceFile) -> &str {
        &self.source.text()[file.range.clone()]
    }

    /// One line a problem: `file:line:column: message; hint`. Lines and columns are from 1, columns count characters.
    pub fn lines(&self) -> String {
        let mut out = String::new();
        for problem in &self.problems {
            let (file, span) = self.file_of(&problem.span);
            let text = self.text_of(file);
            let before = text.get(..span.start).unwrap_or(text);
            let line_start = before.rfind('\n').map_or(0, |at| at + 1);
            let line = before.matches('\n').count() + 1;
            let column = before[line_start..].chars().count() + 1;
            out += &format!("{}:{line}:{column}: {}\n  hint: {}\n", file.path, problem.message, problem.hint);
        }
        out
    }

    /// With the lines of the file, and in colour when wanted.
    pub fn pretty(&self, colour: bool) -> String {
        let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
        let mut out = String::new();
        for problem in &self.problems {
            let (file, span) = self.file_of(&problem.span);
            let text = self.text_of(file);
            let first_line_end = text[span.clone()].find('\n');
            let end = first_line_end.map_or(span.end, |at| span.start + at);
            let snippet = Snippet::source(text)
                .path(file.path.as_str())
                .annotation(AnnotationKind::Primary.span(span.start..end));
            let report = [Level::ERROR
                .primary_title(problem.message.as_str())
                .element(snippet)
                .element(Level::HELP.message(problem.hint.as_str()))];
            out += &renderer.render(&report);
            out += "\n\n";
        }
        let count = self.problems.len();
        let own = self.source.files().last().map_or("", |file| file.path.as_str());
        out +=
            &format!("{count} problem{} in {own}; nothing was created\n", if count == 1 { "" } else { "s" },);
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
