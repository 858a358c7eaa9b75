//! Talos: machine configuration (`machine.network.interfaces`), its documents (BondConfig, VLANConfig ...), and the dialect of
//! its platforms and of `talosctl get`.

use crate::import::model::{Kind, Model, Number};
use crate::import::options;
use crate::import::routing::{self, Written};
use crate::import::value::Value;
use crate::net::name::IfName;
use crate::topology::lint::table::SELECTOR_AMBIGUOUS;

/// Whether a document is one of these.
pub fn is_known(value: &Value) -> bool {
    let kind = value.text_of("kind").unwrap_or_default();
    let is_document = value.text_of("apiVersion") == Some("v1alpha1") && kind.ends_with("Config");
    is_document || interfaces(value).is_some() || is_platform(value) || is_link_status(value)
}

/// Reads a document.
pub fn read(value: &Value, line: usize, model: &mut Model) {
    if let Some(interfaces) = interfaces(value) {
        model.found("Talos machine configuration", line);
        let nodes = value.items_of("nodes").len();
        if nodes > 1 {
            let name = value.items_of("nodes")[0].text_of("hostname").unwrap_or("the first").to_owned();
            model.note(format!(
                "{} more nodes: {name} is taken; import the part of another one by itself",
                nodes - 1
            ));
        }
        interfaces.iter().for_each(|one| interface(one, model));
    } else if is_platform(value) {
        model.found("Talos platform network configuration", line);
        platform(value, model);
    } else if is_link_status(value) {
        model.found("talosctl get links", line);
        link_status(value, model);
    } else {
        document(value, line, model);
    }
}

/// The interfaces of a legacy configuration, of a part of one, or of the first node of several (talhelper).
fn interfaces(value: &Value) -> Option<&[Value]> {
    let paths: [&[&str]; 3] =
        [&["machine", "network", "interfaces"], &["network", "interfaces"], &["interfaces"]];
    let list = paths.iter().find_map(|path| value.at(path));
    let first = || value.items_of("nodes").first()?.get("networkInterfaces");
    let list = list.or_else(|| value.get("networkInterfaces")).or_else(first);
    let items = list.map_or_else(|| value.items(), Value::items);
    let is_one = |item: &Value| item.get("interface").is_some() || item.get("deviceSelector").is_some();
    (!items.is_empty() && items.iter().any(is_one)).then_some(items)
}

fn interface(value: &Value, model: &mut Model) {
    let selected = value.get("deviceSelector").map(|selector| selected(selector, model));
    let Some(name) = value.text_of("interface").map(str::to_owned).or(selected.flatten()) else { return };
    if model.link(&name).is_none() {
        model.note(format!("interface {name}: it is no device's name"));
        return;
    }
    common(&name, value, model);
    if let Some(bond) = value.get("bond") {
        self::bond(&name, bond, model);
    }
    if let Some(bridge) = value.get("bridge") {
        model.kind(&name, Kind::Bridge);
        bridge.texts_of("interfaces").for_each(|port| model.port(&name, port));
    }
    for vlan in value.items_of("vlans") {
        let Some(id) = vlan.number_of::<u16>("vlanId") else { continue };
        let own = format!("{name}.{id}");
        vlan_on(&own, &name, id, model);
        common(&own, vlan, model);
    }
}

fn vlan_on(name: &str, parent: &str, id: u16, model: &mut Model) {
    let Ok(parent) = parent.parse() else { return };
    if let Some(link) = model.link(name) {
        (link.kind, link.parent, link.vlan_id) = (Kind::Vlan, Some(parent), Some(id));
    }
}

