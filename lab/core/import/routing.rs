//! Routes, rules and permanent neighbours: what all formats say of them, and the tables of the topology that they become.

use std::net::IpAddr;

use crate::import::draft::{Draft, Section};
use crate::import::far_end::FarEnd;
use crate::import::model::{Link, Model, Place, Route};
use crate::net::address::{Cidr, Mac};
use crate::net::name::IfName;
use crate::net::route::{RouteExtras, RouteKind, Rule};

/// `RT_TABLE_*`, include/uapi/linux/rtnetlink.h.
const MAIN: u32 = 254;
const TABLES: [(&str, u32); 3] = [("default", 253), ("main", MAIN), ("local", 255)];

/// Tables whose names are in a file of the machine get numbers from here on.
const NAMED_FROM: u32 = 1001;

/// The three rules that each machine has (`fib_default_rules_init()`); IPv6 has the first two.
const OF_EACH_MACHINE: [(u32, u32); 3] = [(0, 255), (32766, MAIN), (32767, 253)];

/// As many rules and neighbours of one machine.
const EACH_MAX: usize = 200;

/// A route in a format's own words; an empty text is none.
#[derive(Debug, Default, Clone, Copy)]
pub struct Written<'t> {
    /// The network; empty, `default` or an address of zeros for all.
    pub to: &'t str,
    /// The next hop.
    pub via: Option<&'t str>,
    /// The device.
    pub dev: &'t str,
    /// `RTN_*` as ip(8) names it.
    pub kind: Option<&'t str>,
    /// Number or name of the table.
    pub table: Option<&'t str>,
    /// The metric.
    pub metric: Option<&'t str>,
    /// The preferred source address.
    pub src: Option<&'t str>,
    /// In bytes.
    pub mtu: Option<&'t str>,
    /// Whether the next hop is taken to be on the device's network.
    pub is_onlink: bool,
    /// Whether it is of IPv6, where neither network nor next hop show it.
    pub is_ipv6: bool,
}

/// A route without more than a next hop.
pub fn add_route(to: &str, via: Option<&str>, dev: &str, model: &mut Model) {
    add(&Written { to, via, dev, ..Written::default() }, model);
}

/// Adds a route, or says why it is not carried over.
pub fn add(written: &Written<'_>, model: &mut Model) {
    let Written { to, dev, .. } = *written;
    let via_text = written.via.filter(|via| !via.is_empty() && *via != "_gateway");
    let Some(network) = network(to) else {
        model.note(format!("route to {to} by {dev}: it is no network"));
        return;
    };
    let via = via_text.and_then(|via| via.parse::<IpAddr>().ok());
    if let (Some(text), None) = (via_text, via) {
        model.note(format!("route to {to} by {dev}: {text} is no address of a next hop"));
        return;
    }
    let is_ipv6 = match (network, via) {
        (Some(network), _) => network.address.is_ipv6(),
        (None, Some(via)) => via.is_ipv6(),
        (None, None) => written.is_ipv6 || to.contains(':'),
    };
    if via.is_some_and(|via| via.is_ipv6() != is_ipv6) {
        model.note(format!("route to {to} by {dev}: its next hop is of another family"));
        return;
    }
    let kind = written.kind.filter(|kind| *kind != "unicast");
    let known = kind.and_then(kind_of);
    if kind.is_some() && known.is_none() {
        // Of the kernel's own tables, which follow from the addresses.
        return;
    }
    let kind = known;
    let table = written.table.filter(|table| !table.is_empty()).map(|table| table_number(table, model));
    if is_kernels_own(network) || table == Some(255) {
        return;
    }
    let number = |text: Option<&str>| text.and_then(|text| text.parse::<u32>().ok());
    let extras = RouteExtras {
        kind,
        table: table.filter(|table| ![0, MAIN].contains(table)),
        metric: number(written.metric).filter(|metric| *metric > 0),
        src: written.src.and_then(|src| src.parse().ok()).filter(|src: &IpAddr| src.is_ipv6() == is_ipv6),
        mtu: number(written.mtu).filter(|mtu| *mtu >= 68),
        onlink: written.is_onlink,
    };
    let dev = dev.parse().ok().filter(|_| kind.is_none());
    // Packets of the others go nowhere.
    let via = via.filter(|_| kind.is_none());
    model.route(Route { is_ipv6, to: network, via, dev, extras });
}

/// What happens to packets, where they do not go on.
pub fn kind_of(word: &str) -> Option<RouteKind> {
    let all = [RouteKind::Blackhole, RouteKind::Unreachable, RouteKind::Prohibit, RouteKind::Throw];
    all.into_iter().find(|kind| kind.word() == word)
}

