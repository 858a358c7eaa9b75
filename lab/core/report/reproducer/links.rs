//! Links as commands of `ip link`, with the words that iproute2 has for their options.

use std::fmt::Write;

use crate::net::bond::BondChange;
use crate::net::link::{Link, LinkKind};
use crate::net::option::{OptionRow, Value, Wire};
use crate::report::reproducer::script::{Script, quoted};

/// A link is made under this name where its parent is in another namespace: up to 6.13 the kernel looks for the wanted name among
/// the parent's devices (`__rtnl_newlink()`).
const NAME_ON_THE_WAY: &str = "on-its-way";

/// Makes a link, down; `peer` is the other end of its cable.
pub fn create(script: &mut Script, link: &Link, peer: Option<&Link>) {
    let kind = match &link.kind {
        LinkKind::Dummy => "dummy".to_owned(),
        LinkKind::Veth { .. } => return cable(script, link, peer),
        LinkKind::Bond(bond) => {
            let values = bond.values();
            // It is set when all ports have joined: the kernel refuses one whose link is down.
            let at_once = values.iter().filter(|(row, _)| row.key != "active_slave");
            format!("bond{}", options(at_once))
        }
        LinkKind::Vlan { id, protocol, .. } => format!("vlan protocol {protocol} id {}", id.get()),
        LinkKind::Ipvlan { mode, flag, .. } => format!("ipvlan mode {mode} {flag}"),
        LinkKind::Macvlan { mode, .. } => format!("macvlan mode {mode}"),
        LinkKind::Bridge { vlan_filtering, .. } => {
            if *vlan_filtering {
                "bridge vlan_filtering 1".to_owned()
            } else {
                "bridge".to_owned()
            }
        }
        LinkKind::Virtual(_)
        | LinkKind::Tun(_)
        | LinkKind::Gadget { .. }
        | LinkKind::GadgetHost { .. }
        | LinkKind::Netdevsim(_)
        | LinkKind::Nic(_)
        | LinkKind::Pf(_)
        | LinkKind::Vf { .. } => {
            let what = format!("make {} {}", link.kind.word(), link.device);
            return script.missing(&what, "the script has no command for it");
        }
    };
    options_missing(script, link);
    let (ns, name) = (quoted(link.device.ns.as_str()), quoted(link.device.name.as_str()));
    match link.kind.parent() {
        None => script.run(format!("ip -n {ns} link add {name}{} type {kind}", common(link))),
        Some(parent) if parent.ns == link.device.ns => {
            let parent = quoted(parent.name.as_str());
            script.run(format!("ip -n {ns} link add link {parent} name {name}{} type {kind}", common(link)));
        }
        Some(parent) => {
            let (below, parent) = (quoted(parent.ns.as_str()), quoted(parent.name.as_str()));
            script.run(format!(
                "ip -n {below} link add link {parent} name {NAME_ON_THE_WAY}{} netns {ns} type {kind}",
                common(link)
            ));
            script.run(format!("ip -n {ns} link set {NAME_ON_THE_WAY} name {name}"));
        }
    }
}

/// Options that are rows of `net::link_option` are not written yet.
fn options_missing(script: &mut Script, link: &Link) {
    let words = link.extras.words(link.kind.word());
    if !words.is_empty() {
        let what = format!("set {} of {}", words.join(", "), link.device);
        script.missing(&what, "the script has no command for it");
    }
}

fn cable(script: &mut Script, link: &Link, peer: Option<&Link>) {
    let Some(peer) = peer else {
        return script.missing(&format!("make veth {}", link.device), "its other end is not in the plan");
    };
    options_missing(script, link);
    options_missing(script, peer);
    script.run(format!(
        "ip -n {} link add {}{} type veth peer name {} netns {}{}",
        quoted(link.device.ns.as_str()),
        quoted(link.device.name.as_str()),
        common(link),
        quoted(peer.device.name.as_str()),
        quoted(peer.device.ns.as_str()),
        common(peer)
    ));
}

/// What every kind of link may be asked for.
fn common(link: &Link) -> String {
    let mut out = String::new();
    let mut word = |key: &str, value: Option<String>| {
        if let Some(value) = value {
            let _ = write!(out, " {key} {value}");
        }
    };
    word("address", link.mac.map(|mac| mac.to_string()));
    word("mtu", link.mtu.map(|mtu| mtu.to_string()));
    word("txqueuelen", link.txqueuelen.map(|len| len.to_string()));
    out
}

/// Changes options of a bond or of its port.
pub fn change(script: &mut Script, ns: &str, name: &str, change: &BondChange) {
    let kind = match change {
        BondChange::Bond { .. } => "bond",
        BondChange::Port(_) => "bond_slave",
    };
    let values = change.values();
    script.run(format!(
        "ip -n {} link set {} type {kind}{}",
        quoted(ns),
        quoted(name),
        options(values.iter())
    ));
}

fn options<'a>(values: impl Iterator<Item = &'a (&'static OptionRow, Value)>) -> String {
    values.map(|(row, value)| format!(" {} {}", row.key, quoted(&word(row, value)))).collect()
}

/// A value as `ip link` takes it (ip/iplink_bond.c): the older flags are numbers, the younger ones on and off.
fn word(row: &OptionRow, value: &Value) -> String {
    const ON_OFF: [&str; 4] = ["lacp_active", "coupled_control", "broadcast_neighbor", "lacp_strict"];
    match (value, row.wire) {
        (Value::Number(number), Wire::Flag) if ON_OFF.contains(&row.key) => {
            if *number == 0 {
                "off".to_owned()
            } else {
                "on".to_owned()
            }
        }
        (Value::Number(number), Wire::Flag) => number.to_string(),
        _ => row.wire.shown(value).replace(", ", ","),
    }
}
