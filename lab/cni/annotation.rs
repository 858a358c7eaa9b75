//! The networks a pod asks for, as the annotation `k8s.v1.cni.cncf.io/networks` has them: Multus' JSON or its short form.

use std::cell::RefCell;
use std::ops::Range;

use super::config::Table;
use super::paste::Place;
use super::tree::{Mistake, Tree};
use super::{Annotation, json};
use crate::topology::file::At;

/// What a `NetworkSelectionElement` of Multus may have besides, and nobody here carries out.
const NOT_DONE: [&str; 9] = [
    "ips",
    "mac",
    "portMappings",
    "bandwidth",
    "infiniband-guid",
    "cni-args",
    "deviceID",
    "default-route",
    "ipam-claim-reference",
];

/// An entry, and its place.
pub type Entry = (Annotation, Range<usize>);

/// Reads a list of entries, or the annotation's own text: entries with commas between, or a JSON list of objects.
pub fn read(tree: &At<Tree>) -> (Vec<Entry>, Vec<Mistake>) {
    let mistakes = RefCell::new(Vec::new());
    let entries = match &tree.value {
        Tree::List(items) => items.iter().filter_map(|item| entry(item, &mistakes)).collect(),
        Tree::Text(text) if text.trim_start().starts_with('[') => {
            let place = Place::of(&tree.span, text);
            let (parsed, found) = json::parse(text);
            mistakes.borrow_mut().extend(found.into_iter().map(|mistake| place.moved(mistake)));
            match parsed.map(|parsed| place.tree(parsed)) {
                Some(At { value: Tree::List(items), .. }) => {
                    items.iter().filter_map(|item| entry(item, &mistakes)).collect()
                }
                _ => Vec::new(),
            }
        }
        Tree::Text(text) => {
            let one = |part: &str| short(part, &tree.span, &mistakes);
            text.split(',').filter(|part| !part.trim().is_empty()).filter_map(one).collect()
        }
        other => {
            let message = format!("the networks of a pod are a list or a text, not {}", other.what());
            let hint = "write [\"network@interface\"], or paste the annotation";
            mistakes.borrow_mut().push(Mistake { span: tree.span.clone(), message, hint: hint.into() });
            Vec::new()
        }
    };
    (entries, mistakes.into_inner())
}

fn entry(item: &At<Tree>, mistakes: &RefCell<Vec<Mistake>>) -> Option<Entry> {
    if let Tree::Text(text) = &item.value {
        return short(text, &item.span, mistakes);
    }
    let table = Table::of(item, &item.span, mistakes)?;
    table.unknown_keys(&["name", "namespace", "interface"], &["name", "namespace", "interface"], &NOT_DONE);
    let name = table.required_text("name", "that of a network");
    let ifname = table.if_name("interface");
    Some((Annotation { network: name?.value, ifname }, item.span.clone()))
}

fn short(text: &str, span: &Range<usize>, mistakes: &RefCell<Vec<Mistake>>) -> Option<Entry> {
    match Annotation::parse(text) {
        Ok(entry) => Some((entry, span.clone())),
        Err(error) => {
            let hint = "write `network@interface`".into();
            mistakes.borrow_mut().push(Mistake { span: span.clone(), message: error.to_string(), hint });
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(value: Tree) -> Result<Vec<String>, Vec<Mistake>> {
        let (entries, mistakes) = read(&At { value, span: 0..0 });
        let shown = |(entry, _): &Entry| {
            let ifname = entry.ifname.as_ref().map(|name| format!("@{name}")).unwrap_or_default();
            format!("{}{ifname}", entry.network)
        };
        if mistakes.is_empty() { Ok(entries.iter().map(shown).collect()) } else { Err(mistakes) }
    }

    #[test]
    fn multus_forms_are_the_same() {
        let json = "[\n{\"name\": \"sriov-net\",\n\"interface\": \"net1\"\n},\n{\"name\": \"bond-net\"}]";
        let short = " default/sriov-net@net1, bond-net";
        for text in [json, short] {
            assert_eq!(texts(Tree::Text(text.into())).unwrap(), ["sriov-net@net1", "bond-net"]);
        }
    }

    #[rstest::rstest]
    #[case("[{ \"name\": \"a\", \"ips\": [\"10.0.0.1/24\"] }]", "`ips`")]
    #[case("[{ \"name\": \"a\", \"interfaces\": \"net1\" }]", "`interfaces`")]
    #[case("[{ \"interface\": \"net1\" }]", "`name` is missing")]
    #[case("[{ \"name\": \"a\" ]", "")]
    #[case("a@b:c", "interface name")]
    fn mistakes_are_told(#[case] text: &str, #[case] expected: &str) {
        let mistakes = texts(Tree::Text(text.into())).unwrap_err();
        assert!(mistakes.iter().any(|mistake| mistake.message.contains(expected)), "{mistakes:?}");
    }
}
