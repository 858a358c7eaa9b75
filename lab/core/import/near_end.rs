//! The machine itself: its links, routes and addresses as tables.

use std::collections::BTreeMap;

use toml::Value;

use crate::import::draft::{Draft, Section, texts};
use crate::import::far_end::{FarEnd, is_dead, macsec_key, place};
use crate::import::model::{Kind, Link, Model, Place, PortVlan, Queue};
use crate::import::options::{self, SPECS};
use crate::import::settle::DEPTH_MAX;
use crate::import::{link_options, routing};
use crate::net::link_option::words::VirtualKind;
use crate::net::name::IfName;

/// Writes them.
pub fn write(model: &mut Model, far: &FarEnd, draft: &mut Draft) {
    let mut links: Vec<(u8, Kind, IfName)> = Vec::new();
    for (name, link) in &model.links {
        links.extend(order(link.kind).map(|order| (order, link.kind, name.clone())));
    }
    links.sort_by_key(|(order, ..)| *order);
    for (_, kind, name) in links {
        let section = match &model.links[&name].function_of {
            Some((_, number)) => function(far, &name, *number, draft),
            None => table(model, far, &name),
        };
        draft.push(section);
        match kind {
            Kind::Bridge => bridge_ports(model, &name, draft),
            Kind::Bond => bond_ports(model, &name, draft),
            _ => {}
        }
    }
    routing::write(model, far, draft);
    queues(model);
}

/// Which kinds come first; `None` is not written.
fn order(kind: Kind) -> Option<u8> {
    Some(match kind {
        Kind::Nic => 0,
        Kind::Veth => 1,
        Kind::Tap | Kind::Tun => 2,
        Kind::Dummy => 3,
        Kind::Bond => 4,
        Kind::Vlan => 5,
        Kind::Bridge => 6,
        Kind::Macvlan => 7,
        Kind::Ipvlan => 8,
        Kind::Virtual(_) => 9,
        Kind::Unknown | Kind::Other => return None,
    })
}

fn table(model: &Model, far: &FarEnd, name: &IfName) -> Section {
    let link = &model.links[name];
    let word = match link.kind {
        Kind::Nic | Kind::Veth => "veth",
        Kind::Tap => "tap",
        Kind::Tun => "tun",
        Kind::Virtual(kind) => kind.word(),
        Kind::Bond => "bond",
        Kind::Vlan => "vlan",
        Kind::Bridge => "bridge",
        Kind::Macvlan => "macvlan",
        Kind::Ipvlan => "ipvlan",
        Kind::Dummy | Kind::Unknown | Kind::Other => "dummy",
    };
    let mut section = Section::table(&["ns", place(link), word, name.as_str()]);
    match link.kind {
        Kind::Nic => {
            let driver = link.driver.as_ref().map_or(String::new(), |driver| format!(", driver {driver}"));
            section = section.comment(format!("A NIC{driver}; a cable's end plays it."));
            section = section.with("peer", format!("switch:{}", far.ports[name])).with("qdisc", queue(link));
        }
        Kind::Bond => section = bond(model, name, link, section),
        Kind::Vlan => {
            section = section.with("parent", parent(link)).with("id", i64::from(link.vlan_id.unwrap_or(1)));
            section = section.maybe("protocol", link.is_service_tag.then_some("802.1ad"));
            section = settings(link, section);
        }
        Kind::Veth => section = section.maybe("peer", link.peer.as_ref().map(|peer| format!("node:{peer}"))),
        Kind::Virtual(_) => section = virtual_link(model, far, name, section),
        Kind::Bridge => {
            section = section.with("ports", texts(model.ports(name)));
            if let Some(own) = model.vlans_of(name, name) {
                section = section.with("vlan_filtering", true).with("vlans", ranges(&own));
            }
            section = settings(link, section);
        }
        Kind::Macvlan => {
            let known = ["private", "vepa", "bridge", "passthru"];
            let mode = link.mode.as_deref().filter(|mode| known.contains(mode));
            section = section.with("parent", parent(link)).maybe("mode", mode);
        }
        Kind::Ipvlan => {
            let mode = link.mode.as_deref().filter(|mode| ["l2", "l3", "l3s"].contains(mode));
            let flag = link.flag.as_deref();
            section = section.with("parent", parent(link)).maybe("mode", mode).maybe("flag", flag);
        }
        Kind::Tap | Kind::Tun | Kind::Dummy | Kind::Unknown | Kind::Other => {}
    }
    common(model, link, section)
}

