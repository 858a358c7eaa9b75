//! NetworkAttachmentDefinitions, CNI configurations and pods' annotations.

use crate::import::model::{Kind, Model, Network, PodRequest};
use crate::import::value::Value;
use crate::net::name::IfName;

/// Multus' annotation.
const ANNOTATION: &str = "k8s.v1.cni.cncf.io/networks";
/// Networks and pods of one import.
const MAX: usize = 16;

/// Whether a document is one of these.
pub fn is_known(value: &Value) -> bool {
    let kind = value.text_of("kind").unwrap_or_default();
    kind == "NetworkAttachmentDefinition" || annotation(value).is_some() || is_config(value)
}

/// A CNI configuration by itself.
fn is_config(value: &Value) -> bool {
    value.get("kind").is_none()
        && value.get("name").is_some()
        && (value.get("cniVersion").is_some() || value.get("delegate").is_some())
        && (value.get("type").is_some() || value.get("plugins").is_some())
}

fn annotation(value: &Value) -> Option<&Value> {
    let is_pod = |value: &Value| value.at(&["metadata", "annotations"])?.get(ANNOTATION).cloned();
    let template = value.at(&["spec", "template"]);
    match template {
        Some(template) if is_pod(template).is_some() => template.at(&["metadata", "annotations", ANNOTATION]),
        _ => value.at(&["metadata", "annotations", ANNOTATION]),
    }
}

/// Reads a document. `text` is the block it stands in: of a configuration by itself its own words are kept.
pub fn read(value: &Value, line: usize, model: &mut Model) {
    if let Some(annotation) = annotation(value) {
        model.found("pod annotation of Multus", line);
        let pod = value.at(&["metadata", "name"]).and_then(Value::text).unwrap_or("pod");
        request(pod, annotation, model);
    } else if is_config(value) {
        model.found("CNI configuration", line);
        let name = value.text_of("name").unwrap_or("network").to_owned();
        add(name, json(value, 0), value, model);
    } else {
        let Some(name) = value.at(&["metadata", "name"]).and_then(Value::text) else { return };
        model.found("NetworkAttachmentDefinition", line);
        let Some(config) = value.at(&["spec", "config"]).and_then(Value::text) else {
            if !model.networks.iter().any(|network| network.name == name) {
                model.note(format!("network {name}: it has no config, which is a file of the node then"));
            }
            return;
        };
        match serde_json::from_str::<Value>(config) {
            Ok(parsed) => add(name.to_owned(), config.to_owned(), &parsed, model),
            Err(error) => model.note(format!("network {name}: its config is no JSON: {error}")),
        }
    }
}

fn add(name: String, config: String, parsed: &Value, model: &mut Model) {
    if parsed.get("delegate").is_some() {
        model.note(format!(
            "network {name}: its addresses are given by the plugin it delegates from, which is not there"
        ));
        return;
    }
    let known = model.networks.iter().find(|network| network.name == name);
    // The same definition is found once more where a part of its block is one, too.
    if known
        .is_some_and(|known| serde_json::from_str::<Value>(&known.config).is_ok_and(|known| known == *parsed))
    {
        return;
    }
    let is_known = known.is_some();
    if is_known || model.networks.len() >= MAX {
        let why = if is_known { "there is another one of this name" } else { "there are too many" };
        model.note(format!("network {name}: {why}"));
        return;
    }
    for plugin in plugins(parsed) {
        devices(plugin, model);
    }
    model.networks.push(Network { name, config });
}

/// The plugins of a configuration.
pub fn plugins(value: &Value) -> Vec<&Value> {
    match value.items_of("plugins") {
        [] => vec![value],
        plugins => plugins.iter().collect(),
    }
}

/// The node has what a plugin takes.
fn devices(plugin: &Value, model: &mut Model) {
    let is_inside = |key| plugin.text_of(key) == Some("true");
    match plugin.text_of("type").unwrap_or_default() {
        "macvlan" | "ipvlan" | "vlan" if !is_inside("linkInContainer") => {
            let master = plugin.text_of("master").unwrap_or("eth0");
            let kind =
                if master.starts_with("bond") && !master.contains('.') { Kind::Bond } else { Kind::Unknown };
            model.kind(master, kind);
            let stem =
                master.split_once('.').map(|(stem, _)| stem).and_then(|stem| stem.parse::<IfName>().ok());
            let id = crate::import::ip_text::vlan_of_name(master);
            if let (Some(stem), Some(id)) = (stem, id)
                && let Some(link) = model.link(master).filter(|link| link.kind == Kind::Unknown)
            {
                (link.kind, link.vlan_id, link.parent) = (Kind::Vlan, Some(id), Some(stem));
            }
        }
        "host-device" => {
            if let Some(device) = plugin.text_of("device") {
                pooled(device, model);
            }
        }
        "bond" if !is_inside("linksInContainer") => {
            plugin
                .items_of("links")
                .iter()
                .filter_map(|link| link.text_of("name"))
                .for_each(|name| pooled(name, model));
        }
        _ => {}
    }
}

/// A NIC that goes into a pod.
fn pooled(name: &str, model: &mut Model) {
    model.kind(name, Kind::Nic);
    if let Some(link) = model.link(name) {
        link.is_pooled = true;
    }
}

fn request(pod: &str, annotation: &Value, model: &mut Model) {
    let parsed = annotation.text().and_then(|text| serde_json::from_str::<Value>(text).ok());
    let annotation = parsed.as_ref().unwrap_or(annotation);
    let networks: Vec<(String, Option<String>)> = match annotation {
        Value::List(items) => {
            let one = |item: &Value| {
                Some((item.text_of("name")?.to_owned(), item.text_of("interface").map(str::to_owned)))
            };
            items.iter().filter_map(one).collect()
        }
        Value::Text(text) => text.split(',').filter_map(entry).collect(),
        Value::Null | Value::Map(_) => Vec::new(),
    };
    if !networks.is_empty() && model.pods.len() < MAX {
        model.pods.push(PodRequest { pod: pod.to_owned(), networks });
    }
}

/// `namespace/network@interface`.
fn entry(text: &str) -> Option<(String, Option<String>)> {
    let text = text.trim();
    let text = text.rsplit_once('/').map_or(text, |(_, name)| name);
    let (name, interface) = match text.split_once('@') {
        Some((name, interface)) => (name, Some(interface.to_owned())),
        None => (text, None),
    };
    (!name.is_empty()).then(|| (name.to_owned(), interface))
}

/// A value as JSON; scalars that JSON has no quotes for are written without.
fn json(value: &Value, depth: usize) -> String {
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    match value {
        _ if depth > 64 => "null".into(),
        Value::Null => "null".into(),
        Value::Text(text) if matches!(text.as_str(), "true" | "false") || text.parse::<i64>().is_ok() => {
            text.clone()
        }
        Value::Text(text) => quoted(text),
        Value::List(items) => {
            let items: Vec<String> = items.iter().map(|item| json(item, depth + 1)).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Map(map) => {
            let entry =
                |(key, value): &(String, Value)| format!("{}: {}", quoted(key), json(value, depth + 1));
            format!("{{ {} }}", map.all().iter().map(entry).collect::<Vec<_>>().join(", "))
        }
    }
}
