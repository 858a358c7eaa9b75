//! `tc -j qdisc` and `tc -j filter`, with `-s` or without.

use crate::import::model::Model;
use crate::import::tc;
use crate::import::value::Value;

/// Whether a document is of this format.
pub fn is_known(value: &Value) -> bool {
    value.items().iter().any(|item| is_qdisc(item) || is_filter(item))
}

fn is_qdisc(item: &Value) -> bool {
    item.get("kind").is_some() && item.get("handle").is_some() && item.get("dev").is_some()
}

fn is_filter(item: &Value) -> bool {
    item.get("kind").is_some() && item.get("protocol").is_some() && item.get("pref").is_some()
}

/// Reads a document.
pub fn read(value: &Value, line: usize, model: &mut Model) {
    for item in value.items() {
        if is_qdisc(item) {
            model.found("tc -j qdisc", line);
            qdisc(item, model);
        } else if is_filter(item) {
            model.found("tc -j filter", line);
            filter(item, model);
        }
    }
}

fn qdisc(item: &Value, model: &mut Model) {
    let (Some(kind), Some(device)) = (item.text_of("kind"), item.text_of("dev")) else { return };
    if device == "lo" || model.link(device).is_none() {
        return;
    }
    let limit = item.at(&["options", "limit"]).and_then(Value::text).and_then(|limit| limit.parse().ok());
    let drops = item.number_of("drops");
    if matches!(kind, "clsact" | "ingress") {
        if let Some(link) = model.link(device) {
            link.filter_drops = drops.or(link.filter_drops);
        }
    } else if item.text_of("root") == Some("true") {
        tc::root(device, kind, limit, model);
        if let Some(queue) = model.link(device).and_then(|link| link.queue.as_mut()) {
            (queue.packets, queue.drops) = (item.number_of("packets"), drops);
        }
    } else {
        tc::leaf(device, kind, limit, model);
    }
}

fn filter(item: &Value, model: &mut Model) {
    // A filter has no handle in the entry that only opens its list.
    let Some(options) = item.get("options") else { return };
    let device = item.text_of("dev").unwrap_or("a device that the text does not name").to_owned();
    let hook = item.text_of("parent").unwrap_or("a hook that the text does not name").to_owned();
    let kind = item.text_of("kind").unwrap_or_default();
    if kind == "bpf" {
        let name = options.text_of("bpf_name").or_else(|| options.at(&["prog", "name"])?.text());
        tc::program_seen(&device, &hook, name.unwrap_or("without a name"), model);
    } else if let Some(handle) = options.text_of("handle").or_else(|| options.text_of("fh")) {
        tc::filter_seen(&device, &hook, kind, handle, model);
    }
}
