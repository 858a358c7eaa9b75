//! NetworkManager's keyfiles.

use crate::import::ini::{self, File, Section};
use crate::import::model::{Kind, Model};
use crate::import::routing::{self, Written};
use crate::import::text::Line;
use crate::import::{ip_rule, options};

/// Reads all files that stand in the text. Controllers may be named by the UUID or the name of their connection.
pub fn read(lines: &[Line<'_>], model: &mut Model) {
    let files = ini::files(lines, &["connection"]);
    let named: Vec<(Vec<String>, String)> = files.iter().filter_map(names).collect();
    let device = |said: &str| {
        let known = named.iter().find(|(names, _)| names.iter().any(|name| name == said));
        known.map_or_else(|| said.to_owned(), |(_, device)| device.clone())
    };
    for file in &files {
        connection(file, device, model);
        ini::left(file, "NetworkManager keyfile", model);
    }
}

/// What a connection may be called by, and its device.
fn names(file: &File) -> Option<(Vec<String>, String)> {
    let connection = ini::section(file, "connection")?;
    let device = connection.value("interface-name")?.to_owned();
    let names =
        ["uuid", "id"].into_iter().filter_map(|key| connection.value(key)).map(str::to_owned).collect();
    Some((names, device))
}

fn connection(file: &File, device: impl Fn(&str) -> String, model: &mut Model) {
    let Some(connection) = ini::section(file, "connection") else { return };
    let (Some(kind), Some(name)) = (connection.value("type"), connection.value("interface-name")) else {
        return;
    };
    model.found("NetworkManager keyfile", connection.line);
    let kind = match kind {
        "ethernet" | "802-3-ethernet" => Kind::Nic,
        "bond" => Kind::Bond,
        "vlan" => Kind::Vlan,
        "bridge" => Kind::Bridge,
        "dummy" => Kind::Dummy,
        other => {
            model.note(format!("{name}: type {other} of NetworkManager"));
            return;
        }
    };
    if model.link(name).is_none() {
        return;
    }
    model.kind(name, kind);
    if let Some(controller) = connection.value("controller").or_else(|| connection.value("master")) {
        let controller = device(controller);
        model.port(&controller, name);
        let is_bond =
            connection.value("port-type").or_else(|| connection.value("slave-type")) == Some("bond");
        model.kind(&controller, if is_bond { Kind::Bond } else { Kind::Unknown });
    }
    let value = |section: &str, key: &str| ini::section(file, section)?.value(key).map(str::to_owned);
    if let Some(link) = model.link(name) {
        link.is_configuration |= kind == Kind::Bond;
        link.vlan_id = value("vlan", "id").and_then(|id| id.parse().ok()).or(link.vlan_id);
        link.parent =
            value("vlan", "parent").and_then(|parent| device(&parent).parse().ok()).or(link.parent.take());
        link.mtu =
            value("ethernet", "mtu").and_then(|mtu| mtu.parse().ok()).filter(|mtu| *mtu > 0).or(link.mtu);
    }
    for (key, option) in ini::section(file, "bond").map_or(&[][..], Section::entries) {
        if key != "interface-name" {
            options::set(model, name, key, option);
        }
    }
    addresses(name, file, model);
}

/// `address1=192.0.2.5/24,192.0.2.1`, `route1=198.51.100.0/24,192.0.2.254`.
fn addresses(name: &str, file: &File, model: &mut Model) {
    let of = |family: &str| ini::section(file, family).map_or(&[][..], Section::entries);
    let all =
        ["ipv4", "ipv6"].into_iter().flat_map(|family| of(family).iter().map(move |pair| (family, pair)));
    for (family, (key, value)) in all {
        let entry = |key: &str| ini::section(file, family).and_then(|section| section.value(key));
        if key.starts_with("routing-rule") {
            let words: Vec<&str> = value.split_whitespace().take(64).collect();
            ip_rule::configured(&words, family == "ipv6", model);
            continue;
        }
        let by_gateway = |via: &str, model: &mut Model| {
            let table = entry("route-table");
            let written = Written { to: "default", via: Some(via), dev: name, table, ..Written::default() };
            routing::add(&written, model);
        };
        let mut parts = value.split([',', ';']).map(str::trim).filter(|part| !part.is_empty());
        let first = parts.next().unwrap_or_default();
        if key.starts_with("address") {
            model.address(name, first);
            if let Some(gateway) = parts.next() {
                by_gateway(gateway, model);
            }
        } else if key == "gateway" {
            by_gateway(first, model);
        } else if key.starts_with("route") && key[5..].bytes().all(|byte| byte.is_ascii_digit()) {
            let (via, metric) = (parts.next(), parts.next());
            // `table=100,src=192.0.2.5`.
            let options = format!("{key}_options");
            let options = entry(&options).unwrap_or_default();
            let option = |name: &str| {
                let mut pairs = options.split(',').filter_map(|pair| pair.split_once('='));
                pairs.find(|(key, _)| key.trim() == name).map(|(_, value)| value.trim())
            };
            let written = Written {
                to: first,
                via,
                dev: name,
                kind: option("type"),
                table: option("table").or(entry("route-table")),
                metric,
                src: option("src"),
                mtu: option("mtu"),
                is_onlink: option("onlink") == Some("true"),
                is_ipv6: family == "ipv6",
            };
            routing::add(&written, model);
        } else if key == "method" && first == "auto" {
            model.note(format!("{name}: its addresses are from DHCP; the text does not show them"));
        }
    }
}