/// Options of a bond's ports, in the modes that have them.
fn bond_ports(model: &Model, bond: &IfName, draft: &mut Draft) {
    let mode = model.links[bond].options.get("mode").map_or("", String::as_str);
    for port in model.ports(bond) {
        let is_for_mode = |key: &str| match key {
            "prio" => ["active-backup", "balance-tlb", "balance-alb"].contains(&mode),
            "actor_port_prio" => mode == "802.3ad",
            _ => true,
        };
        let link = &model.links[&port];
        let mut asked = link.port_options.iter().filter(|(key, _)| is_for_mode(key)).peekable();
        if asked.peek().is_some() {
            let section = Section::table(&["ns", place(link), "bond", bond.as_str(), "port", port.as_str()]);
            draft.push(asked.fold(section, |section, (key, value)| section.with(key, *value)));
        }
    }
}

/// The VLANs and options of a bridge's ports.
fn bridge_ports(model: &Model, bridge: &IfName, draft: &mut Draft) {
    for port in model.ports(bridge) {
        let vlans = model.vlans_of(bridge, &port);
        let options = &model.links[&port].bridge_port;
        if vlans.is_some() || !options.is_empty() {
            let section = Section::table(&["ns", "node", "bridge", bridge.as_str(), "port", port.as_str()]);
            let section = section.maybe("vlans", vlans.map(|vlans| ranges(&vlans)));
            draft
                .push(options.iter().fold(section, |section, (key, value)| section.with(key, value.clone())));
        }
    }
}

/// VLANs that follow each other as ranges; the one of untagged frames by itself, for a range cannot have it.
fn ranges(vlans: &BTreeMap<u16, PortVlan>) -> Value {
    let mut all: Vec<(u16, u16, PortVlan)> = Vec::new();
    for (id, one) in vlans {
        match all.last_mut() {
            Some((_, last, is)) if *last + 1 == *id && is == one && !one.pvid => *last = *id,
            _ => all.push((*id, *id, *one)),
        }
    }
    let table = |(id, last, one): (u16, u16, PortVlan)| {
        let mut table = toml::Table::new();
        table.insert("id".into(), i64::from(id).into());
        if last > id {
            table.insert("to".into(), i64::from(last).into());
        }
        for (key, is) in [("pvid", one.pvid), ("untagged", one.untagged)] {
            if is {
                table.insert(key.into(), true.into());
            }
        }
        Value::Table(table)
    };
    Value::Array(all.into_iter().map(table).collect())
}

fn settings(link: &Link, section: Section) -> Section {
    link.settings.iter().fold(section, |section, (key, value)| section.with(key, value.clone()))
}

/// A VRF, a team, a tunnel.
fn virtual_link(model: &Model, far: &FarEnd, name: &IfName, mut section: Section) -> Section {
    let link = &model.links[name];
    let has_parent = matches!(
        link.kind,
        Kind::Virtual(VirtualKind::Vxlan | VirtualKind::Gre | VirtualKind::Gretap | VirtualKind::Macsec)
    );
    section = section.maybe("parent", link.parent.as_ref().filter(|_| has_parent).map(ToString::to_string));
    if link.takes_ports() {
        section = section.with("ports", texts(model.ports(name)));
    }
    if link.is(VirtualKind::Team) {
        // teamd has it, and the kernel does not show it to ip.
        let ports = model.ports(name);
        let active = ports.iter().find(|port| !is_dead(&model.links[*port]));
        section = section.comment("Made up: its mode and its active port.").with("mode", "activebackup");
        section = section.maybe("active_port", active.map(ToString::to_string));
    }
    if link.is(VirtualKind::Macsec) {
        section = section.comment("Made up: its key, and its peer on the gateway.");
        section = section
            .with("key", macsec_key(link))
            .maybe("peer", far.channels.get(name).map(|(peer, _)| format!("gateway:{peer}")));
    }
    settings(link, section)
}

/// The queue that `tc` shows, as far as topologies have it; else fq_codel, which NICs have by default from 6.1 on.
fn queue(link: &Link) -> toml::Table {
    let mut table = toml::Table::new();
    let known = link.queue.as_ref().filter(|queue| is_carried(queue));
    let kind = known.map_or("fq_codel", |queue| queue.kind.as_str());
    table.insert("kind".into(), kind.into());
    if let Some(limit) = known.and_then(|queue| queue.limit).filter(|_| kind != "pfifo_fast") {
        table.insert("limit".into(), i64::from(limit).into());
    }
    table
}

/// Whether a topology can have this queue at the root of a NIC without more than a limit.
fn is_carried(queue: &Queue) -> bool {
    match queue.kind.as_str() {
        "pfifo" | "bfifo" | "sfq" => queue.limit.is_some_and(|limit| limit > 0),
        "fq_codel" | "fq" | "codel" => queue.limit.is_none_or(|limit| limit > 0),
        "pfifo_fast" => true,
        _ => false,
    }
}

