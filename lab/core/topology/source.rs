//! The text of a topology: one file, or a file with those that it includes, each in its place of one text.

use std::fmt;
use std::ops::Range;

use toml::de::{DeTable, DeValue};

use crate::net::clean;
use crate::topology::parse::diagnostic::{Diagnostic, TopologyErrors};

/// What a file has its list of others under.
pub(crate) const KEY: &str = "include";
/// Files of one topology, at the most.
pub const FILES_MAX: usize = 16;
/// How deep files include one another, at the most: a file, one that it includes, and so on.
pub const DEPTH_MAX: usize = 4;

/// A file that another one includes, as it is written there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Include {
    /// The name.
    pub name: String,
    /// Where it is written, in bytes of the text that includes it.
    pub span: Range<usize>,
}

impl Include {
    /// The files that a text includes, in its order. Entries that are no names are reported when the text is read.
    pub fn all(text: &str) -> Vec<Self> {
        let (table, _) = DeTable::parse_recoverable(text);
        let list = table.get_ref().iter().find(|(key, _)| key.get_ref() == KEY).map(|(_, value)| value);
        let Some(DeValue::Array(items)) = list.map(|list| list.get_ref()) else { return Vec::new() };
        let name = |text: &str, span| Self { name: text.to_owned(), span };
        items.iter().filter_map(|item| Some(name(item.get_ref().as_str()?, item.span()))).collect()
    }

    /// Why a name is not looked for: only the folder of the including file, and those in it, are.
    ///
    /// # Errors
    /// What is wrong with it, and a hint.
    pub fn check(&self) -> Result<(), (&'static str, &'static str)> {
        let is_plain = |part: &str| !part.is_empty() && part != "." && part != "..";
        if self.name.starts_with('/') || !self.name.split('/').all(is_plain) {
            let hint = "name a file in the folder of this one, or below it: \"common/bond.inc\"";
            return Err(("a path that leads out of the file's folder, or is none", hint));
        }
        Ok(())
    }

    /// A mistake at this place, in the file that has it.
    pub fn problem(&self, path: &str, text: &str, message: &str, hint: &str) -> TopologyErrors {
        let problem = Diagnostic { span: self.span.clone(), message: message.into(), hint: hint.into() };
        TopologyErrors::of(&Source::of(path, text), vec![problem])
    }
}

/// One file in the text of all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceFile {
    /// For messages.
    pub path: String,
    /// Its place in the text.
    pub range: Range<usize>,
}

/// A place in one of the files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub path: String,
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", clean::line(&self.path), self.line, self.column)
    }
}

/// The text of a topology.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    text: String,
    /// Those that are included before those that include them; the topology's own is the last.
    files: Vec<SourceFile>,
    /// Whether `include` has been followed.
    is_followed: bool,
}

impl Source {
    /// One file; what it includes is not there.
    pub fn of(path: &str, text: &str) -> Self {
        let mut source = Self::default();
        source.push(path, text);
        source.is_followed = false;
        source
    }

    /// Adds a file that includes none but those that are there already.
    pub fn push(&mut self, path: &str, text: &str) {
        if !self.text.is_empty() {
            // A mistake at a file's end has a place of its own.
            self.text.push('\n');
        }
        let start = self.text.len();
        self.text.push_str(text);
        self.files.push(SourceFile { path: path.into(), range: start..self.text.len() });
    }

    /// All of the text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The files, the topology's own the last.
    pub fn files(&self) -> &[SourceFile] {
        &self.files
    }

    /// The file that a byte of the text is in, and its place there.
    pub fn place(&self, byte: usize) -> Place {
        let has = |file: &&SourceFile| (file.range.start..=file.range.end).contains(&byte);
        let file = self.files.iter().find(has).or(self.files.last());
        let (path, start) = file.map_or(("", 0), |file| (file.path.as_str(), file.range.start));
        let before = self.text.get(start..byte).unwrap_or_default();
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        Place {
            path: path.to_owned(),
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
        }
    }

    /// Whether the files that it includes are among them.
    pub(crate) fn is_followed(&self) -> bool {
        self.is_followed
    }
}

impl Default for Source {
    fn default() -> Self {
        Self { text: String::new(), files: Vec::new(), is_followed: true }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_that_of_its_own_file() {
        let mut source = Source::default();
        source.push("common.inc", "a = 1\n");
        source.push("own.toml", "b = 2\nc = 'ä' # x");
        let at = |word| source.text().find(word).expect("it is there");
        assert_eq!(source.place(at("a =")).to_string(), "common.inc:1:1");
        assert_eq!(source.place(at("b =")).to_string(), "own.toml:1:1");
        assert_eq!(source.place(at("# x")).to_string(), "own.toml:2:9", "columns count characters");
    }
}