/// `Some(None)` is all of them. A network without a prefix length is one address, as ip(8) prints it.
fn network(to: &str) -> Option<Option<Cidr>> {
    if matches!(to, "" | "default" | "0.0.0.0" | "0.0.0.0/0" | "::/0" | "::") {
        return Some(None);
    }
    let cidr = match to.parse::<IpAddr>() {
        Ok(address) => Cidr { address, prefix: if address.is_ipv4() { 32 } else { 128 } },
        Err(_) => to.parse().ok()?,
    };
    Some(Some(cidr))
}

/// Link-local and multicast networks of IPv6 are those of each device (`addrconf_add_mroute()`).
fn is_kernels_own(network: Option<Cidr>) -> bool {
    let Some(IpAddr::V6(address)) = network.map(|network| network.address) else { return false };
    address.is_multicast() || address.is_unicast_link_local() || address.is_loopback()
}

/// Its number; that of a name is in a file of the machine, and made up.
pub fn table_number(text: &str, model: &mut Model) -> u32 {
    if let Ok(number) = text.parse() {
        return number;
    }
    if let Some((_, number)) = TABLES.iter().find(|(name, _)| *name == text) {
        return *number;
    }
    let at = model.tables.iter().position(|name| name == text);
    let is_new = at.is_none() && model.tables.len() < EACH_MAX;
    let at = at.unwrap_or(model.tables.len());
    let number = NAMED_FROM.saturating_add(u32::try_from(at).unwrap_or(0));
    if is_new {
        model.tables.push(text.to_owned());
        model.note(format!("routing table {text}: the text does not show its number; {number} is made up"));
    }
    number
}

/// A rule in a format's own words, each with its value; `Err` has what a topology's rules do not have.
pub fn add_rule(words: &str, rule: Result<Rule, String>, model: &mut Model) {
    match rule {
        Ok(rule)
            if OF_EACH_MACHINE.contains(&(rule.priority, rule.table.unwrap_or(0))) && is_for_all(&rule) => {}
        Ok(rule) if [0, 32766, 32767].contains(&rule.priority) => {
            model.note(format!(
                "rule {words}: priority {} is that of a rule of the kernel's own",
                rule.priority
            ));
        }
        Ok(rule) if !model.rules.contains(&rule) && model.rules.len() < EACH_MAX => model.rules.push(rule),
        Ok(_) => {}
        Err(what) => model.note(format!("rule {words}: topologies do not have {what}")),
    }
}

fn is_for_all(rule: &Rule) -> bool {
    let is_all = |network: &Option<Cidr>| network.is_none_or(|network| network.prefix == 0);
    is_all(&rule.from)
        && is_all(&rule.to)
        && rule.iif.is_none()
        && rule.oif.is_none()
        && rule.fwmark.is_none()
}

/// `all`, an address or a network of a rule; `Err` where it is none.
pub fn selector(text: &str) -> Result<Option<Cidr>, String> {
    match text {
        "all" | "" | "any" => Ok(None),
        _ => network(text).ok_or_else(|| format!("the network {text}")),
    }
}

/// Adds a neighbour that does not age, or one that the machine answers for.
pub fn add_neighbour(address: IpAddr, dev: IfName, mac: Option<Mac>, model: &mut Model) {
    let one = (address, dev, mac);
    if !model.permanent.contains(&one) && model.permanent.len() < EACH_MAX {
        model.permanent.push(one);
    }
}

/// Writes them all.
pub fn write(model: &mut Model, far: &FarEnd, draft: &mut Draft) {
    routes(model, draft);
    rules(model, draft);
    neighbours(model, far, draft);
}

/// Routes that the machine's devices can have, one for each destination, table and metric. Those to what is on a device's own network
/// come first: next hops may be there.
fn routes(model: &mut Model, draft: &mut Draft) {
    let mut written = Vec::new();
    let (on_link, by_hop): (Vec<Route>, Vec<Route>) =
        model.routes.clone().into_iter().partition(|route| route.via.is_none());
    let mut nets: Vec<(Cidr, IfName)> = Vec::new();
    for route in on_link.into_iter().chain(by_hop) {
        if follows_from_address(model, &route) {
            continue;
        }
        let key = (route.is_ipv6, route.to, route.extras.table, route.extras.metric);
        let found = if written.contains(&key) {
            Err("there is another one to the same destination".to_owned())
        } else {
            device(model, &route, &nets)
        };
        match found {
            Ok(dev) => {
                draft.push(table(model, &route, dev.as_ref()));
                let is_on_link = route.via.is_none() && route.extras.table.is_none();
                nets.extend(route.to.zip(dev).filter(|_| is_on_link));
                written.push(key);
            }
            Err(why) => model.note(format!("route to {}: {why}", destination(&route))),
        }
    }
}

