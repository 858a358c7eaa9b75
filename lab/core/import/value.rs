//! YAML and JSON as one kind of value.

use std::cell::Cell;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};

/// A value; keys keep their order. The parsers bound its depth.
#[derive(Debug, Clone, PartialEq, Hash)]
pub enum Value {
    /// Nothing.
    Null,
    /// A number, a truth value or a text, as text.
    Text(String),
    /// A list.
    List(Vec<Value>),
    /// A map.
    Map(Map),
}

/// Entries of a map, and which of them a reader has asked for.
#[derive(Debug, Clone)]
pub struct Map {
    entries: Vec<(String, Value)>,
    asked: Vec<Cell<bool>>,
}

impl Map {
    fn new(entries: Vec<(String, Value)>) -> Self {
        Self { asked: vec![Cell::new(false); entries.len()], entries }
    }

    /// All of them; none counts as asked for.
    pub fn all(&self) -> &[(String, Value)] {
        &self.entries
    }
}

impl PartialEq for Map {
    fn eq(&self, other: &Self) -> bool {
        self.entries == other.entries
    }
}

impl Hash for Map {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.entries.hash(state);
    }
}

/// Paths that [`Value::unread`] gives at the most, and how deep it looks.
const UNREAD_MAX: usize = 200;
const DEPTH_MAX: usize = 64;

impl Value {
    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&Value> {
        let Self::Map(map) = self else { return None };
        let at = map.entries.iter().position(|(name, _)| name == key)?;
        map.asked[at].set(true);
        Some(&map.entries[at].1)
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
        let Self::Map(map) = self else { return &[] };
        map.asked.iter().for_each(|asked| asked.set(true));
        &map.entries
    }

    /// Keys of a map, for a look at what there is.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        let entries = match self {
            Self::Map(map) => map.all(),
            _ => &[],
        };
        entries.iter().map(|(key, _)| key.as_str())
    }

    /// Takes all that is in it as asked for: it is of no use.
    pub fn pass_over(&self) {
        self.pass_over_below(0);
    }

    fn pass_over_below(&self, depth: usize) {
        let entries = self.entries().iter().map(|(_, value)| value);
        let below = entries.chain(self.items()).filter(|_| depth < DEPTH_MAX);
        below.for_each(|value| value.pass_over_below(depth + 1));
    }

    /// Whether it says that something is there: not off, not zero, not empty.
    pub fn says_something(&self) -> bool {
        match self {
            Self::Null => false,
            Self::Text(text) => !matches!(text.as_str(), "" | "0" | "false" | "off" | "none" | "disabled"),
            Self::List(items) => !items.is_empty(),
            Self::Map(map) => !map.entries.is_empty(),
        }
    }

    /// Paths of entries that no reader has asked for and that are of use, without what stands below them, each once.
    pub fn unread(&self, is_of_use: &dyn Fn(&str, &Value) -> bool) -> Vec<String> {
        let mut all = Vec::new();
        self.unread_below("", 0, is_of_use, &mut all);
        all
    }

    fn unread_below(
        &self,
        path: &str,
        depth: usize,
        is_of_use: &dyn Fn(&str, &Value) -> bool,
        all: &mut Vec<String>,
    ) {
        if depth > DEPTH_MAX || all.len() >= UNREAD_MAX {
            return;
        }
        match self {
            Self::Null | Self::Text(_) => {}
            Self::List(items) => {
                items.iter().for_each(|item| item.unread_below(path, depth + 1, is_of_use, all))
            }
            Self::Map(map) => {
                for ((key, value), asked) in map.entries.iter().zip(&map.asked) {
                    let own = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                    if asked.get() {
                        value.unread_below(&own, depth + 1, is_of_use, all);
                    } else if is_of_use(key, value) && !all.contains(&own) {
                        all.push(own);
                    }
                }
            }
        }
    }

    /// Entries of the map of a key.
    pub fn entries_of(&self, key: &str) -> &[(String, Value)] {
        self.get(key).map_or(&[], Value::entries)
    }

    /// A number that values have in common only if they are the same.
    pub fn digest(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.hash(&mut hasher);
        hasher.finish()
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
        Ok(Value::Map(Map::new(map)))
    }
}
