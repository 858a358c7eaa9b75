//! A TOML document that can be searched by place and mended, so that reading can go on after a mistake.

use std::ops::Range;

use serde::Deserialize;
use toml::Spanned;
use toml::de::{DeArray, DeString, DeTable, DeValue, Deserializer, Error};

use crate::topology::file::TopologyFile;

/// The place of what was not written by anybody: a value put in for one that is missing.
pub const NOWHERE: Range<usize> = usize::MAX..usize::MAX;

/// One step on the way to an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// Of a table.
    Key(String),
    /// Of an array.
    Item(usize),
}

/// A key or a value of the document.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Place {
    /// From the top; empty for the document itself.
    pub path: Vec<Part>,
    /// Whether it is the key, not the value.
    pub is_key: bool,
    /// In bytes.
    pub span: Range<usize>,
}

/// Why a document cannot be read as a topology file.
#[derive(Debug)]
pub struct Refusal {
    /// serde's words.
    pub message: String,
    /// The key or value at fault.
    pub place: Place,
}

/// A document.
#[derive(Debug, Clone)]
pub struct Document<'i>(Spanned<DeTable<'i>>);

impl<'i> Document<'i> {
    /// Parses a text as far as it is TOML, with the errors of the rest.
    pub fn parse(text: &'i str) -> (Self, Vec<Error>) {
        let (table, errors) = DeTable::parse_recoverable(text);
        (Self(table), errors)
    }

    /// The document with all places moved: its text stands behind others in one text.
    pub fn shifted(self, by: usize) -> Self {
        if by == 0 {
            return self;
        }
        let place = self.0.span();
        Self(Spanned::new(place, shifted_table(self.0.into_inner(), by)))
    }

