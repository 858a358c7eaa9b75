//! YAML and JSON as one kind of value, and the documents that stand in a text.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};

use crate::import::text::Block;

/// Documents of one text at the most.
const DOCUMENTS_MAX: usize = 500;
/// A block of which the end is missing is tried without its last lines, this often.
const CUTS_MAX: usize = 12;
/// Only blocks up to this size are tried more than once, in bytes.
const RETRY_BYTES_MAX: usize = 64 * 1024;

/// A value; keys keep their order. The parsers bound its depth.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Nothing.
    Null,
    /// A number, a truth value or a text, as text.
    Text(String),
    /// A list.
    List(Vec<Value>),
    /// A map.
    Map(Vec<(String, Value)>),
}

impl Value {
    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&Value> {
        let Self::Map(entries) = self else { return None };
        entries.iter().find(|(name, _)| name == key).map(|(_, value)| value)
    }

    /// The value at the end of a path of keys.
    pub fn at(&self, path: &[&str]) -> Option<&Value> {
        path.iter().try_fold(self, |value, key| value.get(key))
    }

    /// A scalar.
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The scalar of a key.
    pub fn text_of(&self, key: &str) -> Option<&str> {
        self.get(key)?.text()
    }

    /// The number of a key.
    pub fn number_of<T: std::str::FromStr>(&self, key: &str) -> Option<T> {
        self.text_of(key)?.parse().ok()
    }

    /// Items of a list; of anything else, none.
    pub fn items(&self) -> &[Value] {
        match self {
            Self::List(items) => items,
            _ => &[],
        }
    }

    /// Items of the list of a key.
    pub fn items_of(&self, key: &str) -> &[Value] {
        self.get(key).map_or(&[], Value::items)
    }

    /// Scalars of the list of a key.
    pub fn texts_of(&self, key: &str) -> impl Iterator<Item = &str> {
        self.items_of(key).iter().filter_map(Value::text)
    }

    /// Entries of a map; of anything else, none.
    pub fn entries(&self) -> &[(String, Value)] {
        match self {
            Self::Map(entries) => entries,
            _ => &[],
        }
    }

    /// Entries of the map of a key.
    pub fn entries_of(&self, key: &str) -> &[(String, Value)] {
        self.get(key).map_or(&[], Value::entries)
    }

    /// The text of a list of scalars, with commas, or of a scalar.
    pub fn joined(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::List(items) => items.iter().filter_map(Value::text).collect::<Vec<_>>().join(","),
            Self::Null | Self::Map(_) => String::new(),
        }
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }
    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        Value::deserialize(deserializer)
    }
    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Text(value.to_string()))
    }
    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Text(value.to_string()))
    }
    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Text(value.to_string()))
    }
    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Text(value.to_string()))
    }
    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::Text(value.to_owned()))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Value::List(list))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Vec::new();
        while let Some((key, value)) = entries.next_entry::<Value, Value>()? {
            map.push((key.joined(), value));
        }
        Ok(Value::Map(map))
    }
}

/// A document and the line where its block begins.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    /// From 1.
    pub line: usize,
    /// All of it.
    pub value: Value,
}

/// All documents that can be read out of blocks, each once. `is_known` says which are of a format that is imported.
pub fn documents(blocks: &[Block], is_known: impl Fn(&Value) -> bool) -> Vec<Document> {
    let mut found: Vec<Document> = Vec::new();
    for block in blocks {
        for value in parsed(&block.text).into_iter().flat_map(unlisted) {
            let is_new = !found.iter().any(|known| known.value == value || has_part(&known.value, &value));
            if is_known(&value) && is_new && found.len() < DOCUMENTS_MAX {
                found.push(Document { line: block.line, value });
            }
        }
    }
    found
}

