//! From text to [`TopologyFile`], with every mistake found, not just the first.
//!
//! serde stops at its first mistake. Here what is at fault is mended in the document (a misspelt key renamed, a wrong
//! value taken out, a missing one put in) and it is read again, until nothing is left to tell. What was mended is
//! remembered, so that nothing is reported twice and nothing that only follows from it is reported at all.

use std::collections::BTreeSet;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeArray, DeString, DeTable, DeValue};

use crate::topology::file::TopologyFile;
use crate::topology::parse::diagnostic::Diagnostic;
use crate::topology::parse::document::{Document, NOWHERE, Part, Place, Refusal};
use crate::topology::parse::explain::{Explanation, explain};
use crate::topology::parse::format;
use crate::topology::parse::parameters::{self, Setting};
use crate::topology::parse::{files, overlay};
use crate::topology::source::Source;

/// Mistakes of one file that are reported; a file with more is not a topology.
const MISTAKES_MAX: usize = 200;

/// What an entry with an unreadable name is called; the kernel takes it, so a file may in theory use it.
const LOST_NAME: &str = "--lost-";

/// What could be read.
pub struct Read {
    /// `None` when nothing could.
    pub file: Option<TopologyFile>,
    /// What was wrong so far.
    pub problems: Vec<Diagnostic>,
    /// What was mended.
    pub lost: Lost,
    /// How many variants the file has.
    pub variants: usize,
    /// What tells this one's name from the others'.
    pub name_suffix: String,
    /// What hypotheses make in another way.
    pub alternatives: Vec<Alternative>,
}

/// The whole file as one hypothesis has it.
pub struct Alternative {
    /// The hypothesis.
    pub name: String,
    /// Where it says so.
    pub span: Range<usize>,
    /// Whether it changes nothing but what may differ.
    pub is_plain: bool,
    /// The file.
    pub read: Read,
}

/// What is not in the file that was read, though it is in the text: an absence that is no mistake of its own.
#[derive(Debug, Clone, Default)]
pub struct Lost {
    names: BTreeSet<String>,
    texts: BTreeSet<String>,
    fields: BTreeSet<(usize, usize, String)>,
}

impl Lost {
    /// Whether everything could be read.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty() && self.fields.is_empty()
    }

    /// Whether a reference to this name may lead to something that could not be read.
    pub fn name(&self, name: &str) -> bool {
        self.names.contains(name)
    }

    /// Whether something that could not be read mentions this name, or had one of the keys under which it would be.
    pub fn may_mention(&self, name: &str, keys: &[&str]) -> bool {
        self.texts.contains(name) || self.fields.iter().any(|(_, _, key)| keys.contains(&key.as_str()))
    }

    /// Whether the table at this place (its own or its key's) had something under this key.
    pub fn field(&self, table: &Range<usize>, key: &str) -> bool {
        self.fields.contains(&(table.start, table.end, key.to_owned()))
    }

    /// Whether the table at this place (its own or its key's) had anything more.
    pub fn any_field(&self, table: &Range<usize>) -> bool {
        self.fields.iter().any(|(start, end, _)| (*start, *end) == (table.start, table.end))
    }

    /// Remembers a name that leads to something found wrong.
    pub fn add_name(&mut self, name: &str) {
        self.names.insert(name.into());
    }

    fn add_reference(&mut self, text: &str) {
        self.names.insert(text.into());
        self.names.extend(text.split_once(':').map(|(_, device)| device.to_owned()));
    }

    /// Remembers everything a value holds that others may refer to.
    fn add_value(&mut self, value: &DeValue<'_>) {
        match value {
            DeValue::Table(table) => {
                for (key, value) in table {
                    self.names.insert(key.get_ref().to_string());
                    // A cable that cannot be read still has a far end.
                    if key.get_ref() == "peer"
                        && let Some(peer) = value.get_ref().as_str()
                    {
                        self.add_reference(peer);
                    }
                    self.add_value(value.get_ref());
                }
            }
            DeValue::Array(items) => items.iter().for_each(|item| self.add_value(item.get_ref())),
            DeValue::String(text) => {
                self.texts.insert(text.to_string());
            }
            _ => {}
        }
    }

    /// Remembers that all tables on the way to an entry lack something.
    fn add_path(&mut self, document: &Document<'_>, path: &[Part]) {
        for (depth, part) in path.iter().enumerate() {
            if let Part::Key(key) = part {
                for span in document.spans(&path[..depth]) {
                    self.fields.insert((span.start, span.end, key.clone()));
                }
            }
        }
    }
}

