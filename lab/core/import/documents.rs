//! The documents of YAML and JSON that stand in a text: all of it, in blocks of code, in here-documents, or with no mark around them.

use std::collections::BTreeSet;

use crate::import::text::{Block, Line};
use crate::import::value::Value;

/// Documents of one text at the most.
const DOCUMENTS_MAX: usize = 500;
/// A document of which the end is missing is tried without its last lines, up to so many.
const CUT_LINES_MAX: usize = 11;
/// Lines that begin with a key of a known format, at the most.
const REGIONS_MAX: usize = 200;
/// Lines of such a region at the most.
const REGION_LINES_MAX: usize = 2000;
/// What the parsers get of one text at the most, in bytes: its parts may stand one in another, and each is tried.
const PARSED_BYTES_MAX: usize = 24 * 1024 * 1024;

/// Keys by which a document of a known format may begin.
const KEYS: [&str; 14] = [
    "interfaces:",
    "network:",
    "machine:",
    "apiVersion:",
    "version:",
    "links:",
    "networkInterfaces:",
    "nodes:",
    "node:",
    "kind:",
    "bond:",
    "- interface:",
    "- deviceSelector:",
    "addresses:",
];

/// A document and the line where its block begins.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    /// From 1.
    pub line: usize,
    /// All of it.
    pub value: Value,
}

/// The documents of a text.
#[derive(Debug, Default)]
pub struct Documents {
    /// Each once, in the order they were found.
    pub all: Vec<Document>,
    /// Whether there may be more of them.
    pub is_cut: bool,
}

