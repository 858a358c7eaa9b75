//! `ifcfg-NAME` of Red Hat's and SUSE's network scripts.

use crate::import::cloud_init::prefix;
use crate::import::model::{Kind, Model};
use crate::import::options;
use crate::import::routing::add_route;
use crate::import::text::Line;

/// One file's variables.
type Variables<'t> = Vec<(&'t str, &'t str)>;

/// Reads all files that stand in the text: each is a run of assignments with a device.
pub fn read(lines: &[Line<'_>], model: &mut Model) {
    let mut run: Variables<'_> = Vec::new();
    let mut first = 1;
    // SUSE's files have no DEVICE: the device is in the name of the file.
    let mut named: Option<&str> = None;
    for line in lines {
        if line.begins {
            file(&std::mem::take(&mut run), named.take(), first, model);
        }
        if let Some(name) = file_of(line.text) {
            file(&std::mem::take(&mut run), named, first, model);
            named = Some(name);
            continue;
        }
        match assignment(line.text.trim()) {
            // A second device is that of the next file.
            Some((key, value)) if key != "DEVICE" || !run.iter().any(|(known, _)| *known == "DEVICE") => {
                if run.is_empty() {
                    first = line.number;
                }
                if run.len() < 200 {
                    run.push((key, value));
                }
            }
            Some(pair) => {
                file(&std::mem::replace(&mut run, vec![pair]), named.take(), first, model);
                first = line.number;
            }
            None if line.text.trim().starts_with('#') => {}
            None if run.is_empty() => {}
            None => file(&std::mem::take(&mut run), named.take(), first, model),
        }
    }
    file(&run, named, first, model);
}

/// The device in the path of a file that a command or a heading names: `# /etc/sysconfig/network/ifcfg-bond0`.
fn file_of(text: &str) -> Option<&str> {
    let is_heading = text.trim_start().starts_with(['#', '$', '=', '[']) || text.contains("cat ");
    let (_, rest) = text.split_once("/ifcfg-").filter(|_| is_heading)?;
    let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '@')));
    Some(&rest[..end.unwrap_or(rest.len())]).filter(|name| !name.is_empty())
}

fn assignment(text: &str) -> Option<(&str, &str)> {
    let (key, value) = text.split_once('=')?;
    let is_key =
        !key.is_empty() && key.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_');
    is_key.then(|| (key, value.trim().trim_matches(['"', '\''])))
}

fn file(variables: &Variables<'_>, named: Option<&str>, line: usize, model: &mut Model) {
    let value = |key: &str| variables.iter().find(|(name, _)| *name == key).map(|(_, value)| *value);
    let says_yes = |key: &str| value(key).is_some_and(|value| value.eq_ignore_ascii_case("yes"));
    let is_interface = [
        "BOOTPROTO",
        "STARTMODE",
        "BONDING_MASTER",
        "ETHERDEVICE",
        "ONBOOT",
        "BONDING_OPTS",
        "MASTER",
        "IPADDR",
        "TYPE",
        "VLAN",
    ]
    .iter()
    .any(|key| value(key).is_some());
    let Some(name) = value("DEVICE").or(named).filter(|_| is_interface) else { return };
    if name == "lo" || model.link(name).is_none() {
        return;
    }
    model.found("ifcfg", line);
    if let Some(options) = value("BONDING_OPTS") {
        model.kind(name, Kind::Bond);
        if let Some(link) = model.link(name) {
            link.is_configuration = true;
        }
        for (key, option) in options.split_whitespace().filter_map(|option| option.split_once('=')) {
            options::set(model, name, key, option);
        }
    }
    of_suse(name, variables, model);
    match value("TYPE").map(str::to_lowercase).as_deref() {
        Some("bond") => model.kind(name, Kind::Bond),
        Some("bridge") => model.kind(name, Kind::Bridge),
        _ => {}
    }
    if let Some(bond) = value("MASTER") {
        model.port(bond, name);
        model.kind(bond, Kind::Bond);
    }
    if let Some(bridge) = value("BRIDGE") {
        model.port(bridge, name);
        model.kind(bridge, Kind::Bridge);
    }
    if says_yes("VLAN") {
        let id = value("VLAN_ID")
            .and_then(|id| id.parse().ok())
            .or_else(|| crate::import::ip_text::vlan_of_name(name));
        let stem = name.split_once('.').map(|(stem, _)| stem);
        let parent = value("PHYSDEV").or(stem).and_then(|parent| parent.parse().ok());
        if let Some(link) = model.link(name) {
            (link.kind, link.vlan_id) = (Kind::Vlan, id);
            link.parent = parent.or(link.parent.take());
        }
    }
    addresses(name, variables, model);
    if let Some(link) = model.link(name) {
        link.mtu = value("MTU").and_then(|mtu| mtu.parse().ok()).or(link.mtu);
        link.permanent_mac =
            value("HWADDR").and_then(|mac| mac.to_lowercase().parse().ok()).or(link.permanent_mac);
    }
    left(variables, model);
    if value("BOOTPROTO") == Some("dhcp") {
        model.note(format!("{name}: its addresses are from DHCP; the text does not show them"));
    }
}

