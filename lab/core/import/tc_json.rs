//! `tc -j qdisc` and `tc -j filter`, with `-s` or without.

use crate::import::model::Model;
use crate::import::tc;
use crate::import::value::Value;

/// Whether a document is of this format.
pub fn is_known(value: &Value) -> bool {
    value.items().iter().any(|item| is_qdisc(item) || is_filter(item))
}

/// `tc -j qdisc show dev X` prints no `dev` (`print_qdisc()` of iproute2).
fn is_qdisc(item: &Value) -> bool {
    let has = |key: &str| item.get(key).is_some();
    has("kind") && has("handle") && (has("dev") || has("root") || has("parent"))
}

fn is_filter(item: &Value) -> bool {
    item.get("kind").is_some() && item.get("protocol").is_some() && item.get("pref").is_some()
}

/// Reads a document. What it does not name is what the command above asked for.
pub fn read(value: &Value, line: usize, model: &mut Model) {
    let command = model.command.clone().unwrap_or_default();
    let (device, hook) = tc::asked(&command).unwrap_or_default();
    for item in value.items() {
        let device = item.text_of("dev").or(device);
        if is_qdisc(item) {
            model.found("tc -j qdisc", line);
            match device {
                Some(device) => qdisc(item, device, model),
                None => model.note("tc -j qdisc: the text does not name its device"),
            }
        } else if is_filter(item) {
            model.found("tc -j filter", line);
            filter(item, device, hook, model);
        }
    }
}

fn qdisc(item: &Value, device: &str, model: &mut Model) {
    let Some(kind) = item.text_of("kind") else { return };
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

fn filter(item: &Value, device: Option<&str>, hook: Option<&str>, model: &mut Model) {
    // A filter has no handle in the entry that only opens its list.
    let Some(options) = item.get("options") else { return };
    let device = device.unwrap_or("a device that the text does not name").to_owned();
    let hook = item.text_of("parent").or(hook).unwrap_or("a hook that the text does not name").to_owned();
    let kind = item.text_of("kind").unwrap_or_default();
    if kind == "bpf" {
        let name = options.text_of("bpf_name").or_else(|| options.at(&["prog", "name"])?.text());
        tc::program_seen(&device, &hook, name.unwrap_or("without a name"), model);
    } else if let Some(handle) = options.text_of("handle").or_else(|| options.text_of("fh")) {
        tc::filter_seen(&device, &hook, kind, handle, model);
    }
}
