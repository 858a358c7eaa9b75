//! What people paste: JSON, or the YAML of a NetworkAttachmentDefinition with the JSON in it; and where it stands in the file.

use std::ops::Range;

use granit_parser::ScalarStyle;

use crate::topology::cni::tree::{Mistake, Tree};
use crate::topology::cni::yaml::{self, Broken, Definition};
use crate::topology::file::At;

/// What to do where the JSON cannot be taken out.
const ALONE: &str = "paste the JSON alone, without the YAML around it";

/// Where a text's bytes stand in the file, so that a mistake inside it has a line and a column there.
pub(crate) struct Place {
    /// The whole value.
    span: Range<usize>,
    /// Of the text's first byte; `None` when escapes were used, and bytes of the text are not those of the file.
    start: Option<usize>,
}

impl Place {
    pub(crate) fn of(span: &Range<usize>, text: &str) -> Self {
        let around = span.len().checked_sub(text.len());
        // On one line, a text in plain quotes has a backslash before each quote in it.
        let quotes = text.matches('"').count();
        let escaped = quotes > 0 && !text.contains('\n') && around == Some(2 + quotes);
        // 'x', '''x''', and the latter with a line break after the first quotes, which TOML leaves out.
        let closing = match around {
            Some(2) => Some(1),
            Some(6..=8) if !escaped => Some(3),
            _ => None,
        };
        Self { span: span.clone(), start: closing.map(|closing| span.end - closing - text.len()) }
    }

    /// The place of a part of the text, from this byte on.
    pub(crate) fn from(self, offset: usize) -> Self {
        Self { start: self.start.map(|start| start + offset), ..self }
    }

    pub(crate) fn in_file(&self, span: &Range<usize>) -> Range<usize> {
        self.start.map_or_else(|| self.span.clone(), |start| start + span.start..start + span.end)
    }

    pub(crate) fn moved(&self, mistake: Mistake) -> Mistake {
        Mistake { span: self.in_file(&mistake.span), ..mistake }
    }

    pub(crate) fn tree(&self, tree: At<Tree>) -> At<Tree> {
        let value = match tree.value {
            Tree::List(items) => Tree::List(items.into_iter().map(|item| self.tree(item)).collect()),
            Tree::Table(entries) => {
                let key = |key: At<String>| At { span: self.in_file(&key.span), value: key.value };
                Tree::Table(entries.into_iter().map(|(name, value)| (key(name), self.tree(value))).collect())
            }
            plain => plain,
        };
        At { value, span: self.in_file(&tree.span) }
    }
}

/// The JSON in what was pasted for `[net.NAME]`, and the definition's namespace. Of several YAML documents it is that of the
/// definition of this name.
///
/// # Errors
/// No definition of this name, or one whose JSON cannot be taken out as it stands.
pub(crate) fn json_of(text: &str, name: &str) -> Result<(Range<usize>, Option<String>), Mistake> {
    let is_json = text.trim_start().starts_with(['{', '[']);
    let (definitions, broken) = if is_json { Default::default() } else { yaml::definitions(text) };
    if let (true, Some(Broken { span, message })) = (definitions.is_empty(), broken.into_iter().next()) {
        let message = format!("this is no YAML: {message}");
        return Err(Mistake { span, message, hint: ALONE.into() });
    }
    let Some(first) = definitions.first() else { return Ok((0..text.len(), None)) };
    let named = definitions.iter().find(|one| one.name.as_ref().is_some_and(|(_, is)| is == name));
    let taken = |definition: &Definition| Ok((scalar(text, definition)?, definition.namespace.clone()));
    match (named, &definitions[..]) {
        (Some(definition), _) => taken(definition),
        // Without `metadata` somebody has pasted the `spec` alone.
        (None, [only]) if only.name.is_none() && !only.has_metadata => taken(only),
        _ => {
            let names: Vec<&str> =
                definitions.iter().filter_map(|one| Some(one.name.as_ref()?.1.as_str())).collect();
            let span = first.name.as_ref().map_or_else(|| first.config.clone(), |(span, _)| span.clone());
            let hint = match names.as_slice() {
                [] => "write its `name` below `metadata`".into(),
                [only] => format!("an annotation knows it as `{only}`: write [net.{only}]"),
                _ => format!("there are: {}", names.join(", ")),
            };
            Err(Mistake { span, message: format!("no definition of `{name}` is pasted here"), hint })
        }
    }
}

