//! From what was read to links that can be made: kinds decided, parents found, what cannot be carried over noted.

use std::collections::{BTreeMap, BTreeSet};

use crate::import::model::{Kind, Link, Model, Place, PortVlan, Queue};
use crate::import::options::{self, SPECS};
use crate::import::{cables, virtual_links};
use crate::net::name::IfName;
use crate::topology::lint::table::{
    ARP_MONITOR_REFUSED, BRIDGE_LACKS_VLAN, MTU_ORDER, OPTION_IGNORED, PRIMARY_NOT_PORT, TWO_MONITORS,
};

/// Devices above devices above devices: the kernel has a limit of 8 (`MAX_NEST_DEV`).
pub const DEPTH_MAX: usize = 8;

/// Ports of one bond; more show nothing else.
const PORTS_MAX: usize = 8;

/// Decides what each link is.
pub fn settle(model: &mut Model) {
    logged(model);
    roots(model);
    cables::pairs(model);
    cables::settle(model);
    parents(model);
    pods(model);
    kinds(model);
    others(model);
    circles(model);
    bonds(model);
    sizes(model);
    bridge_vlans(model);
    unused(model);
}

/// What the kernel's log says, where nothing shows the present state.
fn logged(model: &mut Model) {
    let mut notes = Vec::new();
    for (name, link) in &mut model.links {
        link.carrier = link.carrier.or(link.logged_carrier.take());
        if std::mem::take(&mut link.logged_no_partner) {
            link.has_partner = link.has_partner.or(Some(false));
        }
        let failures = link.failures.unwrap_or(0).max(link.logged_failures);
        if failures > 0 && link.carrier != Some(false) && link.kind <= Kind::Nic {
            notes.push(format!(
                "{name}: it lost its link ({failures} counted), and has it again: a run begins with the link up"
            ));
        }
        link.failures = link.failures.or(Some(failures).filter(|count| *count > 0));
    }
    notes.into_iter().for_each(|note| model.note(note));
}

/// The root queue that `ip link` names, where `tc` shows none.
fn roots(model: &mut Model) {
    for link in model.links.values_mut().filter(|link| link.queue.is_none()) {
        link.queue = link.qdisc.take().map(|kind| Queue { kind, limit: None, packets: None, drops: None });
    }
}

/// VLAN devices on a bridge of which the bridge, or a port of it, does not have the VLAN.
fn bridge_vlans(model: &mut Model) {
    // A VLAN device on a bridge has its own of it: ifupdown2 adds it without a word.
    let of_bridges: Vec<(IfName, u16)> = model
        .links
        .values()
        .filter(|link| link.kind == Kind::Vlan)
        .filter_map(|link| link.parent.clone().zip(link.vlan_id))
        .filter(|(bridge, _)| {
            model.links.get(bridge).is_some_and(|link| link.vlan_filtering == Some(true))
                && !model.bridge_vlans.contains_key(bridge)
        })
        .collect();
    for (bridge, id) in of_bridges {
        let first = [(1, PortVlan { pvid: true, untagged: true }), (id, PortVlan::default())];
        model
            .bridge_vlans
            .entry(bridge)
            .or_insert_with(|| BTreeMap::from(first))
            .insert(id, PortVlan::default());
    }
    let table = std::mem::take(&mut model.bridge_vlans);
    let mut found = Vec::new();
    for (name, link) in model.links.iter().filter(|(_, link)| link.kind == Kind::Vlan) {
        let (Some(id), Some(bridge)) = (link.vlan_id, &link.parent) else { continue };
        if model.links.get(bridge).is_none_or(|bridge| bridge.kind != Kind::Bridge) {
            continue;
        }
        for port in std::iter::once(bridge.clone()).chain(model.ports(bridge)) {
            if table.get(&port).is_some_and(|vlans| !vlans.contains_key(&id)) {
                // The words of the topology's own rule for the bridge itself: the finding is one.
                let filters = if port == *bridge { " filters VLANs, and" } else { "" };
                found.push(format!("node:{port}{filters} does not have VLAN {id} of node:{name}"));
            }
        }
    }
    found.into_iter().for_each(|message| model.lint(&BRIDGE_LACKS_VLAN, message));
    model.bridge_vlans = table;
}