/// All documents that can be read out of blocks, and of what stands in `lines` without a mark around it. `is_known` says which
/// are of a format that is imported. `whole` is the text, from its first line on.
pub fn documents(
    whole: &[&str],
    blocks: &[Block],
    lines: &[Line<'_>],
    is_known: impl Fn(&Value) -> bool,
) -> Documents {
    let read = vec![false; whole.len()];
    let mut reading =
        Reading { read, left: PARSED_BYTES_MAX, found: Documents::default(), known: BTreeSet::new() };
    for block in blocks {
        reading.block(block, &is_known);
    }
    let text = whole.join("\n");
    let mut begins = Vec::with_capacity(whole.len());
    whole.iter().fold(0, |at, line| {
        begins.push(at);
        at + line.len() + 1
    });
    let mut regions = 0;
    for (at, line) in lines.iter().enumerate() {
        let Some(own) = line.number.checked_sub(1).filter(|own| *own < whole.len()) else { continue };
        if reading.read[own] {
            continue;
        }
        let is_json = line.text.starts_with('{') || line.text.starts_with("[{") || line.text == "[";
        let is_yaml = !is_json && KEYS.iter().any(|key| line.text.trim_start().starts_with(key));
        if !is_json && !is_yaml {
            continue;
        }
        if regions == REGIONS_MAX {
            reading.found.is_cut = true;
            break;
        }
        regions += 1;
        if is_json {
            // The parser finds where the value ends.
            reading.json(&text[begins[own]..], line.number, &is_known);
        } else {
            reading.block(&region(&lines[at..], whole), &is_known);
        }
    }
    reading.found
}

/// The lines that belong to the first one: those that are indented more, or go on as YAML does.
fn region(lines: &[Line<'_>], whole: &[&str]) -> Block {
    let indent_of = |text: &str| text.len() - text.trim_start().len();
    let indent = indent_of(lines[0].text);
    let is_inside = |line: &&Line<'_>| {
        let text = line.text.trim_start();
        let own = indent_of(line.text);
        let is_yaml = text.starts_with(['-', '#', '"', '\'']) || text.contains(": ") || text.ends_with(':');
        text.is_empty() || own > indent || (own == indent && is_yaml && text != "---")
    };
    let inside = lines[1..].iter().take_while(is_inside).take(REGION_LINES_MAX);
    let all = lines.iter().take(1).chain(inside);
    // Lines of a reader are bounded, those of a document are not.
    let full = |line: &Line<'_>| line.number.checked_sub(1).and_then(|at| whole.get(at)).copied();
    let texts: Vec<&str> =
        all.map(|line| full(line).unwrap_or(line.text).get(indent..).unwrap_or_default()).collect();
    Block { line: lines[0].number, text: texts.join("\n") }
}

/// What has been read so far.
struct Reading {
    /// Which lines are of a document that was found: what stands in it is a part of it.
    read: Vec<bool>,
    /// How many bytes the parsers may still get.
    left: usize,
    found: Documents,
    /// Hashes of all documents that were found.
    known: BTreeSet<u64>,
}

impl Reading {
    /// Whether the parsers may have so many bytes more.
    fn may_parse(&mut self, bytes: usize) -> bool {
        let left = self.left.checked_sub(bytes);
        self.found.is_cut |= left.is_none();
        self.left = left.unwrap_or(0);
        left.is_some()
    }

    /// Reads all documents of a block.
    fn block(&mut self, block: &Block, is_known: impl Fn(&Value) -> bool) {
        if block.text.trim_start().starts_with(['{', '[']) {
            self.json(&block.text, block.line, is_known);
            return;
        }
        let lines: Vec<&str> = block.text.lines().collect();
        let mut from = 0;
        while from < lines.len() {
            let is_marker = |line: &&str| *line == "---" || line.starts_with("--- ");
            let end = lines[from + 1..].iter().position(is_marker).map_or(lines.len(), |at| from + 1 + at);
            let first = block.line + from;
            let is_read = self.read.get(first - 1).is_some_and(|is_read| *is_read);
            if !is_read && let Some((values, kept)) = self.yaml(&lines[from..end]) {
                self.take(values, block.line, first, first + kept, &is_known);
            }
            from = end;
        }
    }

    /// The values of a document, and how many of its lines they are. Of one that is none (a template, a text cut short) the
    /// others of its block are read all the same.
    fn yaml(&mut self, lines: &[&str]) -> Option<(Vec<Value>, usize)> {
        // Where the middle was left out, what is below it has lost its place.
        let mut kept = lines.iter().position(|line| line.contains("[...]")).unwrap_or(lines.len());
        let last = kept.saturating_sub(CUT_LINES_MAX).max(1);
        let is_whole = kept;
        while kept >= last {
            let text = lines[..kept].join("\n");
            if !self.may_parse(text.len()) {
                return None;
            }
            match serde_saphyr::from_multiple::<Value>(&text) {
                Ok(values) => {
                    let is_text = |value: &Value| matches!(value, Value::Text(_) | Value::Null);
                    return (kept == is_whole || !values.iter().any(is_text)).then_some((values, kept));
                }
                // The parser reads from the top: while the line that it stopped at is there, it stops there again.
                Err(error) => {
                    let line = error.location().map_or(kept, |at| at.line() as usize);
                    kept = (kept - 1).min(line);
                }
            }
        }
        None
    }

    /// Reads values of JSON, one after the other, up to the first thing that is none.
    fn json(&mut self, text: &str, line: usize, is_known: impl Fn(&Value) -> bool) {
        let mut values = serde_json::Deserializer::from_str(text).into_iter::<Value>();
        let (mut begin, mut first) = (0, line);
        while let Some(value) = values.next() {
            let end = match &value {
                Ok(_) => values.byte_offset(),
                Err(error) => bytes_before(text, error.line(), error.column()),
            };
            let (Ok(value), true) = (value, self.may_parse(end.saturating_sub(begin))) else { return };
            let lines = text[begin..end].matches('\n').count();
            self.take(vec![value], line, first, first + lines + 1, &is_known);
            (begin, first) = (end, first + lines);
        }
    }

    /// Keeps those values that are known, and are new; `from..to` are the lines that they stand in.
    fn take(
        &mut self,
        values: Vec<Value>,
        line: usize,
        from: usize,
        to: usize,
        is_known: impl Fn(&Value) -> bool,
    ) {
        for value in values.into_iter().flat_map(unlisted).filter(is_known) {
            for is_read in self.read.iter_mut().take(to - 1).skip(from - 1) {
                *is_read = true;
            }
            if !self.known.insert(value.digest()) {
                continue;
            }
            if self.found.all.len() == DOCUMENTS_MAX {
                self.found.is_cut = true;
                return;
            }
            self.found.all.push(Document { line, value });
        }
    }
}

/// Bytes of a text before a line and a column, both from 1.
fn bytes_before(text: &str, line: usize, column: usize) -> usize {
    let before: usize = text.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum();
    (before + column).min(text.len())
}

/// `kubectl get -o yaml` of several objects is one of kind `List`.
fn unlisted(value: Value) -> Vec<Value> {
    match value.text_of("kind") {
        Some("List") => value.items_of("items").to_vec(),
        _ => vec![value],
    }
}
