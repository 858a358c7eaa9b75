//! systemd-networkd: `.netdev` and `.network` files.

use crate::import::ini::{self, File, Section};
use crate::import::model::{Kind, Model};
use crate::import::routing::{self, Written, add_route};
use crate::import::text::Line;
use crate::import::{ip_rule, options};

/// Reads all files that stand in the text.
pub fn read(lines: &[Line<'_>], model: &mut Model) {
    for file in ini::files(lines, &["NetDev", "Match"]) {
        match ini::section(&file, "NetDev") {
            Some(section) => device(section, &file, model),
            None => network(&file, model),
        }
        ini::left(&file, "systemd-networkd", model);
    }
}

fn device(section: &Section, file: &File, model: &mut Model) {
    let (Some(name), Some(kind)) = (section.value("Name"), section.value("Kind")) else { return };
    model.found("systemd-networkd", section.line);
    let kind = match kind {
        "bond" => Kind::Bond,
        "vlan" => Kind::Vlan,
        "bridge" => Kind::Bridge,
        "dummy" => Kind::Dummy,
        other => {
            model.note(format!("{name}: kind {other} of systemd-networkd"));
            return;
        }
    };
    let id = ini::section(file, "VLAN").and_then(|vlan| vlan.value("Id")?.parse().ok());
    let Some(link) = model.link(name) else { return };
    link.kind = link.kind.max(kind);
    link.vlan_id = id.or(link.vlan_id);
    link.is_configuration |= kind == Kind::Bond;
    link.mtu = section.value("MTUBytes").and_then(|mtu| mtu.parse().ok()).or(link.mtu);
    for (key, value) in ini::section(file, "Bond").map_or(&[][..], Section::entries) {
        // Times without a unit are in seconds.
        let is_time = key.ends_with("Sec") && value.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        let value = if is_time { format!("{value}s") } else { value.clone() };
        options::set(model, name, key, &value);
    }
}

fn network(file: &File, model: &mut Model) {
    let Some(network) = ini::section(file, "Network") else { return };
    let matched = ini::section(file, "Match");
    let mac =
        matched.and_then(|section| section.value("MACAddress").or(section.value("PermanentMACAddress")));
    let names = matched.and_then(|section| section.value("Name")).unwrap_or_default();
    // `enp*` and `!lo` are no names.
    let (names, patterns): (Vec<&str>, Vec<&str>) =
        names.split_whitespace().partition(|name| !name.contains(['*', '!', '?', '[']));
    if (names.is_empty() || !patterns.is_empty())
        && (network.value("Bond").is_some() || network.value("VLAN").is_some())
    {
        let said = patterns.first().copied().or(mac).unwrap_or("a pattern");
        model.note(format!("a port that [Match] finds by {said}: its name is not in the file"));
    }
    for name in names {
        device_of_network(name, mac, network, file, model);
    }
}

/// What a `.network` file says of one of the devices that it is for.
fn device_of_network(name: &str, mac: Option<&str>, network: &Section, file: &File, model: &mut Model) {
    if model.link(name).is_none() {
        return;
    }
    model.found("systemd-networkd", network.line);
    for key in ["Bond", "Bridge"] {
        if let Some(controller) = network.value(key) {
            model.port(controller, name);
            model.kind(controller, if key == "Bond" { Kind::Bond } else { Kind::Bridge });
            if network.value("PrimarySlave") == Some("true") {
                options::set(model, controller, "primary", name);
            }
        }
    }
    for vlan in network.values("VLAN") {
        let parent = name.parse().ok();
        if let Some(link) = model.link(vlan) {
            link.kind = Kind::Vlan;
            link.parent = parent;
        }
    }
    let more =
        file.iter().filter(|section| section.name == "Address").flat_map(|section| section.values("Address"));
    network.values("Address").chain(more).for_each(|cidr| model.address(name, cidr));
    network.values("Gateway").for_each(|via| add_route("default", Some(via), name, model));
    for route in file.iter().filter(|section| section.name == "Route") {
        let written = Written {
            to: route.value("Destination").unwrap_or_default(),
            via: route.value("Gateway"),
            dev: name,
            kind: route.value("Type"),
            table: route.value("Table"),
            metric: route.value("Metric"),
            src: route.value("PreferredSource"),
            mtu: route.value("MTUBytes"),
            is_onlink: route.value("GatewayOnLink").is_some_and(|is| ["yes", "true", "1"].contains(&is)),
            is_ipv6: false,
        };
        routing::add(&written, model);
    }
    file.iter().filter(|section| section.name == "RoutingPolicyRule").for_each(|of| rule(of, model));
    let mtu = ini::section(file, "Link").and_then(|link| link.value("MTUBytes")?.parse().ok());
    if let Some(link) = model.link(name) {
        link.mtu = mtu.or(link.mtu);
        link.permanent_mac = mac.and_then(|mac| mac.to_lowercase().parse().ok()).or(link.permanent_mac);
    }
    if network.value("DHCP").is_some_and(|dhcp| dhcp != "no" && dhcp != "false") {
        model.note(format!("{name}: its addresses are from DHCP; the text does not show them"));
    }
}

/// `[RoutingPolicyRule]`.
fn rule(section: &Section, model: &mut Model) {
    let is_yes = |value: &str| ["yes", "true", "1", "on"].contains(&value);
    let mut words = Vec::new();
    let mut families = vec![false];
    for (key, value) in section.entries() {
        let word = match key.as_str() {
            "From" => "from",
            "To" => "to",
            "FirewallMark" => "fwmark",
            "Table" => "table",
            "Priority" => "priority",
            "IncomingInterface" => "iif",
            "OutgoingInterface" => "oif",
            "InvertRule" | "L3MasterDevice" if !is_yes(value) => continue,
            "InvertRule" => {
                words.insert(0, "not");
                continue;
            }
            "L3MasterDevice" => {
                words.extend(["table", "l3mdev"]);
                continue;
            }
            "Type" => {
                words.extend((value != "table").then_some(value.as_str()));
                continue;
            }
            "Family" => {
                families = match value.as_str() {
                    "ipv6" => vec![true],
                    "both" => vec![false, true],
                    _ => vec![false],
                };
                continue;
            }
            other => other,
        };
        words.extend([word, value.as_str()]);
    }
    families.into_iter().for_each(|is_ipv6| ip_rule::configured(&words, is_ipv6, model));
}
