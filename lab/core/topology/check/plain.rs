//! Texts of a topology file: what would do something to whoever reads a report is refused where it stands.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::net::clean::is_unsafe;
use crate::topology::parse::diagnostic::Diagnostic;
use crate::topology::parse::document::NOWHERE;

/// What is no plain text in a file: names are one line, other texts may have several.
pub fn problems(table: &DeTable<'_>, found: &mut Vec<Diagnostic>) {
    for (key, value) in table {
        look(key.get_ref(), &key.span(), is_unsafe, found);
        look_into(value, found);
    }
}

fn look_into(value: &Spanned<DeValue<'_>>, found: &mut Vec<Diagnostic>) {
    match value.get_ref() {
        DeValue::String(text) => {
            let is_unsafe = |c| is_unsafe(c) && !matches!(c, '\n' | '\r' | '\t');
            look(text, &value.span(), is_unsafe, found);
        }
        DeValue::Array(items) => items.iter().for_each(|item| look_into(item, found)),
        DeValue::Table(table) => problems(table, found),
        _ => {}
    }
}

fn look(text: &str, span: &Range<usize>, is_unsafe: impl Fn(char) -> bool, found: &mut Vec<Diagnostic>) {
    if let Some(c) = text.chars().find(|c| is_unsafe(*c))
        && *span != NOWHERE
    {
        found.push(Diagnostic {
            span: span.clone(),
            message: format!("a text with the character U+{:04X}", u32::from(c)),
            hint: "remove it: control characters and marks of direction would reach terminals and reports"
                .into(),
        });
    }
}