/// Queues that are not carried over.
fn queues(model: &mut Model) {
    let mut notes = Vec::new();
    for (name, link) in &model.links {
        let Some(queue) = link.queue.as_ref().filter(|queue| !is_carried(queue)) else { continue };
        match (link.kind, queue.kind.as_str()) {
            (_, "noqueue" | "noop" | "mq") => {}
            (Kind::Nic, kind) => {
                notes.push(format!("{name}: its queue {kind} is not carried over; fq_codel is in its place"))
            }
            (_, kind) => notes.push(format!("{name}: its queue {kind} is not carried over")),
        }
    }
    notes.into_iter().for_each(|note| model.note(note));
}

/// A made-up PF; its VF's table comes after it.
fn function(far: &FarEnd, name: &IfName, number: usize, draft: &mut Draft) -> Section {
    let section = Section::table(&["ns", "node", "pf", name.as_str()]);
    let section = section.comment("Made up: a PF, with a switch in its place.").with("driver", "igb");
    let section =
        section.with("backing", "switch").with("vfs", 1).with("peer", format!("switch:{}", far.ports[name]));
    draft.push(section);
    let section = Section::table(&["ns", "node", "vf", &format!("vf{number}")]);
    section.with("of", format!("node:{name}")).with("index", 0)
}

/// As a topology names a parent: with its namespace where that is another one.
fn parent(link: &Link) -> String {
    let parent = link.parent.as_ref().map(ToString::to_string).unwrap_or_default();
    if link.place == Place::Pod { format!("node:{parent}") } else { parent }
}

/// The MTU of a link that is made without one: that of its parent (`vlan_newlink()`, `macvlan_common_newlink()`).
fn given_mtu(model: &Model, link: &Link, depth: usize) -> u32 {
    let of = |name: &IfName| {
        let link = model.links.get(name).filter(|_| depth < DEPTH_MAX)?;
        let owner = link.controller.as_ref().and_then(|owner| model.links.get(owner));
        let of_bond = owner.filter(|owner| owner.kind == Kind::Bond).and_then(|owner| owner.mtu);
        Some(of_bond.or(link.mtu).unwrap_or_else(|| given_mtu(model, link, depth + 1)))
    };
    let lower = match link.kind {
        Kind::Vlan | Kind::Macvlan | Kind::Ipvlan => link.parent.as_ref().and_then(of),
        _ => None,
    };
    lower.unwrap_or(1500)
}

fn common(model: &Model, link: &Link, section: Section) -> Section {
    let is_port = link.controller.is_some();
    let owner = link.controller.as_ref().and_then(|owner| model.links.get(owner));
    // A bond or team gives its address to its ports, and has that of one: only what NICs were made with is worth keeping.
    let own =
        if owner.is_some_and(Link::is_bundle) { link.permanent_mac } else { link.mac.or(link.permanent_mac) };
    let mac =
        own.filter(|mac| matches!(link.kind, Kind::Nic | Kind::Veth) && mac.0[0] & 1 == 0 && mac.0 != [0; 6]);
    let section = section.maybe("mac", mac.map(|mac| mac.to_string()));
    let is_usual = |mtu: u32| mtu == 1500 && given_mtu(model, link, 0) == 1500;
    let mtu = link.mtu.filter(|mtu| !is_usual(*mtu) && (68..=65535).contains(mtu)).map(i64::from);
    let is_down = link.up == Some(false) && !is_port;
    let section = section.maybe("mtu", mtu).maybe("up", is_down.then_some(false));
    let others = link.common.iter().filter(|(key, value)| !link_options::is_default(link, key, value));
    let section = others.fold(section, |section, (key, value)| section.with(key, value.clone()));
    section.maybe("addresses", (!link.addresses.is_empty()).then(|| texts(&link.addresses)))
}

fn bond(model: &Model, name: &IfName, link: &Link, mut section: Section) -> Section {
    for (option, value) in &link.options {
        let Some(spec) = SPECS.iter().find(|spec| spec.name == *option) else { continue };
        section = section.with(spec.name, typed(spec.value, value));
    }
    section.with("ports", texts(model.ports(name)))
}

fn typed(kind: options::Value, value: &str) -> Value {
    match kind {
        options::Value::Number => Value::Integer(value.parse().unwrap_or(0)),
        options::Value::Bool => Value::Boolean(value == "true"),
        options::Value::Word(_) | options::Value::Device | options::Value::Mac => Value::from(value),
        options::Value::Addresses | options::Value::Addresses6 => texts(value.split(',')),
    }
}