    /// All of it.
    pub fn root(&self) -> &DeTable<'i> {
        self.0.get_ref()
    }

    /// All of it, to be changed.
    pub fn root_mut(&mut self) -> &mut DeTable<'i> {
        self.0.get_mut()
    }

    /// Reads the document as a topology file.
    ///
    /// serde tells the span of a mistake and nothing else, and spans are not unique: an array of tables has that of
    /// its first item. So each key and value gets a number for its span, and the number tells which one it was.
    pub fn read(&self) -> Result<TopologyFile, Refusal> {
        let mut places = vec![Place { span: self.0.span(), ..Place::default() }];
        let numbered = number_table(self.0.get_ref(), &mut Vec::new(), &mut places);
        match TopologyFile::deserialize(Deserializer::from(Spanned::new(0..0, numbered))) {
            Ok(_) => TopologyFile::deserialize(Deserializer::from(self.0.clone()))
                .map_err(|error| Refusal { message: error.message().into(), place: Place::default() }),
            Err(error) => {
                let number = error.span().map_or(0, |span| span.start);
                let place = places.get(number).cloned().unwrap_or_default();
                Err(Refusal { message: error.message().into(), place })
            }
        }
    }

    /// The value at a path; `None` for the document itself.
    pub fn value(&self, path: &[Part]) -> Option<&Spanned<DeValue<'i>>> {
        let (first, rest) = path.split_first()?;
        let Part::Key(key) = first else { return None };
        let mut value = self.0.get_ref().iter().find(|(name, _)| name.get_ref() == key)?.1;
        for part in rest {
            value = match (part, value.get_ref()) {
                (Part::Key(key), DeValue::Table(table)) => {
                    table.iter().find(|(name, _)| name.get_ref() == key)?.1
                }
                (Part::Item(index), DeValue::Array(items)) => items.get(*index)?,
                _ => return None,
            };
        }
        Some(value)
    }

    /// The table at a path.
    pub fn table(&self, path: &[Part]) -> Option<&DeTable<'i>> {
        if path.is_empty() { Some(self.0.get_ref()) } else { self.value(path)?.get_ref().as_table() }
    }

    /// The places by which the table at a path may be known: its key's and its own.
    pub fn spans(&self, path: &[Part]) -> Vec<Range<usize>> {
        let Some(value) = self.value(path) else { return vec![self.0.span()] };
        let mut spans = vec![value.span()];
        if let Some((Part::Key(key), parent)) = path.split_last()
            && let Some(table) = self.table(parent)
        {
            spans.extend(table.keys().filter(|name| name.get_ref() == key).map(Spanned::span));
        }
        spans
    }

    /// Takes an entry out.
    pub fn remove(&mut self, path: &[Part]) -> Option<Spanned<DeValue<'i>>> {
        let (last, parent) = path.split_last()?;
        match last {
            Part::Key(key) => take(self.table_mut(parent)?, key).map(|(_, value)| value),
            Part::Item(index) => {
                let DeValue::Array(items) = self.value_mut(parent)?.get_mut() else { return None };
                let taken = items.get(*index).cloned();
                let kept = items.iter().enumerate().filter(|(at, _)| at != index);
                *items = kept.map(|(_, item)| item.clone()).collect();
                taken
            }
        }
    }

    /// Gives an entry another key; its place stays. `false` when that key is there already.
    pub fn rename(&mut self, path: &[Part], to: &str) -> bool {
        let Some((Part::Key(key), parent)) = path.split_last() else { return false };
        let Some(table) = self.table_mut(parent) else { return false };
        if table.keys().any(|name| name.get_ref() == to) {
            return false;
        }
        let Some((name, value)) = take(table, key) else { return false };
        table.insert(Spanned::new(name.span(), DeString::Owned(to.into())), value);
        true
    }

    /// Makes one name of two: `[vlan.bond0.70]` was meant to be `[vlan."bond0.70"]`.
    pub fn join(&mut self, path: &[Part]) -> Option<String> {
        let [kind @ .., Part::Key(first), Part::Key(second)] = path else { return None };
        let joined = format!("{first}.{second}");
        let is_table = matches!(self.value(path)?.get_ref(), DeValue::Table(_));
        if !is_table || self.table(kind)?.keys().any(|name| *name.get_ref() == joined) {
            return None;
        }
        let upper = &path[..path.len() - 1];
        let (name, value) = take(self.table_mut(upper)?, second)?;
        // A table without a header of its own has the span of its key.
        let [own, key] = self.spans(upper).try_into().ok()?;
        if own == key && self.table(upper)?.is_empty() {
            self.remove(upper);
        }
        self.table_mut(kind)?.insert(Spanned::new(name.span(), DeString::Owned(joined.clone())), value);
        Some(joined)
    }

    /// Puts a value in that is not in the file.
    pub fn put(&mut self, table: &[Part], key: &str, value: DeValue<'i>) {
        if let Some(table) = self.table_mut(table) {
            take(table, key);
            table.insert(Spanned::new(NOWHERE, DeString::Owned(key.into())), Spanned::new(NOWHERE, value));
        }
    }

    fn table_mut(&mut self, path: &[Part]) -> Option<&mut DeTable<'i>> {
        if path.is_empty() {
            return Some(self.0.get_mut());
        }
        match self.value_mut(path)?.get_mut() {
            DeValue::Table(table) => Some(table),
            _ => None,
        }
    }

    fn value_mut(&mut self, path: &[Part]) -> Option<&mut Spanned<DeValue<'i>>> {
        let (first, rest) = path.split_first()?;
        let Part::Key(key) = first else { return None };
        let mut value = self.0.get_mut().iter_mut().find(|(name, _)| name.get_ref() == key)?.1;
        for part in rest {
            value = match (part, value.get_mut()) {
                (Part::Key(key), DeValue::Table(table)) => {
                    table.iter_mut().find(|(name, _)| name.get_ref() == key)?.1
                }
                (Part::Item(index), DeValue::Array(items)) => items.get_mut(*index)?,
                _ => return None,
            };
        }
        Some(value)
    }
}

type Entry<'i> = (Spanned<DeString<'i>>, Spanned<DeValue<'i>>);

fn take<'i>(table: &mut DeTable<'i>, key: &str) -> Option<Entry<'i>> {
    let name = table.keys().find(|name| name.get_ref() == key)?.clone();
    table.remove_entry(&name)
}

fn shifted<T>(spanned: Spanned<T>, by: usize) -> Spanned<T> {
    let Range { start, end } = spanned.span();
    Spanned::new(start + by..end + by, spanned.into_inner())
}