/// `default` where the next hop shows the family.
fn destination(route: &Route) -> String {
    match route.to {
        Some(to) => to.to_string(),
        None if route.is_ipv6 && route.via.is_none() => "::/0".into(),
        None => "default".into(),
    }
}

fn table(model: &Model, route: &Route, dev: Option<&IfName>) -> Section {
    let RouteExtras { kind, table, metric, src, mtu, onlink } = route.extras;
    let section = Section::item(&["ns", "node", "routes"]).with("to", destination(route));
    let section = section.maybe("via", route.via.map(|via| via.to_string()));
    let section = section.maybe("dev", dev.map(ToString::to_string));
    let is_own =
        |src: &IpAddr| nodes(model).any(|(_, link)| link.addresses.iter().any(|own| own.address == *src));
    // Another address is refused (`fib_valid_prefsrc()`).
    let section = section.maybe("src", src.filter(is_own).map(|src| src.to_string()));
    let section = section.maybe("type", kind.map(|kind| kind.to_string()));
    let section = section.maybe("table", table.map(i64::from)).maybe("metric", metric.map(i64::from));
    section.maybe("mtu", mtu.map(i64::from)).maybe("onlink", onlink.then_some(true))
}

fn nodes(model: &Model) -> impl Iterator<Item = (&IfName, &Link)> {
    model.links.iter().filter(|(_, link)| link.place == Place::Node)
}

/// The kernel makes the route to a device's own network with its address (`fib_add_ifaddr()`, `addrconf_prefix_route()`).
fn follows_from_address(model: &Model, route: &Route) -> bool {
    let (Some(to), None, Some(dev)) = (route.to, route.via, &route.dev) else { return false };
    let is_network = |own: &Cidr| own.prefix == to.prefix && own.contains(to.address);
    route.extras.table.is_none()
        && model.links.get(dev).is_some_and(|link| link.addresses.iter().any(is_network))
}

/// The device of a route, as far as the kernel takes it.
fn device(model: &Model, route: &Route, on_link: &[(Cidr, IfName)]) -> Result<Option<IfName>, String> {
    if route.extras.kind.is_some() {
        return Ok(None);
    }
    if route.to.is_some_and(|to| has_host_bits(&to)) {
        return Err("it is an address with a prefix length, and no network".into());
    }
    let is_up = |link: &Link| link.up != Some(false) || link.controller.is_some();
    let Some(via) = route.via else {
        let dev = route.dev.clone().ok_or("it has neither next hop nor device")?;
        return match nodes(model).find(|(name, _)| **name == dev) {
            None => Err(format!("{dev} is not carried over")),
            Some((_, link)) if !is_up(link) => Err(format!("{dev} is down")),
            Some(_) => Ok(Some(dev)),
        };
    };
    if model.links.values().any(|link| link.addresses.iter().any(|own| own.address == via)) {
        return Err(format!("its next hop {via} is an address of the machine's own"));
    }
    let is_link_local = matches!(via, IpAddr::V6(via) if via.is_unicast_link_local());
    let is_host = |cidr: &Cidr| cidr.prefix == if cidr.address.is_ipv4() { 32 } else { 128 };
    let has_network = |link: &Link| {
        let is_near = |cidr: &Cidr| !is_host(cidr) && cidr.contains(via);
        is_up(link) && link.addresses.iter().any(is_near)
    };
    let is_asked = |name: &IfName| route.dev.as_ref().is_none_or(|dev| dev == name);
    // What a route of the text makes a neighbour, or the route itself.
    let is_declared = |name: &IfName| {
        let is_near = |(net, dev): &(Cidr, IfName)| dev == name && net.contains(via);
        on_link.iter().any(is_near) || (route.dev.is_some() && (route.extras.onlink || is_link_local))
    };
    let all: Vec<(&IfName, &Link)> = nodes(model).filter(|(name, _)| is_asked(name)).collect();
    let near = all.iter().find(|(_, link)| has_network(link));
    let declared = || all.iter().find(|(name, link)| is_declared(name) && is_up(link));
    let found = near.or_else(declared).map(|(name, _)| (*name).clone());
    match found {
        Some(name) => Ok(Some(name)),
        None => Err("no address that is carried over is in the network of its next hop".into()),
    }
}

fn has_host_bits(cidr: &Cidr) -> bool {
    match cidr.address {
        IpAddr::V4(address) => {
            u32::from(address) & !u32::MAX.checked_shl(32 - u32::from(cidr.prefix)).unwrap_or(0) != 0
        }
        IpAddr::V6(address) => {
            u128::from(address) & !u128::MAX.checked_shl(128 - u32::from(cidr.prefix)).unwrap_or(0) != 0
        }
    }
}

