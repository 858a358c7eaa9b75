//! NetworkAttachmentDefinitions in a YAML text, each with the places of its name and of its configuration.

use std::ops::Range;

use granit_parser::{Event, Parser, ScalarStyle, ScanError, Span};

/// Mappings in mappings, at the most; a definition has three, a list of them two more.
const DEPTH_MAX: usize = 32;

/// A definition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Definition {
    /// `metadata.name`, and its place.
    pub(crate) name: Option<(Range<usize>, String)>,
    /// `metadata.namespace`.
    pub(crate) namespace: Option<String>,
    /// Whether it has a `metadata` at all.
    pub(crate) has_metadata: bool,
    /// `spec.config`: its place with quotes, or that of its key where it is no scalar.
    pub(crate) config: Range<usize>,
    /// How it is written; none where it is no scalar.
    pub(crate) style: Option<ScalarStyle>,
}

/// A document that is no YAML.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Broken {
    /// From where it cannot be read on to the document's end.
    pub(crate) span: Range<usize>,
    /// The parser's words.
    pub(crate) message: String,
}

/// The definitions of all documents, and the documents that mention a `config` and cannot be read.
///
/// What was pasted may be indented as a whole, with the marks between documents: these are found here, and each document is
/// parsed by itself.
pub(crate) fn definitions(text: &str) -> (Vec<Definition>, Vec<Broken>) {
    let (mut found, mut broken) = (Vec::new(), Vec::new());
    for document in documents(text) {
        let written = &text[document.clone()];
        match read(written, document.start) {
            Ok(root) => found.extend(roots(&root).filter_map(definition)),
            Err(error) if written.contains("config") => {
                let at = document.start + error.marker().byte_offset().unwrap_or(0).min(written.len());
                broken.push(Broken { span: at..document.end, message: error.info() });
            }
            Err(_) => {}
        }
    }
    (found, broken)
}

/// The places of documents: between lines that are `---`, however far these are indented.
fn documents(text: &str) -> Vec<Range<usize>> {
    let (mut found, mut start, mut here) = (Vec::new(), 0, 0);
    for line in text.split_inclusive('\n') {
        if line.trim() == "---" {
            found.push(start..here);
            start = here + line.len();
        }
        here += line.len();
    }
    found.push(start..text.len());
    found
}

/// A node with its place in the whole text.
#[derive(Debug)]
enum Node {
    Scalar {
        text: String,
        style: ScalarStyle,
        span: Range<usize>,
    },
    /// Keys that are scalars, with their places.
    Mapping(Vec<(String, Range<usize>, Node)>),
    Sequence(Vec<Node>),
    /// An alias, or nothing.
    Other,
}

impl Node {
    fn get(&self, name: &str) -> Option<(&Range<usize>, &Node)> {
        let Self::Mapping(entries) = self else { return None };
        entries.iter().find(|(key, ..)| key == name).map(|(_, span, value)| (span, value))
    }

    fn text(&self) -> Option<(&Range<usize>, &str)> {
        match self {
            Self::Scalar { text, span, .. } => Some((span, text)),
            _ => None,
        }
    }
}

/// A definition, or the definitions of a `kind: List`.
fn roots(root: &Node) -> impl Iterator<Item = &Node> {
    let items = match root.get("items") {
        Some((_, Node::Sequence(items))) => items.as_slice(),
        _ => &[],
    };
    std::iter::once(root).chain(items)
}

/// A definition, or its `spec` alone.
fn definition(root: &Node) -> Option<Definition> {
    let spec = root.get("spec").map(|(_, spec)| spec);
    let (key, config) = spec.and_then(|spec| spec.get("config")).or_else(|| root.get("config"))?;
    let metadata = root.get("metadata").map(|(_, metadata)| metadata);
    let of = |name: &str| metadata.and_then(|metadata| metadata.get(name)?.1.text());
    let (config, style) = match config {
        Node::Scalar { span, style, .. } => (span.clone(), Some(*style)),
        _ => (key.clone(), None),
    };
    Some(Definition {
        name: of("name").map(|(span, name)| (span.clone(), name.to_owned())),
        namespace: of("namespace").map(|(_, namespace)| namespace.to_owned()),
        has_metadata: metadata.is_some(),
        config,
        style,
    })
}

type Events<'t> = Parser<'t, granit_parser::StrInput<'t>>;

/// The first node of a text; `offset` is where the text begins.
fn read(text: &str, offset: usize) -> Result<Node, ScanError> {
    let mut events = Parser::new_from_str(text);
    let mut root = Node::Other;
    while let Some(next) = events.next() {
        let (event, span) = next?;
        if event.is_node() {
            root = node(&mut events, event, &span, offset, 0)?;
        }
    }
    Ok(root)
}