/// Each parent and controller is a link.
fn parents(model: &mut Model) {
    let named: Vec<(IfName, Link)> =
        model.links.iter().map(|(name, link)| (name.clone(), link.clone())).collect();
    for (name, link) in &named {
        if link.kind == Kind::Vlan && link.parent.is_none() {
            let stem = name.as_str().split_once('.').and_then(|(stem, _)| stem.parse::<IfName>().ok());
            let bonds = model.bonds();
            let only = bonds.first().filter(|_| bonds.len() == 1).cloned();
            let parent = stem.filter(|stem| model.links.contains_key(stem)).or(only);
            if let Some(link) = model.link(name.as_str()) {
                link.parent = parent;
            }
        }
    }
    let below: Vec<IfName> = model
        .links
        .values()
        .flat_map(|link| [link.parent.clone(), link.controller.clone()])
        .flatten()
        .collect();
    for name in below {
        let kind = if name.as_str().starts_with("bond") && !name.as_str().contains('.') {
            Kind::Bond
        } else {
            Kind::Unknown
        };
        model.kind(name.as_str(), kind);
    }
    let links = &model.links;
    model.neighbours.retain(|entry| links.contains_key(&entry.dev));
}

/// A pod's interface stands on a VLAN, or on what the text says.
fn pods(model: &mut Model) {
    let (kind, vlan) = model.attached.unwrap_or((Kind::Macvlan, None));
    let vlans = model.links.iter().filter(|(_, link)| link.kind == Kind::Vlan && link.place == Place::Node);
    let is_pods = |link: &Link| link.place == Place::Pod && !link.is_pooled;
    let dropped = |link: &Link| link.counters.get("tx_dropped").copied().unwrap_or(0);
    let mut vlans: Vec<(IfName, bool, u64)> = vlans
        .map(|(name, link)| (name.clone(), vlan.is_some() && link.vlan_id == vlan, dropped(link)))
        .collect();
    vlans.sort_by_key(|(_, is_named, dropped)| std::cmp::Reverse((*is_named, *dropped)));
    let bond = model.bonds().first().cloned();
    let parent = vlans.first().map(|(name, ..)| name.clone()).or(bond);
    let pods: Vec<IfName> =
        model.links.iter().filter(|(_, link)| is_pods(link)).map(|(name, _)| name.clone()).collect();
    for name in pods {
        match &parent {
            Some(parent) => {
                model.note(format!("{name} of the pod: {parent} is taken as its parent"));
                if let Some(link) = model.link(name.as_str()) {
                    (link.kind, link.parent) = (kind, link.parent.take().or_else(|| Some(parent.clone())));
                }
            }
            None => {
                model.note(format!("{name} of a pod: the text does not show what it stands on"));
                model.links.shift_remove(&name);
            }
        }
    }
}

fn kinds(model: &mut Model) {
    let names: Vec<IfName> = model.links.keys().cloned().collect();
    for name in names {
        let ports = model.ports(&name).len();
        let Some(link) = model.links.get_mut(&name) else { continue };
        let said = name.as_str();
        // Made by container runtimes, hypervisors and tunnels, never by hand.
        let begins = [
            "docker", "virbr", "veth", "cali", "lxc", "cilium", "flannel", "kube-", "tap", "vnet", "tunl",
            "wg",
        ];
        let is_runtime = begins.iter().any(|begin| said.starts_with(begin)) || said.starts_with("br-");
        if link.kind == Kind::Unknown && is_runtime && ports == 0 && link.controller.is_none() {
            link.kind = Kind::Other;
            link.kind_word = "a container runtime, hypervisor or tunnel makes it".into();
        } else if link.kind == Kind::Unknown && link.parent.is_none() {
            link.kind = if ports > 0 { Kind::Bridge } else { Kind::Nic };
        } else if link.kind == Kind::Unknown {
            link.kind = Kind::Other;
            link.kind_word = "the text does not show its kind (ip -d link does)".into();
        }
        if link.kind == Kind::Vlan && (link.vlan_id.is_none_or(|id| id > 4094) || link.parent.is_none()) {
            link.kind = Kind::Other;
            link.kind_word = "a VLAN whose number or parent the text does not show".into();
        }
        if let Kind::Virtual(kind) = link.kind
            && let Some(why) = virtual_links::obstacle(said, kind, link)
        {
            link.kind = Kind::Other;
            link.kind_word = why.into();
        }
        if matches!(link.kind, Kind::Ipvlan | Kind::Macvlan) && link.parent.is_none() {
            link.kind = Kind::Other;
            link.kind_word = "the text does not show what it stands on".into();
        }
    }
}

