//! A CNI configuration as written, in TOML or in JSON: values with their places, nothing interpreted yet.

use std::fmt;
use std::ops::Range;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};

use crate::topology::file::At;

/// One value. Keys keep their order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tree {
    /// JSON has it, TOML has not.
    Null,
    /// A truth value.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A number with a fraction or an exponent, or a date: as text, no plugin takes one.
    Other(String),
    /// A text.
    Text(String),
    /// A list.
    List(Vec<At<Tree>>),
    /// An object, or a table.
    Table(Vec<(At<String>, At<Tree>)>),
}

impl Tree {
    /// What it is, in words.
    pub fn what(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a truth value",
            Self::Int(_) => "a number",
            Self::Other(_) => "a number with a fraction, or a date",
            Self::Text(_) => "a text",
            Self::List(_) => "a list",
            Self::Table(_) => "an object",
        }
    }
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TreeVisitor)
    }
}

struct TreeVisitor;

impl<'de> Visitor<'de> for TreeVisitor {
    type Value = Tree;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value of a network configuration")
    }
    fn visit_bool<E>(self, value: bool) -> Result<Tree, E> {
        Ok(Tree::Bool(value))
    }
    fn visit_i64<E>(self, value: i64) -> Result<Tree, E> {
        Ok(Tree::Int(value))
    }
    fn visit_f64<E>(self, value: f64) -> Result<Tree, E> {
        Ok(Tree::Other(value.to_string()))
    }
    fn visit_str<E>(self, value: &str) -> Result<Tree, E> {
        Ok(Tree::Text(value.into()))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Tree, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Tree::List(list))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Tree, A::Error> {
        let mut table: Vec<(At<String>, At<Tree>)> = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            table.push(entry);
        }
        // toml hands them out by the alphabet.
        table.sort_by_key(|(key, _)| key.span.start);
        Ok(Tree::Table(table))
    }
}

/// What is wrong with a configuration: place, message, hint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// In bytes, from the start of whatever was read.
    pub span: Range<usize>,
    /// A lowercase fragment.
    pub message: String,
    /// What to do about it.
    pub hint: String,
}