fn place(span: &Span, offset: usize) -> Range<usize> {
    let range = span.byte_range().unwrap_or_default();
    offset + range.start..offset + range.end
}

/// The node that begins with this event. What is nested deeper than [`DEPTH_MAX`] is passed over.
fn node(
    events: &mut Events<'_>,
    event: Event<'_>,
    span: &Span,
    offset: usize,
    depth: usize,
) -> Result<Node, ScanError> {
    match event {
        Event::Scalar(text, style, ..) => {
            Ok(Node::Scalar { text: text.into_owned(), style, span: place(span, offset) })
        }
        Event::MappingStart(..) | Event::SequenceStart(..) if depth == DEPTH_MAX => {
            let mut open = 1;
            while open > 0
                && let Some(next) = events.next()
            {
                match next?.0 {
                    Event::MappingStart(..) | Event::SequenceStart(..) => open += 1,
                    Event::MappingEnd | Event::SequenceEnd => open -= 1,
                    _ => {}
                }
            }
            Ok(Node::Other)
        }
        Event::MappingStart(..) => {
            let nodes = children(events, offset, depth)?;
            let mut entries = Vec::new();
            let mut nodes = nodes.into_iter();
            while let (Some(key), Some(value)) = (nodes.next(), nodes.next()) {
                if let Node::Scalar { text, span, .. } = key {
                    entries.push((text, span, value));
                }
            }
            Ok(Node::Mapping(entries))
        }
        Event::SequenceStart(..) => Ok(Node::Sequence(children(events, offset, depth)?)),
        _ => Ok(Node::Other),
    }
}

/// The nodes up to the end of the one that was begun; of a mapping, keys and values in turn.
fn children(events: &mut Events<'_>, offset: usize, depth: usize) -> Result<Vec<Node>, ScanError> {
    let mut nodes = Vec::new();
    while let Some(next) = events.next() {
        let (event, span) = next?;
        if matches!(event, Event::MappingEnd | Event::SequenceEnd) {
            break;
        }
        if event.is_node() {
            nodes.push(node(events, event, &span, offset, depth + 1)?);
        }
    }
    Ok(nodes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<String> {
        let named = |one: Definition| one.name.map(|(_, name)| name).unwrap_or_default();
        definitions(text).0.into_iter().map(named).collect()
    }

    /// YAML that lines, keys and indentation alone do not tell.
    #[rstest::rstest]
    #[case::in_flow_style("{metadata: {labels: {name: x}, name: a}, spec: {config: '{}'}}", &["a"])]
    #[case::quoted_keys("\"metadata\":\n  'name': a\nspec:\n  \"config\": '{}'\n", &["a"])]
    #[case::value_on_the_next_line("metadata:\n  name:\n    a\nspec:\n  config:\n    '{}'\n", &["a"])]
    #[case::config_of_something_else("metadata:\n  name: a\nspec:\n  template:\n    config: x\n  config: '{}'\n", &["a"])]
    #[case::configmap("kind: ConfigMap\nmetadata:\n  name: x\ndata:\n  config: '{}'\n", &[])]
    #[case::list("kind: List\nitems:\n- metadata: {name: a}\n  spec: {config: '{}'}\n- metadata: {name: b}\n  spec: {config: '{}'}\n", &["a", "b"])]
    #[case::escapes("metadata:\n  name: \"\\x61\"\nspec:\n  config: '{}'\n", &["a"])]
    #[case::tagged("metadata:\n  name: !!str a\nspec:\n  config: '{}'\n", &["a"])]
    #[case::broken_neighbour("a: [1\n---\nmetadata:\n  name: a\nspec:\n  config: '{}'\n", &["a"])]
    fn definitions_are_found(#[case] text: &str, #[case] expected: &[&str]) {
        assert_eq!(names(text), expected);
    }

    #[test]
    fn a_document_that_is_no_yaml_has_its_place() {
        let text = "metadata:\n  name: a\n---\nspec:\n  config: '{\n";
        let (found, broken) = definitions(text);
        assert!(found.is_empty(), "{found:?}");
        assert_eq!(broken.len(), 1, "{broken:?}");
        assert!(text[broken[0].span.clone()].starts_with('\''), "{broken:?}");
        assert!(!broken[0].message.is_empty());
    }

    #[test]
    fn no_text_does_harm() {
        let text = "metadata:\n  name: \u{e4}\nspec:\n  config: |\n    {\"a\": 'x'}\n  b: [1, {c: *d}, &d !e f]\n---\n- ? x\n";
        for (end, _) in text.char_indices() {
            definitions(&text[..end]);
            definitions(&text[end..]);
        }
        for deep in ["[", "{a: ", "- ", "? "] {
            definitions(&format!("config: {}", deep.repeat(10_000)));
            definitions(&deep.repeat(10_000));
        }
    }
}
