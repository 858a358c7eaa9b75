//! nmstate, by itself or in a NodeNetworkConfigurationPolicy.

use crate::import::model::{Kind, Model};
use crate::import::routing::{self, Written};
use crate::import::value::Value;
use crate::import::{ip_rule, options};

/// The state in a document.
fn state(value: &Value) -> &Value {
    value.at(&["spec", "desiredState"]).or_else(|| value.get("desiredState")).unwrap_or(value)
}

/// Whether a document is of this format.
pub fn is_known(value: &Value) -> bool {
    let is_interface = |item: &Value| item.get("name").is_some() && item.get("type").is_some();
    state(value).items_of("interfaces").iter().any(is_interface)
}

/// Reads a document.
pub fn read(value: &Value, line: usize, model: &mut Model) {
    model.found("nmstate", line);
    let state = state(value);
    for interface in state.items_of("interfaces") {
        let Some(name) = interface.text_of("name") else { continue };
        if interface.text_of("state") == Some("absent") {
            model.note(format!("{name}: it is to be absent"));
        } else if model.link(name).is_none() {
            model.note(format!("{name}: it is no device's name"));
        } else {
            self::interface(name, interface, model);
        }
    }
    let routes = state.at(&["routes", "config"]).map_or(&[][..], Value::items);
    for route in routes {
        let written = Written {
            to: route.text_of("destination").unwrap_or_default(),
            via: route.text_of("next-hop-address"),
            dev: route.text_of("next-hop-interface").unwrap_or_default(),
            // 0 is main there.
            table: route.text_of("table-id").filter(|table| *table != "0"),
            metric: route.text_of("metric").filter(|metric| *metric != "-1"),
            src: route.text_of("source"),
            ..Written::default()
        };
        routing::add(&written, model);
    }
    let rules = state.at(&["route-rules", "config"]).map_or(&[][..], Value::items);
    rules.iter().for_each(|value| rule(value, model));
}

/// An entry of `route-rules`.
fn rule(value: &Value, model: &mut Model) {
    if value.text_of("state") == Some("absent") {
        return;
    }
    let is_ipv6 = value.text_of("family") == Some("ipv6");
    let mut words = Vec::new();
    for (key, value) in value.entries() {
        let value = value.text().unwrap_or_default();
        let word = match (key.as_str(), value) {
            ("ip-from", _) => "from",
            ("ip-to", _) => "to",
            // nmstate chooses one then, and 0 is main.
            ("priority", "-1") | ("route-table", "0") | ("family" | "state", _) => continue,
            ("route-table", _) => "table",
            ("action", action) => {
                words.push(action);
                continue;
            }
            (other, _) => other,
        };
        words.extend([word, value]);
    }
    ip_rule::configured(&words, is_ipv6, model);
}

fn interface(name: &str, value: &Value, model: &mut Model) {
    let word = value.text_of("type").unwrap_or_default();
    let kind = match word {
        "bond" => Kind::Bond,
        "vlan" => Kind::Vlan,
        "linux-bridge" => Kind::Bridge,
        "ethernet" => Kind::Nic,
        "dummy" => Kind::Dummy,
        "mac-vlan" => Kind::Macvlan,
        _ => {
            if let Some(link) = model.link(name) {
                (link.kind, link.kind_word) = (Kind::Other, format!("type {word} of nmstate"));
            }
            return;
        }
    };
    model.kind(name, kind);
    let base = |section: &str| value.at(&[section, "base-iface"]).and_then(Value::text)?.parse().ok();
    let parent = base("vlan").or_else(|| base("mac-vlan"));
    if let Some(link) = model.link(name) {
        link.parent = parent.or(link.parent.take());
        link.vlan_id =
            value.at(&["vlan", "id"]).and_then(Value::text).and_then(|id| id.parse().ok()).or(link.vlan_id);
        link.mtu = value.number_of("mtu").or(link.mtu);
        link.mac = value.text_of("mac-address").and_then(|mac| mac.to_lowercase().parse().ok()).or(link.mac);
        link.up = (value.text_of("state") == Some("down")).then_some(false).or(link.up);
    }
    if let Some(bond) = value.get("link-aggregation") {
        self::bond(name, bond, model);
    }
    for port in value.at(&["bridge", "port"]).map_or(&[][..], Value::items) {
        if let Some(port) = port.text_of("name") {
            model.port(name, port);
        }
    }
    for family in ["ipv4", "ipv6"] {
        for address in value.at(&[family, "address"]).map_or(&[][..], Value::items) {
            if let (Some(ip), Some(prefix)) = (address.text_of("ip"), address.text_of("prefix-length")) {
                model.address(name, &format!("{ip}/{prefix}"));
            }
        }
    }
    if value.at(&["ipv4", "dhcp"]).and_then(Value::text) == Some("true") {
        model.note(format!("{name}: its addresses are from DHCP; the text does not show them"));
    }
}

fn bond(name: &str, value: &Value, model: &mut Model) {
    if let Some(link) = model.link(name) {
        link.is_configuration = true;
    }
    for key in ["port", "ports", "slaves"] {
        value.texts_of(key).for_each(|port| model.port(name, port));
    }
    if let Some(mode) = value.text_of("mode") {
        options::set(model, name, "mode", mode);
    }
    for (key, option) in value.entries_of("options") {
        options::set(model, name, key, &option.joined());
    }
    for port in value.items_of("ports-config") {
        let name_of_port = port.text_of("name").unwrap_or_default();
        let mut asked = Vec::new();
        for (key, value) in port.entries().iter().filter(|(key, _)| key != "name") {
            if !options::set_of_port(model, name_of_port, key, &value.joined()) {
                asked.push(format!("{key} {}", value.joined()));
            }
        }
        let port = name_of_port;
        if !asked.is_empty() {
            model.note(format!("{port}, port of {name}: topologies do not have {}", asked.join(", ")));
        }
    }
}