/// Whether a name was made up here.
pub fn is_lost_name(name: &str) -> bool {
    name.starts_with(LOST_NAME)
}

/// Whether a message is about a name that was made up here.
pub fn mentions_lost_name(message: &str) -> bool {
    message.contains(LOST_NAME)
}

/// Reads one variant of a topology file as far as it can be read.
pub fn read(source: &Source, set: &[Setting], variant: usize) -> Read {
    let text = source.text();
    let (mut document, mut syntax) = files::read(source);
    let mut lost = Lost::default();
    lost.names.extend(std::mem::take(&mut syntax.lost_names));
    if !syntax.can_go_on {
        return read_nothing(syntax.problems, lost);
    }
    if let Some(problem) = format::take(&mut document) {
        return read_nothing(vec![problem], lost);
    }
    let parameters = parameters::take(&mut document, set, &mut syntax.problems);
    parameters.put(&mut document, variant, &mut syntax.problems);
    let alternatives =
        overlay::find(&document, &mut syntax.problems).into_iter().map(|overlay| Alternative {
            read: read_document(overlay.over(&document), text, syntax.problems.clone(), lost.clone()),
            name: overlay.name,
            span: overlay.span,
            is_plain: overlay.is_plain,
        });
    let alternatives = alternatives.collect();
    let read = read_document(document, text, syntax.problems, lost);
    let (variants, name_suffix) = (parameters.variants(), parameters.name_suffix(variant));
    Read { variants, name_suffix, alternatives, ..read }
}

fn read_nothing(problems: Vec<Diagnostic>, lost: Lost) -> Read {
    let (name_suffix, alternatives) = (String::new(), Vec::new());
    Read { file: None, problems, lost, variants: 1, name_suffix, alternatives }
}

fn read_document(document: Document<'_>, text: &str, problems: Vec<Diagnostic>, lost: Lost) -> Read {
    let done = |file, reader: Reader<'_>| Read { file, ..read_nothing(reader.problems, reader.lost) };
    let mut reader = Reader { document, problems, lost, renamed: 0 };
    for _ in 0..MISTAKES_MAX {
        match reader.document.read() {
            Ok(file) => return done(Some(file), reader),
            Err(refusal) if reader.mend(&refusal) => {}
            Err(_) => break,
        }
    }
    if reader.problems.len() >= MISTAKES_MAX {
        reader.problems.push(Diagnostic {
            span: text.len()..text.len(),
            message: format!("more than {MISTAKES_MAX} mistakes; the rest was not looked for"),
            hint: "correct these first".into(),
        });
    }
    done(None, reader)
}

struct Reader<'i> {
    document: Document<'i>,
    problems: Vec<Diagnostic>,
    lost: Lost,
    renamed: usize,
}

