//! netplan (`network: version: 2`).

use crate::import::model::{Kind, Model};
use crate::import::routing::{self, Written, add_route};
use crate::import::value::Value;
use crate::import::{ip_rule, options};

const SECTIONS: [(&str, Kind); 5] = [
    ("ethernets", Kind::Nic),
    ("bonds", Kind::Bond),
    ("vlans", Kind::Vlan),
    ("bridges", Kind::Bridge),
    ("dummy-devices", Kind::Dummy),
];

/// Whether a document is of this format.
pub fn is_known(value: &Value) -> bool {
    let network = value.get("network").unwrap_or(value);
    SECTIONS.iter().any(|(section, _)| !network.entries_of(section).is_empty())
}

/// Reads a document.
pub fn read(value: &Value, line: usize, model: &mut Model) {
    model.found("netplan", line);
    let network = value.get("network").unwrap_or(value);
    for (section, kind) in SECTIONS {
        for (name, device) in network.entries_of(section) {
            // `set-name` is what the kernel calls it.
            let name = device.text_of("set-name").unwrap_or(name);
            if model.link(name).is_none() {
                model.note(format!("{name}: it is no device's name"));
                continue;
            }
            model.kind(name, kind);
            self::device(name, kind, device, model);
        }
    }
    for section in network.keys() {
        if ["tunnels", "wifis", "modems", "vrfs", "virtual-ethernets", "nm-devices"].contains(&section) {
            model.note(format!("{section} of netplan: topologies do not have them"));
        }
    }
}

fn device(name: &str, kind: Kind, value: &Value, model: &mut Model) {
    match kind {
        Kind::Bond => {
            value.texts_of("interfaces").for_each(|port| model.port(name, port));
            if let Some(link) = model.link(name) {
                link.is_configuration = true;
            }
            for (key, option) in value.entries_of("parameters") {
                options::set(model, name, key, &option.joined());
            }
        }
        Kind::Bridge => value.texts_of("interfaces").for_each(|port| model.port(name, port)),
        Kind::Vlan => {
            let parent = value.text_of("link").and_then(|parent| parent.parse().ok());
            if let Some(link) = model.link(name) {
                link.vlan_id = value.number_of("id");
                link.parent = parent.or(link.parent.take());
            }
        }
        _ => {}
    }
    let mac = value.text_of("macaddress").or_else(|| value.at(&["match", "macaddress"])?.text());
    if let Some(link) = model.link(name) {
        link.mtu = value.number_of("mtu").or(link.mtu);
        link.mac = mac.and_then(|mac| mac.to_lowercase().parse().ok()).or(link.mac);
    }
    for address in value.items_of("addresses") {
        // An address with options is a map with one key.
        let cidr = address.text().or_else(|| address.entries().first().map(|(cidr, _)| cidr.as_str()));
        if let Some(cidr) = cidr {
            model.address(name, cidr);
        }
    }
    if let Some(gateway) = value.text_of("gateway4") {
        add_route("default", Some(gateway), name, model);
    }
    if let Some(gateway) = value.text_of("gateway6") {
        add_route("default", Some(gateway), name, model);
    }
    for route in value.items_of("routes") {
        let written = Written {
            to: route.text_of("to").unwrap_or_default(),
            via: route.text_of("via"),
            dev: name,
            kind: route.text_of("type"),
            table: route.text_of("table"),
            metric: route.text_of("metric"),
            src: route.text_of("from"),
            mtu: route.text_of("mtu"),
            is_onlink: route.text_of("on-link") == Some("true"),
            is_ipv6: false,
        };
        routing::add(&written, model);
    }
    for rule in value.items_of("routing-policy") {
        let mut words = Vec::new();
        for (key, value) in rule.entries() {
            words.push(if key == "mark" { "fwmark" } else { key.as_str() });
            words.push(value.text().unwrap_or_default());
        }
        ip_rule::configured(&words, false, model);
    }
    if ["true", "yes"].contains(&value.text_of("dhcp4").unwrap_or_default()) {
        model.note(format!("{name}: its addresses are from DHCP; the text does not show them"));
    }
}