/// Rules whose devices are there.
fn rules(model: &mut Model, draft: &mut Draft) {
    for rule in model.rules.clone() {
        let gone = rule
            .iif
            .iter()
            .chain(&rule.oif)
            .find(|dev| dev.as_str() != "lo" && nodes(model).all(|(name, _)| name != *dev));
        if let Some(gone) = gone {
            model.note(format!("rule {rule}: {gone} is not carried over"));
            continue;
        }
        // Without a network the family has to be named: that of all addresses.
        let is_unnamed = rule.ipv6 && rule.from.is_none() && rule.to.is_none();
        let from = rule.from.map(|from| from.to_string()).or(is_unnamed.then(|| "::/0".to_owned()));
        let section = Section::item(&["ns", "node", "rules"]).with("priority", i64::from(rule.priority));
        let section = section.maybe("from", from).maybe("to", rule.to.map(|to| to.to_string()));
        let section = section.maybe("iif", rule.iif.as_ref().map(ToString::to_string));
        let section = section.maybe("oif", rule.oif.as_ref().map(ToString::to_string));
        let section = section.maybe("fwmark", rule.fwmark.map(i64::from));
        draft.push(section.maybe("table", rule.table.map(i64::from)));
    }
}

/// The gateway has another address than the router of the text: its entry names the device that has it.
fn neighbours(model: &mut Model, far: &FarEnd, draft: &mut Draft) {
    for (address, dev, mac) in model.permanent.clone() {
        let is_there = nodes(model)
            .any(|(name, link)| *name == dev && (link.up != Some(false) || link.controller.is_some()));
        if !is_there {
            model.note(format!("neighbour {address}: {dev} is not carried over, or down"));
            continue;
        }
        let section = Section::item(&["ns", "node", "neighbours"]).with("to", address.to_string());
        let section = section.with("dev", dev.as_str());
        let section = match (mac, far.device_with(address)) {
            (Some(_), Some(device)) => section.with("mac", format!("gateway:{device}")),
            (Some(mac), None) => section.with("mac", mac.to_string()),
            (None, _) => section.with("proxy", true),
        };
        draft.push(section);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn added(written: &Written<'_>) -> Vec<String> {
        let mut model = Model::default();
        add(written, &mut model);
        let shown =
            |route: &Route| format!("{} {:?} {:?}", destination(route), route.via, route.extras.table);
        model.routes.iter().map(shown).chain(model.notes).collect()
    }

    #[rstest::rstest]
    #[case("default", Some("fe80::1"), "default Some(fe80::1) None")]
    #[case("::/0", None, "::/0 None None")]
    #[case("2001:db8::9", Some("2001:db8:1::1"), "2001:db8::9/128 Some(2001:db8:1::1) None")]
    #[case("192.0.2.9", Some("198.51.100.1"), "192.0.2.9/32 Some(198.51.100.1) None")]
    #[case(
        "192.0.2.0/24",
        Some("fe80::1"),
        "route to 192.0.2.0/24 by eth0: its next hop is of another family"
    )]
    #[case("10.0.0.0/8", Some("inet6"), "route to 10.0.0.0/8 by eth0: inet6 is no address of a next hop")]
    #[case("elsewhere", None, "route to elsewhere by eth0: it is no network")]
    fn routes_of_both_families(#[case] to: &str, #[case] via: Option<&str>, #[case] expected: &str) {
        assert_eq!(added(&Written { to, via, dev: "eth0", ..Written::default() }), [expected]);
    }

    #[test]
    fn the_kernels_own_are_left_out_without_a_word() {
        for to in ["fe80::/64", "ff00::/8", "::1"] {
            assert_eq!(added(&Written { to, dev: "eth0", ..Written::default() }), [""; 0]);
        }
        assert_eq!(added(&Written { to: "192.0.2.5", table: Some("local"), ..Written::default() }), [""; 0]);
    }

    #[test]
    fn names_of_tables_get_numbers_once() {
        let mut model = Model::default();
        let numbers = ["isp1", "main", "7", "isp2", "isp1"].map(|name| table_number(name, &mut model));
        assert_eq!((numbers, model.notes.len()), ([1001, 254, 7, 1002, 1001], 2));
    }

    #[test]
    fn host_bits_are_found() {
        let has = |text: &str| has_host_bits(&text.parse().expect("a network"));
        assert_eq!(
            ["10.0.0.0/8", "10.0.0.1/8", "0.0.0.0/0", "10.0.0.1/32"].map(has),
            [false, true, false, false]
        );
        assert_eq!(["2001:db8::/32", "2001:db8::1/64", "::1/128"].map(has), [false, true, false]);
    }
}
