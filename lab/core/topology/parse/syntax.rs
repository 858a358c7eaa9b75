//! What TOML has to say about a text, cut down to what the writer did: one mistake often makes the parser stumble
//! several times.

use std::collections::BTreeSet;
use std::ops::Range;

use toml::de::Error;

use crate::topology::parse::diagnostic::Diagnostic;

/// Mistakes that leave the rest of the document as it was meant: the parser keeps the value, or the first of two.
const LOCAL: [&str; 4] =
    ["duplicate key", "string values must be quoted", "unexpected leading zero", "invalid date"];

/// After one of these the parser may take all that follows for something else.
const SWALLOWING: [&str; 4] = ["array", "key-value pairs", "inline table", "multi-line"];

/// The verdict on a text.
#[derive(Debug)]
pub struct Syntax {
    /// In the order of the text.
    pub problems: Vec<Diagnostic>,
    /// Whether what was parsed is worth a look.
    pub can_go_on: bool,
    /// Words of entries that were given twice, one of which was dropped.
    pub lost_names: BTreeSet<String>,
}

/// Judges the parser's errors.
pub fn judge(text: &str, errors: &[Error]) -> Syntax {
    let mut errors: Vec<(Range<usize>, &str)> =
        errors.iter().map(|error| (inside(text, error.span()), error.message())).collect();
    // Stable: of several on one line, the parser's comes before that of whoever interprets what it found.
    errors.sort_by_key(|(span, _)| line_of(text, span.start));
    let can_go_on = errors.iter().all(|(_, message)| LOCAL.iter().any(|local| message.starts_with(local)));
    let mut lost_names = BTreeSet::new();
    let mut problems: Vec<Diagnostic> = Vec::new();
    let mut quiet_until = 0;
    for (span, message) in errors {
        let line = line_of(text, span.start);
        let told = problems.last().is_some_and(|last| line_of(text, last.span.start) == line);
        if told || span.start < quiet_until {
            continue;
        }
        if message == "duplicate key" {
            // All keys of a table given twice may be there twice too.
            quiet_until = end_of_entry(text, span.start);
            let start = text[..span.start].rfind('\n').map_or(0, |at| at + 1);
            let words = text[start..quiet_until].split(|c: char| !c.is_alphanumeric() && !"-_.".contains(c));
            lost_names.extend(words.map(str::to_owned));
        } else if is_open_string(message) {
            // The next line may be the rest of it.
            quiet_until = end_of_line(text, end_of_line(text, span.start));
        }
        let (message, hint) = put(message, text.get(span.clone()).unwrap_or_default());
        let swallowing = SWALLOWING.iter().any(|word| message.contains(word));
        problems.push(Diagnostic { span, message, hint });
        if swallowing {
            break;
        }
    }
    Syntax { problems, can_go_on, lost_names }
}

/// A span that lies within the text and on its characters.
fn inside(text: &str, span: Option<Range<usize>>) -> Range<usize> {
    let clip = |at: usize| (0..=at.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    let span = span.unwrap_or(0..0);
    let start = clip(span.start);
    start..clip(span.end).max(start)
}

fn line_of(text: &str, byte: usize) -> usize {
    text[..byte].matches('\n').count()
}

/// Where the next line begins.
fn end_of_line(text: &str, byte: usize) -> usize {
    text[byte..].find('\n').map_or(text.len(), |at| byte + at + 1)
}

/// Where the entry that begins in this line ends: a table with its keys, or one line.
fn end_of_entry(text: &str, byte: usize) -> usize {
    let start = text[..byte].rfind('\n').map_or(0, |at| at + 1);
    if text[start..].trim_start().starts_with('[') {
        text[byte..].find("\n[").map_or(text.len(), |at| byte + at + 1)
    } else {
        end_of_line(text, byte)
    }
}

fn is_open_string(message: &str) -> bool {
    message.starts_with("invalid basic string") || message.starts_with("invalid literal string")
}

/// The parser's message in the writer's words, with advice.
fn put(message: &str, word: &str) -> (String, String) {
    let (message, hint) = if message == "duplicate key" {
        let hint = "give each key and each header once; items of a list share a header such as [[step]]";
        (format!("`{}` is there already", word.escape_debug()), hint)
    } else if message.starts_with("string values must be quoted") && word.is_empty() {
        ("a key without a value".into(), "write the value after the `=`")
    } else if message.starts_with("string values must be quoted") {
        (format!("`{}` is text without quotes", word.escape_debug()), "put it in quotes")
    } else if message.contains("newline") || message.contains("key with no value") {
        (message.into(), "write one `key = value` on a line; a name with a dot or a space needs quotes")
    } else if message.starts_with("unclosed table") {
        (message.into(), "close the header; a name with a dot or a space needs quotes")
    } else if is_open_string(message) {
        (message.into(), "close the text with its quote; three quotes hold several lines")
    } else if SWALLOWING.iter().any(|word| message.contains(word)) {
        (message.into(), "close it with its bracket or quotes; what follows was not looked at")
    } else {
        (message.into(), "the file must be TOML: https://toml.io")
    };
    (message, hint.into())
}
