//! Flags and priority maps of a VLAN, as `ip -d link` shows them.

use toml::Value as Toml;

use crate::import::model::{Link, Model};
use crate::import::value::Value;

/// `VLAN_FLAG_*` as iproute2 writes them, and what a VLAN has without being asked.
const FLAGS: [(&str, &str, bool); 5] = [
    ("REORDER_HDR", "reorder_hdr", true),
    ("GVRP", "gvrp", false),
    ("LOOSE_BINDING", "loose_binding", false),
    ("MVRP", "mvrp", false),
    ("BRIDGE_BINDING", "bridge_binding", false),
];

/// Priorities of one map at the most: those of a tag, and more of the kernel's than anybody has.
const PRIORITIES_MAX: usize = 64;

/// Keeps the flags that are not as without being asked.
fn keep<'t>(link: &mut Link, shown: impl Iterator<Item = &'t str>) {
    let shown: Vec<&str> = shown.collect();
    for (word, key, default) in FLAGS {
        let is_on = shown.contains(&word);
        if is_on == default {
            link.settings.shift_remove(key);
        } else {
            link.settings.insert(key, is_on.into());
        }
    }
}

/// `<REORDER_HDR,GVRP>` in the line of the kind.
pub fn of_line(link: &mut Link, text: &str) {
    let flags = text.split_once('<').and_then(|(_, rest)| rest.split_once('>'));
    if let Some((flags, _)) = flags {
        keep(link, flags.split(',').map(str::trim));
    }
}

/// `egress-qos-map { 1:2 }`, on a line of its own; whether it was one.
pub fn map_of_line(device: &str, text: &str, model: &mut Model) -> bool {
    let key = match text.split_whitespace().next() {
        Some("ingress-qos-map") => "ingress_qos_map",
        Some("egress-qos-map") => "egress_qos_map",
        _ => return false,
    };
    let pairs =
        text.split_once('{').and_then(|(_, rest)| rest.split_once('}')).map_or("", |(pairs, _)| pairs);
    let pairs = pairs.split_whitespace().filter_map(|pair| {
        let (from, to) = pair.split_once(':')?;
        Some((from.parse().ok()?, to.parse().ok()?))
    });
    if let Some(link) = model.link(device) {
        map(link, key, pairs);
    }
    true
}

fn map(link: &mut Link, key: &'static str, pairs: impl Iterator<Item = (u32, u32)>) {
    let table: toml::Table =
        pairs.take(PRIORITIES_MAX).map(|(from, to)| (from.to_string(), i64::from(to).into())).collect();
    if !table.is_empty() {
        link.settings.insert(key, Toml::Table(table));
    }
}

/// The same in `-j`.
pub fn of_json(link: &mut Link, data: &Value) {
    if data.get("flags").is_some() {
        keep(link, data.texts_of("flags"));
    }
    for (name, key) in [("ingress_qos", "ingress_qos_map"), ("egress_qos", "egress_qos_map")] {
        let pairs = data.items_of(name).iter();
        map(link, key, pairs.filter_map(|pair| Some((pair.number_of("from")?, pair.number_of("to")?))));
    }
}
