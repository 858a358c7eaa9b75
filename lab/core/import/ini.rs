//! Sections of `KEY=VALUE`, wherever they stand in a text: systemd-networkd's and NetworkManager's files.

use std::cell::Cell;

use crate::import::model::Model;
use crate::import::text::Line;

/// One section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    /// Of its heading, from 1.
    pub line: usize,
    /// Its name.
    pub name: String,
    /// Keys and values, in order; keys may be there more than once.
    entries: Vec<(String, String)>,
    /// Which of them a reader has asked for.
    asked: Vec<Cell<bool>>,
}

impl Section {
    /// The first value of a key.
    pub fn value(&self, key: &str) -> Option<&str> {
        self.asked_for(key).next()
    }

    /// All values of a key.
    pub fn values<'s>(&'s self, key: &'s str) -> impl Iterator<Item = &'s str> {
        self.asked_for(key)
    }

    fn asked_for<'s, 'k>(&'s self, key: &'k str) -> impl Iterator<Item = &'s str> + use<'s, 'k> {
        let all = self.entries.iter().zip(&self.asked);
        all.filter(move |((name, _), _)| name == key).map(|((_, value), asked)| {
            asked.set(true);
            value.as_str()
        })
    }

    /// All keys and values.
    pub fn entries(&self) -> &[(String, String)] {
        self.asked.iter().for_each(|asked| asked.set(true));
        &self.entries
    }
}

/// A file: its sections.
pub type File = Vec<Section>;

/// Files of a text: each begins with one of these sections.
pub fn files(lines: &[Line<'_>], first: &[&str]) -> Vec<File> {
    let mut files: Vec<File> = Vec::new();
    let mut is_open = false;
    for line in lines {
        let text = line.text.trim();
        // `head` and `tail` write `==> FILE <==` above each file.
        is_open &= !line.begins && !text.starts_with("==");
        let heading = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
        let heading = heading.filter(|name| {
            !name.is_empty()
                && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b' '))
        });
        if let Some(name) = heading {
            if first.contains(&name) && files.len() < 200 {
                files.push(File::new());
            }
            let section =
                Section { line: line.number, name: name.to_owned(), entries: Vec::new(), asked: Vec::new() };
            is_open = files.last_mut().map(|file| file.push(section)).is_some();
        } else if let Some((key, value)) = text
            .split_once('=')
            .filter(|(key, _)| is_open && !key.is_empty() && !text.starts_with(['#', ';']))
        {
            let section = files.last_mut().and_then(|file| file.last_mut());
            if let Some(section) = section.filter(|section| section.entries.len() < 200) {
                section.entries.push((key.trim().to_owned(), value.trim().to_owned()));
                section.asked.push(Cell::new(false));
            }
        }
    }
    files
}

/// The section of a name.
pub fn section<'f>(file: &'f File, name: &str) -> Option<&'f Section> {
    file.iter().find(|section| section.name == name)
}

/// Says which keys of a file nobody has asked for.
pub fn left(file: &File, format: &'static str, model: &mut Model) {
    for section in file {
        for ((key, _), _) in section.entries.iter().zip(&section.asked).filter(|(_, asked)| !asked.get()) {
            model.left(format, format!("[{}] {key}", section.name));
        }
    }
}