fn bond(name: &str, value: &Value, model: &mut Model) {
    model.kind(name, Kind::Bond);
    if let Some(link) = model.link(name) {
        link.is_configuration = true;
    }
    for (key, option) in value.entries() {
        match key.as_str() {
            "interfaces" => {
                option.items().iter().filter_map(Value::text).for_each(|port| model.port(name, port))
            }
            "deviceSelectors" => {
                ambiguous(name, option.items(), model);
                for selector in option.items() {
                    if let Some(port) = selected(selector, model) {
                        model.port(name, &port);
                    }
                }
            }
            _ => options::set(model, name, key, &option.joined()),
        }
    }
}

/// Selectors that fit what stands on the NIC too: bonds and VLANs have its Ethernet address, and only `physical` or a bus path
/// leaves them out.
fn ambiguous(bond: &str, selectors: &[Value], model: &mut Model) {
    for (at, selector) in selectors.iter().enumerate() {
        let is_physical = selector.text_of("physical") == Some("true");
        let by_place = ["busPath", "pciID"].iter().any(|key| selector.get(key).is_some());
        let by_address = selector.get("hardwareAddr").is_some();
        if by_address && !is_physical && !by_place {
            let said = selector.text_of("hardwareAddr").unwrap_or_default();
            model.lint(
                &SELECTOR_AMBIGUOUS,
                format!("node:{bond}: hardwareAddr {said} fits the bond and each VLAN on it, too"),
            );
        }
        if selectors[..at].contains(selector) {
            model.lint(&SELECTOR_AMBIGUOUS, format!("node:{bond}: the same selector is there twice"));
        }
    }
}

/// A NIC that fits a device selector: its name is made up.
fn selected(selector: &Value, model: &mut Model) -> Option<String> {
    let name = (0..64)
        .map(|number| format!("eth{number}"))
        .find(|name| !model.links.keys().any(|is| is.as_str() == name))?;
    let said: Vec<String> =
        selector.entries().iter().map(|(key, value)| format!("{key} {}", value.joined())).collect();
    model.note(format!("device selector ({}): {name} is made up as the NIC that fits it", said.join(", ")));
    let driver = selector.text_of("driver").map(str::to_owned);
    let mac = selector.text_of("hardwareAddr").or(selector.text_of("permanentAddr"));
    let mac = mac.and_then(|mac| mac.replace('*', "00").parse().ok());
    let link = model.link(&name)?;
    link.kind = Kind::Nic;
    (link.driver, link.permanent_mac) = (driver, mac.or(link.permanent_mac));
    Some(name)
}

/// Addresses, routes and MTU, in the spellings of all dialects.
fn common(name: &str, value: &Value, model: &mut Model) {
    if let Some(mtu) = value.number_of::<u32>("mtu").filter(|mtu| *mtu > 0)
        && let Some(link) = model.link(name)
    {
        link.mtu = Some(mtu);
    }
    for address in value.items_of("addresses") {
        if let Some(cidr) = address.text().or_else(|| address.text_of("address")) {
            model.address(name, cidr);
        }
    }
    if let Some(cidr) = value.text_of("cidr") {
        model.address(name, cidr);
    }
    for route in value.items_of("routes") {
        let to = route.text_of("network").or_else(|| route.text_of("destination")).unwrap_or("0.0.0.0/0");
        routing::add(&written(route, to, name), model);
    }
    if value.text_of("dhcp") == Some("true") {
        model.note(format!("{name}: its addresses are from DHCP; the text does not show them"));
    }
}

