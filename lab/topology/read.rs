//! From text to [`TopologyFile`], with every mistake found, not just the first.
//!
//! serde stops at its first error. Here the entry at fault is taken out of the document and it is read again, until
//! what is left can be read; what was taken out is remembered, so that nothing is reported twice.

use std::ops::Range;

use serde::Deserialize;
use toml::de::{DeTable, DeValue, Deserializer};

use super::diagnostic::Diagnostic;
use super::file::TopologyFile;

/// Mistakes of one file that are looked for; a file with more is not a topology.
const MISTAKES_MAX: usize = 200;

/// What could be read.
pub struct Read {
    /// `None` when nothing could.
    pub file: Option<TopologyFile>,
    /// What was wrong so far.
    pub problems: Vec<Diagnostic>,
    /// Names of entries that were taken out: a reference to one of them is not a mistake of its own.
    pub lost: Vec<String>,
}

/// Reads a topology file as far as it can be read.
pub fn read(text: &str) -> Read {
    let (document, syntax_errors) = DeTable::parse_recoverable(text);
    let mut problems: Vec<Diagnostic> = syntax_errors
        .iter()
        .map(|error| Diagnostic {
            span: error.span().unwrap_or(0..0),
            message: error.message().lines().next().unwrap_or("not TOML").into(),
            hint: "the file must be TOML; strings need quotes, and a name with a dot in a header needs quotes too, \
                   as in [ns.node.vlan.\"bond0.70\"]"
                .into(),
        })
        .collect();
    if !problems.is_empty() {
        return Read { file: None, problems, lost: Vec::new() };
    }
    let mut document = document;
    let mut lost: Vec<Vec<String>> = Vec::new();
    for _ in 0..MISTAKES_MAX {
        let error = match TopologyFile::deserialize(Deserializer::from(document.clone())) {
            Ok(file) => return Read { file: Some(file), problems, lost: names_of(lost) },
            Err(error) => error,
        };
        let span = error.span().unwrap_or(0..0);
        let place = innermost(document.get_ref(), &span);
        if !follows_from_an_earlier_one(error.message(), &place, &lost) {
            problems.push(diagnose(error.message(), span));
        }
        if place.is_empty() {
            break;
        }
        remove(document.get_mut(), &place);
        lost.push(place);
    }
    Read { file: None, problems, lost: names_of(lost) }
}

/// Only an entry that was a table has a name that others may refer to; the last word of its path.
fn names_of(lost: Vec<Vec<String>>) -> Vec<String> {
    lost.into_iter().filter_map(|mut path| path.pop()).collect()
}

/// A required key that was taken out because its value was wrong is missing only because of that.
fn follows_from_an_earlier_one(message: &str, place: &[String], lost: &[Vec<String>]) -> bool {
    let Some(field) = message.strip_prefix("missing field `").and_then(|rest| rest.strip_suffix('`')) else {
        return false;
    };
    lost.iter().any(|path| path.split_last().is_some_and(|(last, parent)| last == field && parent == place))
}

/// The path of the smallest entry whose key or value covers `span`. Tables are searched whole: the span of a table
/// with a header covers the header only.
fn innermost(table: &DeTable<'_>, span: &Range<usize>) -> Vec<String> {
    let mut best: Option<(usize, Vec<String>)> = None;
    visit(table, &mut Vec::new(), &mut |path, candidate| {
        if candidate.start <= span.start && span.end <= candidate.end {
            let len = candidate.len();
            if best.as_ref().is_none_or(|(shortest, _)| len <= *shortest) {
                best = Some((len, path.to_vec()));
            }
        }
    });
    best.map(|(_, path)| path).unwrap_or_default()
}

fn visit(table: &DeTable<'_>, path: &mut Vec<String>, found: &mut impl FnMut(&[String], Range<usize>)) {
    for (key, value) in table {
        path.push(key.get_ref().to_string());
        found(path, key.span());
        visit_value(value, path, found);
        path.pop();
    }
}

fn visit_value(
    value: &toml::Spanned<DeValue<'_>>,
    path: &mut Vec<String>,
    found: &mut impl FnMut(&[String], Range<usize>),
) {
    found(path, value.span());
    match value.get_ref() {
        DeValue::Table(inner) => visit(inner, path, found),
        DeValue::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                path.push(index.to_string());
                visit_value(item, path, found);
                path.pop();
            }
        }
        _ => {}
    }
}

fn remove<'i>(table: &mut DeTable<'i>, path: &[String]) {
    let Some((first, rest)) = path.split_first() else { return };
    let key = table.keys().find(|key| key.get_ref() == first).cloned();
    let Some(key) = key else { return };
    if rest.is_empty() {
        table.remove(&key);
    } else if let Some(value) = table.get_mut(&key) {
        remove_from_value(value.get_mut(), rest);
    }
}

fn remove_from_value<'i>(value: &mut DeValue<'i>, path: &[String]) {
    match value {
        DeValue::Table(inner) => remove(inner, path),
        DeValue::Array(items) => {
            let Some((first, rest)) = path.split_first() else { return };
            let Ok(index) = first.parse::<usize>() else { return };
            if rest.is_empty() {
                let kept = items.iter().enumerate().filter(|(at, _)| *at != index);
                *items = kept.map(|(_, item)| item.clone()).collect();
            } else if let Some(item) = items.get_mut(index) {
                remove_from_value(item.get_mut(), rest);
            }
        }
        _ => {}
    }
}

fn diagnose(message: &str, span: Range<usize>) -> Diagnostic {
    let first_line = message.lines().next().unwrap_or(message);
    let (message, hint) = match first_line.split_once(", expected ") {
        Some((what, expected))
            if what.starts_with("unknown field") || what.starts_with("unknown variant") =>
        {
            (
                what.replace("unknown field", "unknown key").replace("unknown variant", "unknown word"),
                suggest(what, expected),
            )
        }
        _ if first_line.starts_with("missing field ") => {
            (first_line.replace("missing field", "missing key"), "this table cannot do without it".to_owned())
        }
        _ => (first_line.to_owned(), "give a value of the kind that is asked for".to_owned()),
    };
    Diagnostic { span, message, hint }
}

/// The known word nearest to the one written, if one is near, and all known ones.
fn suggest(what: &str, expected: &str) -> String {
    let written = what.split('`').nth(1).unwrap_or_default();
    let known: Vec<&str> = expected.split('`').skip(1).step_by(2).collect();
    let all = format!("known here: {}", known.join(", "));
    match super::check::nearest(written, known.iter().copied()) {
        Some(word) => format!("did you mean `{word}`? {all}"),
        None if known.is_empty() => "this table takes no keys".into(),
        None => all,
    }
}