/// Takes out what cannot be carried over, and what stands on it.
fn others(model: &mut Model) {
    for _ in 0..=DEPTH_MAX {
        let gone: Vec<(IfName, String)> = model
            .links
            .iter()
            .filter(|(_, link)| link.kind == Kind::Other)
            .map(|(name, link)| (name.clone(), link.kind_word.clone()))
            .collect();
        if gone.is_empty() {
            return;
        }
        for (name, word) in gone {
            model.note(format!("{name}: {word}"));
            model.links.shift_remove(&name);
            for link in model.links.values_mut() {
                if link.controller.as_ref() == Some(&name) {
                    link.controller = None;
                }
                if link.parent.as_ref() == Some(&name) {
                    link.kind = Kind::Other;
                    link.kind_word = format!("it stands on {name}, which is left out");
                }
            }
        }
    }
}

/// The device below: a parent's, or each port's.
pub fn below(model: &Model, name: &IfName) -> Vec<IfName> {
    let mut all = model.ports(name);
    all.extend(model.links.get(name).and_then(|link| link.parent.clone()));
    all
}

/// A device that stands on itself, or on a pile that is too high, is no device.
fn circles(model: &mut Model) {
    let names: Vec<IfName> = model.links.keys().cloned().collect();
    for name in names {
        let mut level: BTreeSet<IfName> = BTreeSet::from([name.clone()]);
        for _ in 0..DEPTH_MAX {
            level = level
                .iter()
                .flat_map(|name| below(model, name))
                .filter(|name| model.links.contains_key(name))
                .collect();
            if level.is_empty() || level.contains(&name) {
                break;
            }
        }
        if !level.is_empty() {
            model.note(format!(
                "{name}: it would stand on itself, or on more than {DEPTH_MAX} devices; it is taken out of it"
            ));
            if let Some(link) = model.links.get_mut(&name) {
                link.controller = None;
            }
            for port in model.ports(&name) {
                if let Some(link) = model.links.get_mut(&port) {
                    link.controller = None;
                }
            }
            if model.links.get(&name).is_some_and(|link| link.parent.is_some()) {
                model.links.shift_remove(&name);
            }
        }
    }
    // With what is taken out goes what stands on it, and what stands on that.
    let is_lost =
        |link: &Link, model: &Model| link.parent.clone().filter(|parent| !model.links.contains_key(parent));
    while let Some((name, parent)) =
        model.links.iter().find_map(|(name, link)| Some((name.clone(), is_lost(link, model)?)))
    {
        model.note(format!("{name}: it stands on {parent}, which is left out"));
        model.links.shift_remove(&name);
    }
    let names: BTreeSet<IfName> = model.links.keys().cloned().collect();
    for link in model.links.values_mut() {
        // Ports of one that is no bond and no bridge.
        link.controller = link.controller.take().filter(|controller| names.contains(controller));
    }
}

fn bonds(model: &mut Model) {
    let others: Vec<IfName> =
        model.links.iter().filter(|(_, link)| !link.takes_ports()).map(|(name, _)| name.clone()).collect();
    for name in others {
        for port in model.ports(&name) {
            model.note(format!("{port}: it would be a port of {name}, which is neither bond nor bridge"));
            if let Some(link) = model.links.get_mut(&port) {
                link.controller = None;
            }
        }
    }
    ports_without_bond(model);
    for name in model.bonds() {
        ports(&name, model);
        mode(&name, model);
        delays(&name, model);
    }
}

/// `ip -br link` names no controller: a link with IFF_SLAVE is a port of the only bond, of the only one without ports, or of that with
/// its address.
fn ports_without_bond(model: &mut Model) {
    let all = model.bonds();
    let bonds: Vec<IfName> =
        all.iter().filter(|bond| all.len() == 1 || model.ports(bond).is_empty()).cloned().collect();
    let is_alone = |link: &Link| link.is_bond_port && link.controller.is_none() && link.kind != Kind::Bond;
    let alone: Vec<IfName> =
        model.links.iter().filter(|(_, link)| is_alone(link)).map(|(name, _)| name.clone()).collect();
    for port in alone {
        let has_address_of = |bond: &&IfName| {
            let (port, bond) = (model.links[&port].mac, model.links[*bond].mac);
            port.is_some() && port == bond
        };
        let bond = if let [only] = &bonds[..] { Some(only) } else { bonds.iter().find(has_address_of) };
        match bond {
            Some(bond) => {
                model.note(format!(
                    "{port}: the text does not name its bond; by its flag SLAVE it is {bond}'s"
                ));
                model.port(bond.as_str(), port.as_str());
            }
            None => model.note(format!(
                "{port}: it has the flag SLAVE, and the text does not show of which bond it is a port"
            )),
        }
    }
}