/// One of the documents that follow the machine configuration.
fn document(value: &Value, line: usize, model: &mut Model) {
    let (kind, name) = (value.text_of("kind").unwrap_or_default(), value.text_of("name").unwrap_or_default());
    match kind {
        "BondConfig" => {
            model.found("Talos BondConfig", line);
            if model.link(name).is_none() {
                return;
            }
            model.kind(name, Kind::Bond);
            if let Some(link) = model.link(name) {
                link.is_configuration = true;
            }
            value.texts_of("links").for_each(|port| model.port(name, port));
            for (key, option) in value.entries() {
                let is_common = [
                    "apiVersion",
                    "kind",
                    "name",
                    "links",
                    "addresses",
                    "routes",
                    "mtu",
                    "up",
                    "hardwareAddr",
                ];
                if !is_common.contains(&key.as_str()) {
                    options::set(model, name, key, &option.joined());
                }
            }
            common(name, value, model);
        }
        "VLANConfig" => {
            model.found("Talos VLANConfig", line);
            let id = value.number_of("vlanID");
            if let (Some(id), Some(parent)) = (id, value.text_of("parent")) {
                vlan_on(name, parent, id, model);
            }
            common(name, value, model);
        }
        "BridgeConfig" => {
            model.found("Talos BridgeConfig", line);
            model.kind(name, Kind::Bridge);
            value.texts_of("links").for_each(|port| model.port(name, port));
            common(name, value, model);
        }
        "LinkConfig" | "DummyLinkConfig" => {
            model.found("Talos LinkConfig", line);
            model.kind(name, if kind == "LinkConfig" { Kind::Nic } else { Kind::Dummy });
            common(name, value, model);
        }
        "LinkAliasConfig" => {
            model.found("Talos LinkAliasConfig", line);
            let fits = value.at(&["selector", "match"]).and_then(Value::text).unwrap_or_default();
            model.note(format!("alias {name}: it stands for the NIC of ({fits})"));
            model.kind(name, Kind::Nic);
            // `mac(link.permanent_addr) == "00:00:5e:00:53:01"`, an expression of CEL.
            let by_address = fits.contains("permanent_addr") || fits.contains("hardware_addr");
            let mac = fits.split(['"', '\'']).find_map(|word| word.to_lowercase().parse().ok());
            if let Some(link) = model.link(name).filter(|_| by_address && !fits.contains("!=")) {
                link.permanent_mac = mac.or(link.permanent_mac);
            }
        }
        "DHCPv4Config" | "DHCPv6Config" => {
            model.note(format!("{kind} of {name}: its addresses are from DHCP; the text does not show them"));
        }
        _ => model.left("Talos", format!("document {kind}")),
    }
}

/// The part of a document whose keys are about links: of documents of other kinds, of states, and of talhelper's lists of nodes there is
/// none.
pub fn configuration(value: &Value) -> Option<&Value> {
    let kinds = [
        "BondConfig",
        "VLANConfig",
        "BridgeConfig",
        "LinkConfig",
        "DummyLinkConfig",
        "LinkAliasConfig",
        "DHCPv4Config",
        "DHCPv6Config",
    ];
    match value.text_of("kind") {
        Some(kind) => kinds.contains(&kind).then_some(value),
        None if value.get("machine").is_some() => value.at(&["machine", "network"]),
        None => (is_platform(value) || value.get("interfaces").is_some()).then_some(value),
    }
}

fn is_platform(value: &Value) -> bool {
    let is_link = |item: &Value| {
        item.get("name").is_some() && (item.get("masterName").is_some() || item.get("bondMaster").is_some())
    };
    value.items_of("links").iter().any(is_link)
}

/// A route, in the keys that all dialects have. Platforms write the family out, which matters where nothing else shows it.
fn written<'t>(route: &'t Value, to: &'t str, dev: &'t str) -> Written<'t> {
    let table = route.text_of("table").filter(|table| *table != "unspec");
    Written {
        to,
        via: route.text_of("gateway"),
        dev,
        table,
        metric: route.text_of("metric").or_else(|| route.text_of("priority")),
        src: route.text_of("source").or_else(|| route.text_of("src")),
        mtu: route.text_of("mtu"),
        is_ipv6: route.text_of("family") == Some("inet6"),
        ..Written::default()
    }
}

