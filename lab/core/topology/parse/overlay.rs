//! What is made in another way under a hypothesis: `[hypothesis.NAME.with]` has namespaces with their links as the file itself, and is
//! put over them. The result is read and checked as a file of its own, in which each value keeps its place.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use crate::topology::parse::diagnostic::Diagnostic;
use crate::topology::parse::document::{Document, Part};

/// What hypotheses have it under.
const KEY: &str = "with";
/// The one table that it may change.
const NAMESPACES: &str = "ns";
/// Hypotheses of one file that have one, at the most: each is a file that is read and checked.
const OVERLAYS_MAX: usize = 16;

/// What one hypothesis makes in another way.
#[derive(Debug)]
pub struct Overlay<'i> {
    /// The hypothesis.
    pub name: String,
    /// The place of its key `with`, or its table's.
    pub span: Range<usize>,
    /// Whether it has nothing but what may differ.
    pub is_plain: bool,
    table: DeTable<'i>,
}

/// All of a document, in the order of the file. Tells of keys that cannot differ between explanations.
pub fn find<'i>(document: &Document<'i>, problems: &mut Vec<Diagnostic>) -> Vec<Overlay<'i>> {
    let Some(hypotheses) = document.table(&[Part::Key("hypothesis".into())]) else { return Vec::new() };
    let mut found = Vec::new();
    for (name, hypothesis) in hypotheses {
        let DeValue::Table(hypothesis) = hypothesis.get_ref() else { continue };
        let Some((key, with)) = hypothesis.iter().find(|(key, _)| key.get_ref() == KEY) else { continue };
        // The reader reports what is no table.
        let DeValue::Table(table) = with.get_ref() else { continue };
        let others: Vec<_> = table.keys().filter(|key| key.get_ref() != NAMESPACES).collect();
        let is_plain = others.is_empty();
        problems.extend(others.into_iter().map(cannot_differ));
        let table = table.iter().filter(|(key, _)| key.get_ref() == NAMESPACES);
        let table = table.map(|(key, value)| (key.clone(), value.clone())).collect();
        found.push(Overlay { name: name.get_ref().to_string(), span: key.span(), is_plain, table });
    }
    found.sort_by_key(|overlay| overlay.span.start);
    if let Some(overlay) = found.get(OVERLAYS_MAX) {
        let message =
            format!("{} hypotheses with `with`, {OVERLAYS_MAX} at the most in one file", found.len());
        let hint = "make several topologies of it".into();
        problems.push(Diagnostic { span: overlay.span.clone(), message, hint });
        found.truncate(OVERLAYS_MAX);
    }
    found
}

fn cannot_differ(key: &Spanned<DeString<'_>>) -> Diagnostic {
    let word = key.get_ref();
    let hint = match word.as_ref() {
        "kernel" | "machine" => {
            "all explanations are tried in one machine: make a variant of it ([parameters]), or another topology"
        }
        "fault" => "name faults in `inject`, beside `with`",
        _ => "`with` changes namespaces and their links: [hypothesis.NAME.with.ns.NAMESPACE.KIND.DEVICE]",
    };
    let message = format!("`{word}` cannot differ between explanations");
    Diagnostic { span: key.span(), message, hint: hint.into() }
}

impl<'i> Overlay<'i> {
    /// The document with this put over it: tables are merged, any other value takes the place of the one that is there.
    pub fn over(&self, document: &Document<'i>) -> Document<'i> {
        let mut changed = document.clone();
        merge(changed.root_mut(), &self.table);
        changed
    }
}

/// Puts a table over another one: tables are merged, any other value takes the place of the one that is there.
pub(crate) fn merge<'i>(table: &mut DeTable<'i>, over: &DeTable<'i>) {
    for (key, value) in over {
        let known =
            table.iter_mut().find(|(known, _)| known.get_ref() == key.get_ref()).map(|(_, value)| value);
        match known {
            Some(known) => match (known.get_mut(), value.get_ref()) {
                (DeValue::Table(known), DeValue::Table(over)) => merge(known, over),
                _ => *known = value.clone(),
            },
            None => drop(table.insert(key.clone(), value.clone())),
        }
    }
}