/// A bond has ports, not too many of them; a port has no address of its own.
fn ports(name: &IfName, model: &mut Model) {
    let ports = model.ports(name);
    if ports.is_empty() {
        let count = if model.links[name].options.get("mode").is_some_and(|mode| mode == "active-backup") {
            1
        } else {
            2
        };
        let free: Vec<String> = (0..64)
            .map(|number| format!("eth{number}"))
            .filter(|free| !model.links.keys().any(|is| is.as_str() == free))
            .collect();
        for port in free.iter().take(count) {
            model.note(format!("{name}: the text does not show its ports; {port} is made up"));
            model.kind(port, Kind::Nic);
            model.port(name.as_str(), port);
        }
    }
    for port in ports.iter().skip(PORTS_MAX) {
        model.note(format!("{port}: {name} has more than {PORTS_MAX} ports"));
        model.links.shift_remove(port);
    }
    for port in model.ports(name) {
        let Some(link) = model.links.get_mut(&port) else { continue };
        let addresses = std::mem::take(&mut link.addresses);
        if !addresses.is_empty() {
            model.note(format!("{port}: addresses of a bond's port are left out"));
        }
    }
}

/// A mode, and no option that does nothing in it.
fn mode(name: &IfName, model: &mut Model) {
    let ports: Vec<String> = model.ports(name).iter().map(ToString::to_string).collect();
    let Some(link) = model.links.get_mut(name) else { return };
    let has_mode = link.options.contains_key("mode");
    let is_made_up = !has_mode && !link.is_configuration;
    let default = if link.is_configuration { "balance-rr" } else { "active-backup" };
    let mode = link.options.entry("mode").or_insert_with(|| default.to_owned()).clone();
    let number = options::MODES.iter().position(|word| *word == mode).unwrap_or(0);
    let (mut notes, mut lint) = (Vec::new(), Vec::new());
    link.options.retain(|option, value| {
        let Some(spec) = SPECS.iter().find(|spec| spec.name == *option) else { return false };
        let is_default = *value == spec.default;
        let is_for_mode = spec.modes.is_empty() || spec.modes.contains(&number);
        let is_port = spec.value != options::Value::Device || ports.contains(value);
        if !is_default && !is_for_mode {
            let rule = if option.starts_with("arp_") { &ARP_MONITOR_REFUSED } else { &OPTION_IGNORED };
            lint.push((rule, format!("node:{name} has {option} in mode {mode}")));
            notes.push(format!("{option} {value} of {name}: mode {mode} has no use for it, or refuses it"));
        } else if !is_default && !is_port {
            lint.push((
                &PRIMARY_NOT_PORT,
                format!("node:{name} has primary {value}, which is no port of it"),
            ));
            notes.push(format!("{option} {value} of {name}: it is no port of it"));
        }
        // Lint has something to say of a rate that is not written.
        let is_worth = !is_default || *option == "lacp_rate";
        is_worth && is_for_mode && is_port
    });
    if !link.is_configuration
        && !link.options.contains_key("miimon")
        && !link.options.contains_key("arp_interval")
    {
        link.options.insert("miimon", "100".into());
        notes.push(format!("{name}: the text does not show its miimon; 100 is made up"));
    }
    if is_made_up {
        notes.push(format!("{name}: the text does not show its mode; active-backup is made up"));
    } else if !has_mode {
        notes.push(format!("{name}: no mode is configured; balance-rr is the kernel's default"));
    }
    notes.into_iter().for_each(|note| model.note(note));
    lint.into_iter().for_each(|(rule, message)| model.lint(rule, message));
}