/// `PlatformNetworkConfig`.
fn platform(value: &Value, model: &mut Model) {
    for link in value.items_of("links") {
        let Some(name) = link.text_of("name") else { continue };
        if model.link(name).is_none() {
            continue;
        }
        specification(name, link, model);
        if let Some(controller) = link.text_of("masterName").filter(|name| !name.is_empty()) {
            model.port(controller, name);
        }
    }
    for address in value.items_of("addresses") {
        if let (Some(cidr), Some(name)) = (address.text_of("address"), address.text_of("linkName")) {
            model.address(name, cidr);
        }
    }
    for route in value.items_of("routes") {
        let to = route.text_of("dst").unwrap_or_default();
        routing::add(&written(route, to, route.text_of("outLinkName").unwrap_or_default()), model);
    }
}

/// What links of platforms and of `talosctl` have in common.
fn specification(name: &str, value: &Value, model: &mut Model) {
    let kind = match value.text_of("kind").unwrap_or_default() {
        "bond" => Kind::Bond,
        "vlan" => Kind::Vlan,
        "bridge" => Kind::Bridge,
        "dummy" => Kind::Dummy,
        "" => Kind::Nic,
        other => {
            if let Some(link) = model.link(name) {
                (link.kind, link.kind_word) = (Kind::Other, other.to_owned());
            }
            return;
        }
    };
    model.kind(name, kind);
    let id = value.at(&["vlan", "vlanID"]).and_then(Value::text).and_then(|id| id.parse().ok());
    let Some(link) = model.link(name) else { return };
    link.vlan_id = id.or(link.vlan_id);
    link.parent = value.text_of("parentName").and_then(|parent| parent.parse().ok()).or(link.parent.take());
    link.mtu = value.number_of("mtu").filter(|mtu| *mtu > 0).or(link.mtu);
    link.driver = value.text_of("driver").map(str::to_owned).or(link.driver.take());
    link.permanent_mac =
        value.text_of("permanentAddr").and_then(|mac| mac.parse().ok()).or(link.permanent_mac);
    if kind == Kind::Bond {
        link.is_configuration = true;
        for (key, option) in value.entries_of("bondMaster") {
            options::set(model, name, key, &option.joined());
        }
    }
}

fn is_link_status(value: &Value) -> bool {
    value.at(&["metadata", "type"]).and_then(Value::text).is_some_and(|kind| kind.starts_with("LinkStatuses"))
}

fn link_status(value: &Value, model: &mut Model) {
    let Some(name) = value.at(&["metadata", "id"]).and_then(Value::text) else { return };
    let Some(spec) = value.get("spec").filter(|spec| spec.text_of("type") != Some("loopback")) else {
        return;
    };
    if model.link(name).is_none() {
        return;
    }
    specification(name, spec, model);
    let is_up = spec.text_of("operationalState").map(|state| state == "up");
    if let Some(link) = model.link(name) {
        link.carrier = is_up.or(link.carrier);
    }
    if let Some(controller) =
        spec.text_of("masterName").or_else(|| spec.at(&["bondSlave", "masterName"])?.text())
    {
        model.port(controller, name);
    }
    // A status names the link below, and the bond above, by their numbers.
    if let (Some(number), Ok(name)) = (spec.number_of("index"), name.parse::<IfName>()) {
        let of = |key: &str| spec.number_of(key).filter(|other| *other != 0 && *other != number);
        model.numbers.push(Number { number, name, controller: of("masterIndex"), parent: of("linkIndex") });
    }
}

/// Gives links the controllers and parents that their text has by number.
pub fn settle(model: &mut Model) {
    let numbers = std::mem::take(&mut model.numbers);
    let of = |number: Option<u32>| numbers.iter().find(|one| Some(one.number) == number).map(|one| &one.name);
    for one in &numbers {
        if let Some(controller) = of(one.controller) {
            model.port(controller.as_str(), one.name.as_str());
        }
        if let Some(parent) = of(one.parent)
            && let Some(link) = model.link(one.name.as_str())
            && link.kind == Kind::Vlan
        {
            link.parent = link.parent.take().or_else(|| Some(parent.clone()));
        }
    }
}
