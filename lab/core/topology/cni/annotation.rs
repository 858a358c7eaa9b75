//! The networks a pod asks for, as the annotation `k8s.v1.cni.cncf.io/networks` has them: Multus' JSON or its short form.

use std::cell::RefCell;
use std::net::IpAddr;
use std::ops::Range;

use crate::net::address::Cidr;
use crate::topology::cni::config::Table;
use crate::topology::cni::paste::Place;
use crate::topology::cni::tree::{Mistake, Tree};
use crate::topology::cni::{Annotation, Request, json};
use crate::topology::file::At;

/// What a `NetworkSelectionElement` of Multus may have besides, and the lab does not implement.
const NOT_DONE: [&str; 7] = [
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
    let keys = ["name", "namespace", "interface", "ips", "mac"];
    table.unknown_keys(&keys, &keys, &NOT_DONE);
    let name = table.required_text("name", "that of a network");
    let namespace = table.text("namespace").map(|namespace| namespace.value);
    let ifname = table.if_name("interface");
    let mac = table.parsed("mac", "an Ethernet address");
    let ips = table.list("ips").unwrap_or_default().iter().filter_map(|item| ip(item, &table)).collect();
    let request = Request { ips, mac };
    Some((Annotation { network: name?.value, namespace, ifname, request }, item.span.clone()))
}

/// An address, with its prefix length or without (`parsePodNetworkAnnotation()` of Multus takes both).
fn ip(item: &At<Tree>, table: &Table<'_>) -> Option<(IpAddr, Option<u8>)> {
    let Tree::Text(text) = &item.value else {
        table.tell(&item.span, format!("an address is a text, not {}", item.value.what()), "quote it");
        return None;
    };
    let with_prefix = text.parse().map(|cidr: Cidr| (cidr.address, Some(cidr.prefix)));
    let found = with_prefix.ok().or_else(|| text.parse().ok().map(|address| (address, None)));
    if found.is_none() {
        table.tell(&item.span, format!("`{text}` is no address"), "write 10.1.0.5/24");
    }
    found
}

fn short(text: &str, span: &Range<usize>, mistakes: &RefCell<Vec<Mistake>>) -> Option<Entry> {
    match Annotation::parse(text) {
        Ok(entry) => Some((entry, span.clone())),
        Err(message) => {
            let hint = "write `network@interface`, or `namespace/network@interface`".into();
            mistakes.borrow_mut().push(Mistake { span: span.clone(), message, hint });
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
            let namespace = entry.namespace.as_ref().map(|name| format!("{name}/")).unwrap_or_default();
            format!("{namespace}{}{ifname}", entry.network)
        };
        if mistakes.is_empty() { Ok(entries.iter().map(shown).collect()) } else { Err(mistakes) }
    }

    #[test]
    fn multus_forms_are_the_same() {
        let json = "[\n{\"name\": \"sriov-net\",\n\"namespace\": \"default\", \"interface\": \"net1\"\n},\n{\"name\": \"bond-net\"}]";
        let short = " default/sriov-net@net1, bond-net";
        for text in [json, short] {
            assert_eq!(texts(Tree::Text(text.into())).unwrap(), ["default/sriov-net@net1", "bond-net"]);
        }
    }

    #[test]
    fn what_a_pod_asks_for_is_read() {
        let text = r#"[{"name": "a", "ips": ["10.0.0.5/24", "fd00::5"], "mac": "02:00:5e:00:53:05"}]"#;
        let (entries, mistakes) = read(&At { value: Tree::Text(text.into()), span: 0..0 });
        assert!(mistakes.is_empty(), "{mistakes:?}");
        let Request { ips, mac } = &entries[0].0.request;
        assert_eq!(*ips, [("10.0.0.5".parse().unwrap(), Some(24)), ("fd00::5".parse().unwrap(), None)]);
        assert_eq!(*mac, "02:00:5e:00:53:05".parse().ok());
    }

    #[rstest::rstest]
    #[case("[{ \"name\": \"a\", \"bandwidth\": {} }]", "`bandwidth`")]
    #[case("[{ \"name\": \"a\", \"ips\": [\"10.0.0.1/33\"] }]", "10.0.0.1/33")]
    #[case("[{ \"name\": \"a\", \"ips\": \"10.0.0.1/24\" }]", "`ips` is a list")]
    #[case("[{ \"name\": \"a\", \"mac\": \"02:00\" }]", "02:00")]
    #[case("a/b/c", "a/b/c")]
    #[case("a@b@c", "a@b@c")]
    #[case("/c", "/c")]
    #[case("[{ \"name\": \"a\", \"interfaces\": \"net1\" }]", "`interfaces`")]
    #[case("[{ \"interface\": \"net1\" }]", "`name` is missing")]
    #[case("[{ \"name\": \"a\" ]", "")]
    #[case("a@b:c", "interface name")]
    fn mistakes_are_reported(#[case] text: &str, #[case] expected: &str) {
        let mistakes = texts(Tree::Text(text.into())).unwrap_err();
        assert!(mistakes.iter().any(|mistake| mistake.message.contains(expected)), "{mistakes:?}");
    }
}