/// Delays are multiples of miimon (`bond_option_updelay_set()` rounds them down), and need it.
fn delays(name: &IfName, model: &mut Model) {
    let Some(link) = model.links.get_mut(name) else { return };
    let number =
        |link: &Link, option| link.options.get(option).and_then(|value: &String| value.parse::<u32>().ok());
    let miimon = number(link, "miimon").unwrap_or(0);
    let (mut notes, mut lint) = (Vec::new(), None);
    let has_arp = number(link, "arp_interval").unwrap_or(0) > 0;
    if has_arp && miimon > 0 {
        notes.push(format!(
            "{name}: miimon {miimon} and arp_interval exclude each other; arp_interval is taken"
        ));
        lint = Some(format!("node:{name} has both miimon and arp_interval"));
        link.options.shift_remove("miimon");
    }
    if miimon == 0 && !has_arp {
        notes.push(format!(
            "{name}: miimon is 0 and there is no ARP monitor: it does not notice a port without carrier"
        ));
    }
    for option in ["updelay", "downdelay", "peer_notif_delay"] {
        let Some(delay) = number(link, option) else { continue };
        if miimon == 0 || has_arp {
            notes.push(format!("{option} {delay} of {name}: it needs miimon"));
            link.options.shift_remove(option);
        } else if delay % miimon > 0 {
            let rounded = delay - delay % miimon;
            notes.push(format!(
                "{option} {delay} of {name}: the kernel rounds it down to {rounded}, a multiple of miimon"
            ));
            link.options.insert(option, rounded.to_string());
            if rounded == 0 {
                link.options.shift_remove(option);
            }
        }
    }
    if has_arp && !link.options.contains_key("arp_ip_target") {
        notes.push(format!("{name}: arp_interval without arp_ip_target does nothing, and is left out"));
        link.options.shift_remove("arp_interval");
    }
    notes.into_iter().for_each(|note| model.note(note));
    lint.into_iter().for_each(|message| model.lint(&TWO_MONITORS, message));
}

/// A bond gives its MTU to its ports (`bond_enslave()`), and a VLAN cannot have more than what it stands on
/// (`vlan_dev_change_mtu()`).
fn sizes(model: &mut Model) {
    for bond in model.bonds() {
        let ports = model.ports(&bond);
        let of_ports = ports.iter().filter_map(|port| model.links[port].mtu).min();
        if let Some(own) = model.links[&bond].mtu {
            for port in &ports {
                if let Some(mtu) = model.links[port].mtu.filter(|mtu| *mtu != own) {
                    let message =
                        format!("node:{port} has an MTU of {mtu}, and its bond node:{bond} gives it {own}");
                    model.lint(&MTU_ORDER, message);
                }
            }
        }
        model.links[&bond].mtu = model.links[&bond].mtu.or(of_ports);
        for port in ports {
            model.links[&port].mtu = None;
        }
    }
    let vlans: Vec<IfName> = model
        .links
        .iter()
        .filter(|(_, link)| link.kind == Kind::Vlan)
        .map(|(name, _)| name.clone())
        .collect();
    for name in vlans {
        let parent = model.links[&name].parent.clone().unwrap_or_else(|| name.clone());
        let owner = model.links[&parent].controller.clone().and_then(|owner| model.links.get(&owner));
        let owner = owner.filter(|owner| owner.kind == Kind::Bond).and_then(|owner| owner.mtu);
        let most = owner.or(model.links[&parent].mtu).unwrap_or(1500);
        if let Some(mtu) = model.links[&name].mtu.filter(|mtu| *mtu > most) {
            model.note(format!(
                "mtu {mtu} of {name}: {parent} below it has {most}, and a VLAN cannot have more"
            ));
            model.lint(
                &MTU_ORDER,
                format!("node:{name} has an MTU of {mtu}, and node:{parent} below it {most}"),
            );
            model.links[&name].mtu = None;
        }
    }
}

/// NICs that nothing uses show nothing, unless they lose frames.
fn unused(model: &mut Model) {
    let used: BTreeSet<IfName> = model.links.values().flat_map(|link| link.parent.clone()).collect();
    let is_used = |name: &IfName, link: &Link, model: &Model| {
        !matches!(link.kind, Kind::Nic | Kind::Dummy | Kind::Bridge)
            || link.controller.is_some()
            || !link.addresses.is_empty()
            || used.contains(name)
            || link.is_pooled
            || !model.ports(name).is_empty()
            || link.has_dropped()
    };
    let idle: Vec<IfName> = model
        .links
        .iter()
        .filter(|(name, link)| !is_used(name, link, model))
        .map(|(name, _)| name.clone())
        .collect();
    // Alone it is all there is.
    if idle.len() == model.links.len() {
        return;
    }
    for name in idle {
        model.note(format!("{name}: it has no address, and nothing uses it"));
        model.links.shift_remove(&name);
    }
}
