//! The files of a topology as one document: each is parsed by itself, and what includes is put over what is included.

use toml::Spanned;
use toml::de::DeValue;

use crate::topology::check::plain;
use crate::topology::parse::diagnostic::Diagnostic;
use crate::topology::parse::document::{Document, Part};
use crate::topology::parse::overlay;
use crate::topology::parse::syntax::{self, Syntax};
use crate::topology::source::{KEY, Source};

/// Parses all files of a source, as far as they are TOML.
pub fn read(source: &Source) -> (Document<'_>, Syntax) {
    let mut whole: Option<(Document<'_>, Syntax)> = None;
    for file in source.files() {
        let text = &source.text()[file.range.clone()];
        let (document, errors) = Document::parse(text);
        let mut syntax = syntax::judge(text, &errors);
        plain::problems(document.root(), &mut syntax.problems);
        let mut document = document;
        if let Some(list) = document.remove(&[Part::Key(KEY.into())]) {
            syntax.problems.extend(problem(&list, source.is_followed()));
        }
        let start = file.range.start;
        for Diagnostic { span, .. } in &mut syntax.problems {
            *span = span.start + start..span.end + start;
        }
        let document = document.shifted(start);
        match &mut whole {
            None => whole = Some((document, syntax)),
            Some((below, known)) => {
                overlay::merge(below.root_mut(), document.root());
                known.problems.extend(syntax.problems);
                known.can_go_on &= syntax.can_go_on;
                known.lost_names.extend(syntax.lost_names);
            }
        }
    }
    whole.unwrap_or_else(|| (Document::parse("").0, syntax::judge("", &[])))
}

fn problem(list: &Spanned<DeValue<'_>>, is_followed: bool) -> Option<Diagnostic> {
    let is_name = |item: &Spanned<DeValue<'_>>| item.get_ref().is_str();
    let is_list = matches!(list.get_ref(), DeValue::Array(items) if items.iter().all(is_name));
    let (message, hint) = match (is_list, is_followed) {
        (false, _) => ("`include` is a list of file names", "write it so: include = [\"common.inc\"]"),
        (true, false) => (
            "a text without a folder includes nothing",
            "`lab` follows `include` where it reads the topology from a file by its name",
        ),
        (true, true) => return None,
    };
    Some(Diagnostic { span: list.span(), message: message.into(), hint: hint.into() })
}