/// `kubectl get -o yaml` of several objects is one of kind `List`.
fn unlisted(value: Value) -> Vec<Value> {
    match value {
        Value::Map(entries)
            if entries.iter().any(|(key, value)| key == "kind" && value.text() == Some("List")) =>
        {
            let items = entries.into_iter().find(|(key, _)| key == "items").map(|(_, items)| items);
            match items {
                Some(Value::List(items)) => items,
                _ => Vec::new(),
            }
        }
        other => vec![other],
    }
}

/// Whether a document is a part of one that was read before: a region of the same text.
fn has_part(whole: &Value, part: &Value) -> bool {
    let is_here = match (whole, part) {
        (Value::Map(_), Value::Map(entries)) => {
            !entries.is_empty() && entries.iter().all(|(key, value)| whole.get(key) == Some(value))
        }
        (Value::List(items), Value::List(parts)) => parts.iter().all(|part| items.contains(part)),
        _ => false,
    };
    is_here
        || whole.items().iter().any(|item| has_part(item, part))
        || whole.entries().iter().any(|(_, value)| has_part(value, part))
}

/// The documents of a block, as far as they can be parsed.
fn parsed(text: &str) -> Vec<Value> {
    if text.trim_start().starts_with(['{', '[']) {
        let mut values = serde_json::Deserializer::from_str(text).into_iter::<Value>();
        return values.by_ref().map_while(Result::ok).take(DOCUMENTS_MAX).collect();
    }
    if let Ok(all) = serde_saphyr::from_multiple::<Value>(text) {
        return all;
    }
    // One document that is none (a template, a text cut short) does not spoil the others.
    let documents = text.split("\n---");
    documents
        .filter(|document| document.len() <= RETRY_BYTES_MAX)
        .take(DOCUMENTS_MAX)
        .filter_map(shortened)
        .collect()
}

/// A document without what stands after the place where it was cut off.
fn shortened(text: &str) -> Option<Value> {
    let text = text.trim_start_matches(['-', '\n']);
    let whole = text.find("[...]").map_or(text, |at| &text[..at]);
    let lines: Vec<&str> = whole.lines().collect();
    (0..CUTS_MAX.min(lines.len())).find_map(|cut| {
        let text = lines[..lines.len() - cut].join("\n");
        serde_saphyr::from_str::<Value>(&text)
            .ok()
            .filter(|value| !matches!(value, Value::Text(_) | Value::Null))
    })
}

/// Runs of lines that begin with a key of a known format, for texts that have YAML without a mark around it.
pub fn regions(lines: &[crate::import::text::Line<'_>]) -> Vec<Block> {
    let keys = [
        "interfaces:",
        "network:",
        "machine:",
        "apiVersion:",
        "version:",
        "links:",
        "networkInterfaces:",
        "nodes:",
        "bond:",
        "- interface:",
        "- deviceSelector:",
        "addresses:",
    ];
    let mut found = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let text = line.text.trim_start();
        let is_json = line.text.starts_with(['{']) || line.text.starts_with("[{") || line.text == "[";
        if is_json && found.len() < 200 {
            // The parser finds where the value ends.
            let rest = lines[at..].iter().take(5000).map(|line| line.text);
            found.push(Block { line: line.number, text: rest.collect::<Vec<_>>().join("\n") });
            continue;
        }
        if !keys.iter().any(|key| text.starts_with(key)) || found.len() >= 200 {
            continue;
        }
        let indent = line.text.len() - text.len();
        let is_inside = |line: &&crate::import::text::Line<'_>| {
            let text = line.text.trim_start();
            let own = line.text.len() - text.len();
            let is_yaml =
                text.starts_with(['-', '#', '"', '\'']) || text.contains(": ") || text.ends_with(':');
            text.is_empty() || own > indent || (own == indent && is_yaml && text != "---")
        };
        let inside = lines[at + 1..].iter().take_while(is_inside).take(2000);
        let all = std::iter::once(line).chain(inside);
        let texts: Vec<&str> = all.map(|line| line.text.get(indent..).unwrap_or_default()).collect();
        found.push(Block { line: line.number, text: texts.join("\n") });
    }
    found
}