/// The place of a configuration's JSON, as far as it needs no unfolding: white space means nothing to JSON.
fn scalar(text: &str, definition: &Definition) -> Result<Range<usize>, Mistake> {
    let Range { start, end } = definition.config;
    let mistake =
        |message: &str| Err(Mistake { span: start..end, message: message.into(), hint: ALONE.into() });
    match definition.style {
        Some(ScalarStyle::SingleQuoted) if text[start + 1..end - 1].contains('\'') => {
            mistake("a quote in quotes cannot be taken out as it stands")
        }
        Some(ScalarStyle::SingleQuoted) => Ok(start + 1..end - 1),
        Some(ScalarStyle::Literal | ScalarStyle::Folded) => Ok(start..end),
        _ => mistake("`config` is neither in single quotes nor a block"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: &str = "   ---\n   kind: IPPool\n   metadata:\n     name: mypool\n   ---\n   metadata:\n     name: a\n   spec:\n     \
        config: '{ \"type\":\n     \"bond\" }'\n   ---\n   metadata:\n     name: b\n     annotations:\n       name: c\n   spec:\n     \
        config: |-\n       { \"type\": 1 }\n   ---\n   kind: Pod\n";

    #[rstest::rstest]
    #[case("{ \"config\": 1 }", "x", "{ \"config\": 1 }")]
    #[case(TWO, "a", "{ \"type\":\n     \"bond\" }")]
    #[case(TWO, "b", "{ \"type\": 1 }\n")]
    #[case("spec:\n  config: '{}'\n", "x", "{}")]
    fn the_json_is_taken_out(#[case] text: &str, #[case] name: &str, #[case] expected: &str) {
        assert_eq!(&text[json_of(text, name).unwrap().0], expected);
    }

    /// Whatever stands before it, in it, and after it.
    #[rstest::rstest]
    #[case("metadata:\n  namespace: kube-system\n  name: a\nspec:\n  config: '{}'\n", Some("kube-system"))]
    #[case("metadata:\n  labels:\n    name: x\n    namespace: y\n  name: a\nspec:\n  config: '{}'\n", None)]
    #[case("spec:\n  config: '{\n  \"name\": \"x\"}'\nmetadata:\n  name: a # not x\n", None)]
    #[case("spec:\n  config: |\n    { \"x\":\n    \"name: x\" }\nmetadata:\n  name: 'a'\n", None)]
    #[case("metadata: { name: a, namespace: n }\nspec:\n  config: '{}'\n", Some("n"))]
    #[case("# of the guide\nkind: N\nmetadata:\n\n  name: \"a\"\nspec: \n  name: x\n  config: '{}'\n", None)]
    fn a_definitions_name_is_that_of_its_metadata(#[case] text: &str, #[case] namespace: Option<&str>) {
        let (_, found) = json_of(text, "a").expect("it is there");
        assert_eq!(found.as_deref(), namespace);
        let other = json_of(text, "x").expect_err("nobody is called so");
        assert!(other.hint.contains("[net.a]"), "{other:?}");
    }

    #[rstest::rstest]
    #[case("metadata:\n  labels:\n    name: x\nspec:\n  config: '{}'\n", "below `metadata`")]
    #[case(TWO, "there are: a, b")]
    #[case("metadata:\n  name: a\nspec:\n  config: '{}'\n", "write [net.a]")]
    #[case("spec:\n  config: '{'' }'\n", "the JSON alone")]
    #[case("spec:\n  config: '{\n", "the JSON alone")]
    #[case("spec:\n  config: \"{}\"\n", "the JSON alone")]
    fn what_cannot_be_taken_is_reported(#[case] text: &str, #[case] hint: &str) {
        let mistake = json_of(text, "x").unwrap_err();
        assert!(mistake.hint.contains(hint), "{mistake:?}");
    }
}