impl Reader<'_> {
    /// Tells a mistake and changes the document so that the next one shows; `false` when that cannot be done.
    fn mend(&mut self, refusal: &Refusal) -> bool {
        let Place { path, is_key, span } = &refusal.place;
        let value = self.document.value(path).map(Spanned::get_ref);
        let explanation = explain(&refusal.message, value);
        match &explanation.missing {
            Some(key) => {
                let table_spans = self.document.spans(path);
                if !table_spans.iter().any(|span| self.lost.field(span, key)) {
                    self.tell(span, &explanation);
                }
                self.put_substitution(path, key) || self.take_out(path)
            }
            None if explanation.unknown_key && is_two_names(path) && self.document.join(path).is_some() => {
                let message = "a name with a dot and without quotes is two names".to_owned();
                let hint = "write it in quotes, for example: [ns.node.vlan.\"bond0.70\"]".to_owned();
                self.problems.push(Diagnostic { span: span.clone(), message, hint });
                true
            }
            None => {
                self.tell(span, &explanation);
                match (is_key, &explanation.meant) {
                    (true, Some(word)) if self.document.rename(path, word) => true,
                    (true, None) if !explanation.unknown_key => self.rename_lost(path),
                    _ => self.take_out(path),
                }
            }
        }
    }

    /// Notes a mistake, unless TOML itself has something to say about the same place.
    fn tell(&mut self, span: &Range<usize>, explanation: &Explanation) {
        let told = |problem: &Diagnostic| {
            problem.span == *span || problem.span.start < span.end && span.start < problem.span.end
        };
        let is_one_value = explanation.missing.is_none() && !explanation.unknown_key;
        if *span != NOWHERE && !(is_one_value && self.problems.iter().any(told)) {
            self.problems.push(Diagnostic {
                span: span.clone(),
                message: explanation.message.clone(),
                hint: explanation.hint.clone(),
            });
        }
    }

    fn take_out(&mut self, path: &[Part]) -> bool {
        self.lost.add_path(&self.document, path);
        if let Some(Part::Key(key)) = path.last() {
            self.lost.names.insert(key.clone());
        }
        let Some(value) = self.document.remove(path) else { return false };
        self.lost.add_value(value.get_ref());
        // What stands in the place of a link may be meant as the link's far end.
        if let ([Part::Key(ns), _, _, _], Some(text)) = (path, value.get_ref().as_str())
            && ns == "ns"
        {
            self.lost.add_reference(text);
        }
        true
    }

    /// An entry whose name is wrong is kept under another, so that the mistakes inside it show.
    fn rename_lost(&mut self, path: &[Part]) -> bool {
        let Some(Part::Key(key)) = path.last() else { return false };
        self.lost.names.insert(key.clone());
        let name = format!("{LOST_NAME}{}", self.renamed);
        self.renamed += 1;
        self.document.rename(path, &name)
    }

    /// Puts a value in for a missing one: the first of a few that is readable there.
    fn put_substitution(&mut self, table: &[Part], key: &str) -> bool {
        let mut path = table.to_vec();
        path.push(Part::Key(key.to_owned()));
        self.lost.add_path(&self.document, &path);
        for value in substitutions() {
            self.document.put(table, key, value);
            match self.document.read() {
                Err(refusal) if refusal.place.path.starts_with(&path) => {}
                _ => return true,
            }
        }
        self.document.remove(&path);
        false
    }
}

/// Whether a table under a link's name may be the second half of that name.
fn is_two_names(path: &[Part]) -> bool {
    matches!(path, [Part::Key(ns), _, Part::Key(_), Part::Key(_), Part::Key(second)] if ns == "ns" && second != "qdisc")
}

/// Values one of which suits any key that cannot be left out.
fn substitutions() -> Vec<DeValue<'static>> {
    let text = |text: &'static str| DeValue::String(DeString::Borrowed(text));
    let mut table = DeTable::new();
    table.insert(Spanned::new(NOWHERE, DeString::Borrowed("kind")), Spanned::new(NOWHERE, text(LOST_NAME)));
    vec![
        text("--lost-:--lost-"),
        text(LOST_NAME),
        text("default"),
        text("0.0.0.0"),
        text("active-backup"),
        text("egress"),
        DeValue::Integer(Default::default()),
        DeValue::Array(DeArray::new()),
        DeValue::Table(table),
    ]
}
