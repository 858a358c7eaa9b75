//! `/etc/network/interfaces` of ifupdown, ifupdown2 and Proxmox.

use std::cell::RefCell;
use std::collections::BTreeSet;

use crate::import::bridge;
use crate::import::cloud_init::prefix;
use crate::import::ip_text::vlan_of_name;
use crate::import::model::{Kind, Model, PortVlan};
use crate::import::options;
use crate::import::routing::add_route;
use crate::import::text::Line;

/// Reads all stanzas that stand in the text.
pub fn read(lines: &[Line<'_>], model: &mut Model) {
    let mut stanza: Option<(String, Vec<(&str, String)>)> = None;
    for line in lines {
        let mut words = line.words();
        let first = words.next().unwrap_or_default();
        let ends =
            line.begins || first.is_empty() || ["auto", "allow-hotplug", "source", "iface"].contains(&first);
        if ends && let Some((name, options)) = stanza.take() {
            self::stanza(&name, &options, model);
        }
        if first == "iface" {
            let (name, family) = (words.next().unwrap_or_default(), words.next().unwrap_or("inet"));
            let is_one = ["inet", "inet6"].contains(&family) && name != "lo" && model.link(name).is_some();
            if is_one {
                model.found("/etc/network/interfaces", line.number);
                if words.next() == Some("dhcp") {
                    model.note(format!("{name}: its addresses are from DHCP; the text does not show them"));
                }
                stanza = Some((name.to_owned(), Vec::new()));
            }
        } else if let Some((_, options)) = &mut stanza
            && !first.starts_with('#')
            && options.len() < 200
        {
            options.push((first, words.collect::<Vec<_>>().join(" ")));
        }
    }
    if let Some((name, options)) = stanza {
        self::stanza(&name, &options, model);
    }
}

fn stanza(name: &str, entries: &[(&str, String)], model: &mut Model) {
    let asked = RefCell::new(BTreeSet::new());
    let value = |keys: &[&str]| {
        let found = entries.iter().find(|(key, _)| keys.contains(key));
        asked.borrow_mut().extend(found.map(|(key, _)| *key));
        found.map(|(_, value)| value.as_str())
    };
    let ports = |keys: &[&str]| -> Vec<String> {
        let all = value(keys).unwrap_or_default().split_whitespace().filter(|port| *port != "none");
        all.map(str::to_owned).collect()
    };
    for port in ports(&["bond-slaves", "bond_slaves", "slaves", "bond-ports"]) {
        model.port(name, &port);
    }
    for (key, option) in entries.iter().filter(|(key, _)| key.starts_with("bond")) {
        let is_relation = ["slaves", "ports", "master"].iter().any(|word| key.ends_with(word));
        if !is_relation {
            options::set(model, name, key, option);
        }
    }
    let is_bond =
        value(&["bond-slaves", "bond_slaves", "slaves", "bond-ports", "bond-mode", "bond_mode"]).is_some();
    if is_bond {
        model.kind(name, Kind::Bond);
        if let Some(link) = model.link(name) {
            link.is_configuration = true;
        }
    }
    if let Some(bond) = value(&["bond-master"]) {
        model.port(bond, name);
        model.kind(bond, Kind::Bond);
    }
    if value(&["bridge-ports", "bridge_ports"]).is_some() {
        model.kind(name, Kind::Bridge);
        ports(&["bridge-ports", "bridge_ports"]).iter().for_each(|port| model.port(name, port));
    }
    if value(&["bridge-vlan-aware", "bridge_vlan_aware"]) == Some("yes") {
        // ifupdown2 gives the bridge's VLANs to each of its ports, and a VLAN device's own to the bridge.
        let vids = value(&["bridge-vids", "bridge_vids"]).unwrap_or("1").to_owned();
        let pvid = value(&["bridge-pvid", "bridge_pvid"]).and_then(|id| id.parse().ok()).unwrap_or(1);
        let first = PortVlan { pvid: true, untagged: true };
        if let Some(link) = model.link(name) {
            link.vlan_filtering = Some(true);
        }
        for port in ports(&["bridge-ports", "bridge_ports"]) {
            bridge::told_all(&port, &vids, model);
            if let Ok(port) = port.parse() {
                bridge::told(&port, (pvid, pvid), first, model);
            }
        }
    }
    vlan(name, value(&["vlan-raw-device", "vlan_raw_device"]), value(&["vlan-id"]), model);
    if let Some(address) = value(&["address"]) {
        let mask = value(&["netmask"]).filter(|_| !address.contains('/')).map(prefix);
        let cidr = mask.map_or_else(|| address.to_owned(), |mask| format!("{address}/{mask}"));
        model.address(name, &cidr);
    }
    if let Some(gateway) = value(&["gateway"]) {
        add_route("default", Some(gateway), name, model);
    }
    if let Some(link) = model.link(name) {
        link.mtu = value(&["mtu"]).and_then(|mtu| mtu.parse().ok()).or(link.mtu);
    }
    if value(&["bridge-stp", "bridge_stp"]).is_some_and(|stp| ["off", "no", "0"].contains(&stp)) {
        // It matters to a spanning tree alone.
        value(&["bridge-fd", "bridge_fd"]);
    }
    value(&["netmask"]);
    left(entries, &asked.borrow(), model);
}

/// Says which keys nobody has asked for.
fn left(entries: &[(&str, String)], asked: &BTreeSet<&str>, model: &mut Model) {
    // `ip` behind these is a command, and read as one.
    let is_hook = |key: &str| ["up", "pre-up", "post-up", "down", "pre-down", "post-down"].contains(&key);
    for (key, _) in entries.iter().filter(|(key, _)| !key.starts_with("bond") && !is_hook(key)) {
        if !asked.contains(key) {
            model.left("/etc/network/interfaces", key);
        }
    }
}

/// By its name `bond0.70`, or by its raw device.
fn vlan(name: &str, raw: Option<&str>, id: Option<&str>, model: &mut Model) {
    let stem = name.split_once('.').map(|(stem, _)| stem);
    let Some(id) = id.and_then(|id| id.parse().ok()).or_else(|| vlan_of_name(name)) else { return };
    if let Some(parent) = raw.or(stem).and_then(|parent| parent.parse().ok())
        && let Some(link) = model.link(name)
    {
        (link.kind, link.vlan_id, link.parent) = (Kind::Vlan, Some(id), Some(parent));
    }
}