fn shifted_table(table: DeTable<'_>, by: usize) -> DeTable<'_> {
    table.into_iter().map(|(key, value)| (shifted(key, by), shifted_value(value, by))).collect()
}

fn shifted_value(value: Spanned<DeValue<'_>>, by: usize) -> Spanned<DeValue<'_>> {
    let place = shifted(Spanned::new(value.span(), ()), by).span();
    let value = match value.into_inner() {
        DeValue::Table(table) => DeValue::Table(shifted_table(table, by)),
        DeValue::Array(items) => {
            let mut moved = DeArray::new();
            items.into_iter().for_each(|item| moved.push(shifted_value(item, by)));
            DeValue::Array(moved)
        }
        plain => plain,
    };
    Spanned::new(place, value)
}

fn number_table<'i>(table: &DeTable<'i>, path: &mut Vec<Part>, places: &mut Vec<Place>) -> DeTable<'i> {
    let mut numbered = DeTable::new();
    for (key, value) in table {
        path.push(Part::Key(key.get_ref().to_string()));
        let at = places.len();
        places.push(Place { path: path.clone(), is_key: true, span: key.span() });
        let value = number_value(value, path, places);
        numbered.insert(Spanned::new(at..at, key.get_ref().clone()), value);
        path.pop();
    }
    numbered
}

/// Where an array belongs: first part of the path, its length, last part.
pub const ARRAYS: [(&str, usize, &str); 33] = [
    ("expect", 1, "expect"),
    ("fault", 5, "children"),
    ("fault", 5, "priorities"),
    ("fault", 5, "queues"),
    ("hypothesis", 3, "inject"),
    ("machine", 2, "cmdline"),
    ("machine", 2, "without_modules"),
    ("mitigation", 3, "steps"),
    ("ns", 3, "masquerade"),
    ("ns", 3, "neighbours"),
    ("ns", 3, "routes"),
    ("ns", 3, "rules"),
    ("ns", 5, "addresses"),
    ("ns", 5, "arp_ip_target"),
    ("ns", 5, "device_selectors"),
    ("ns", 5, "fdb"),
    ("ns", 5, "filters"),
    ("ns", 5, "mdb"),
    ("ns", 5, "ns_ip6_target"),
    ("ns", 5, "peer_addresses"),
    ("ns", 5, "ports"),
    ("ns", 5, "source_addresses"),
    ("ns", 5, "vlans"),
    ("ns", 6, "children"),
    ("ns", 6, "priorities"),
    ("ns", 6, "queues"),
    ("ns", 7, "vlans"),
    ("report", 2, "evidence"),
    ("report", 2, "floods"),
    ("step", 1, "step"),
    ("step", 4, "arp_ip_target"),
    ("step", 4, "networks"),
    ("step", 4, "ns_ip6_target"),
];

/// serde would take an array for a table, its items for the table's keys in their order. Elsewhere than here an array
/// is shown to it as a float, which nothing takes.
fn takes_array(path: &[Part]) -> bool {
    let (Some(Part::Key(first)), Some(Part::Key(last))) = (path.first(), path.last()) else { return false };
    // A network's keys are taken as they come, and judged by the plugin's rules.
    let of_network = first == "net" && path.len() > 2;
    of_network || ARRAYS.contains(&(first.as_str(), path.len(), last.as_str()))
}

fn number_value<'i>(
    value: &Spanned<DeValue<'i>>,
    path: &mut Vec<Part>,
    places: &mut Vec<Place>,
) -> Spanned<DeValue<'i>> {
    let at = places.len();
    places.push(Place { path: path.clone(), is_key: false, span: value.span() });
    let numbered = match value.get_ref() {
        DeValue::Table(table) => DeValue::Table(number_table(table, path, places)),
        DeValue::Array(_) if !takes_array(path) => DeValue::Float(Default::default()),
        DeValue::Array(items) => {
            let mut numbered = DeArray::new();
            for (index, item) in items.iter().enumerate() {
                path.push(Part::Item(index));
                numbered.push(number_value(item, path, places));
                path.pop();
            }
            DeValue::Array(numbered)
        }
        plain => plain.clone(),
    };
    Spanned::new(at..at, numbered)
}
