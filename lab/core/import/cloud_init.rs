//! cloud-init's network configuration, version 1.

use crate::import::model::{Kind, Model};
use crate::import::options;
use crate::import::routing::add_route;
use crate::import::value::Value;

/// Whether a document is of this format.
pub fn is_known(value: &Value) -> bool {
    let network = value.get("network").unwrap_or(value);
    let types = ["physical", "bond", "vlan", "bridge"];
    let is_one = |item: &Value| item.text_of("type").is_some_and(|kind| types.contains(&kind));
    network.text_of("version") == Some("1") && network.items_of("config").iter().any(is_one)
}

/// Reads a document.
pub fn read(value: &Value, line: usize, model: &mut Model) {
    model.found("cloud-init network configuration, version 1", line);
    let network = value.get("network").unwrap_or(value);
    for device in network.items_of("config") {
        let kind = match device.text_of("type").unwrap_or_default() {
            "physical" => Kind::Nic,
            "bond" => Kind::Bond,
            "vlan" => Kind::Vlan,
            "bridge" => Kind::Bridge,
            "nameserver" => continue,
            "route" => {
                let to =
                    device.text_of("destination").or_else(|| device.text_of("network")).unwrap_or_default();
                add_route(to, device.text_of("gateway"), "", model);
                continue;
            }
            other => {
                model.note(format!("type {other} of cloud-init: topologies do not have it"));
                continue;
            }
        };
        let Some(name) = device.text_of("name") else { continue };
        if model.link(name).is_some() {
            model.kind(name, kind);
            self::device(name, kind, device, model);
        }
    }
}

fn device(name: &str, kind: Kind, value: &Value, model: &mut Model) {
    if kind == Kind::Bond {
        value.texts_of("bond_interfaces").for_each(|port| model.port(name, port));
        for (key, option) in value.entries_of("params") {
            options::set(model, name, key, &option.joined());
        }
    }
    value.texts_of("bridge_interfaces").for_each(|port| model.port(name, port));
    if let Some(link) = model.link(name) {
        link.is_configuration |= kind == Kind::Bond;
        link.mtu = value.number_of("mtu").or(link.mtu);
        link.mac = value.text_of("mac_address").and_then(|mac| mac.to_lowercase().parse().ok()).or(link.mac);
        link.vlan_id = value.number_of("vlan_id").or(link.vlan_id);
        link.parent =
            value.text_of("vlan_link").and_then(|parent| parent.parse().ok()).or(link.parent.take());
    }
    for subnet in value.items_of("subnets") {
        let Some(address) = subnet.text_of("address") else { continue };
        let cidr = match (address.contains('/'), subnet.text_of("netmask")) {
            (false, Some(mask)) => format!("{address}/{}", prefix(mask)),
            _ => address.to_owned(),
        };
        model.address(name, &cidr);
        if let Some(gateway) = subnet.text_of("gateway") {
            add_route("default", Some(gateway), name, model);
        }
    }
}

/// 24 of `255.255.255.0`; of what is no mask, itself.
pub fn prefix(mask: &str) -> String {
    match mask.parse::<std::net::Ipv4Addr>() {
        Ok(mask) => u32::from(mask).count_ones().to_string(),
        Err(_) => mask.to_owned(),
    }
}