/// What is read of a file, and what is not about the device: how and when the scripts start it.
const KNOWN: [&str; 37] = [
    "BONDING_MASTER",
    "BONDING_MODULE_OPTS",
    "BONDING_OPTS",
    "BOOTPROTO",
    "BRIDGE",
    "BRIDGE_PORTS",
    "DEFROUTE",
    "DEVICE",
    "ETHERDEVICE",
    "GATEWAY",
    "HWADDR",
    "IPADDR",
    "IPV6ADDR",
    "IPV6ADDR_SECONDARIES",
    "IPV6_DEFAULTGW",
    "MASTER",
    "MTU",
    "NAME",
    "NETMASK",
    "NM_CONTROLLED",
    "ONBOOT",
    "PHYSDEV",
    "PREFIX",
    "PREFIXLEN",
    "SLAVE",
    "STARTMODE",
    "TYPE",
    "USERCTL",
    "UUID",
    "VLAN",
    "VLAN_ID",
    "BONDING_SLAVE0",
    "BONDING_SLAVE1",
    "BONDING_SLAVE2",
    "BONDING_SLAVE3",
    "IPV6INIT",
    "NETWORK",
];

fn left(variables: &Variables<'_>, model: &mut Model) {
    for (key, value) in variables {
        if !value.is_empty() && !KNOWN.contains(key) && !key.starts_with("BONDING_SLAVE") {
            model.left("ifcfg", key);
        }
    }
}

/// `wicked`'s words: `BONDING_SLAVE0`, `BONDING_MODULE_OPTS`, `ETHERDEVICE`, `BRIDGE_PORTS` (ifcfg-bonding(5), ifcfg-vlan(5)).
fn of_suse(name: &str, variables: &Variables<'_>, model: &mut Model) {
    let value = |key: &str| variables.iter().find(|(name, _)| *name == key).map(|(_, value)| *value);
    if value("BONDING_MASTER").is_some_and(|value| value.eq_ignore_ascii_case("yes")) {
        model.kind(name, Kind::Bond);
        if let Some(link) = model.link(name) {
            link.is_configuration = true;
        }
        let options = value("BONDING_MODULE_OPTS").unwrap_or_default();
        for (key, option) in options.split_whitespace().filter_map(|option| option.split_once('=')) {
            options::set(model, name, key, option);
        }
        for (_, port) in variables.iter().filter(|(key, _)| key.starts_with("BONDING_SLAVE")) {
            model.port(name, port);
        }
    }
    if let Some(parent) = value("ETHERDEVICE").and_then(|parent| parent.parse().ok()) {
        let id = value("VLAN_ID").and_then(|id| id.parse().ok());
        let id = id.or_else(|| crate::import::ip_text::vlan_of_name(name));
        if let Some(link) = model.link(name) {
            (link.kind, link.vlan_id, link.parent) = (Kind::Vlan, id, Some(parent));
        }
    }
    if let Some(ports) = value("BRIDGE_PORTS") {
        model.kind(name, Kind::Bridge);
        ports.split_whitespace().for_each(|port| model.port(name, port));
    }
}

/// `IPADDR` with `PREFIX`, `PREFIXLEN` or `NETMASK`, `IPV6ADDR`, and gateways.
fn addresses(name: &str, variables: &Variables<'_>, model: &mut Model) {
    let value = |key: &str| variables.iter().find(|(name, _)| *name == key).map(|(_, value)| *value);
    if let Some(address) = value("IPADDR").filter(|address| !address.is_empty()) {
        let length = value("PREFIX").or_else(|| value("PREFIXLEN")).map(str::to_owned);
        let length = length.or_else(|| value("NETMASK").map(prefix)).filter(|_| !address.contains('/'));
        let cidr = length.map_or_else(|| address.to_owned(), |length| format!("{address}/{length}"));
        model.address(name, &cidr);
    }
    let more = value("IPV6ADDR_SECONDARIES").unwrap_or_default().split_whitespace();
    value("IPV6ADDR").into_iter().chain(more).for_each(|cidr| model.address(name, cidr));
    for gateway in [value("GATEWAY"), value("IPV6_DEFAULTGW")].into_iter().flatten() {
        // `fe80::1%eth0` names the device again.
        let gateway = gateway.split('%').next().unwrap_or_default();
        add_route("default", Some(gateway), name, model);
    }
}
