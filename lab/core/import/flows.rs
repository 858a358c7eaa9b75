//! Frames to send: from each device that a user of the machine would send by, to the one opposite.

use std::net::IpAddr;

use crate::import::answers;
use crate::import::draft::{Draft, Section};
use crate::import::far_end::{self, FarEnd, is_dead, place};
use crate::import::model::{Kind, Link, Model, Place};
use crate::import::settle::{DEPTH_MAX, below};
use crate::net::link_option::words::VirtualKind;
use crate::net::name::IfName;

/// Flows of one file.
const FLOWS_MAX: usize = 48;
/// Frames of each.
const FRAMES: i64 = 50;
/// For LACP to come to an end, in ms of the guest's time.
const WITHIN_MS: i64 = 20_000;

/// One flow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flow {
    /// Its name.
    pub name: String,
    /// `node:bond0`.
    pub from: String,
    /// `gateway:eth0`.
    pub to: String,
    /// Whether the sender can ping: it has an address in the receiver's network.
    pub can_ping: bool,
    /// Whether only IPv6 can.
    pub is_ipv6: bool,
    /// Whether frames can be sent back: a receiver needs an address.
    pub has_way_back: bool,
}

impl Flow {
    /// By a device to the one opposite.
    pub fn by(model: &Model, far: &FarEnd, name: &IfName) -> Option<Self> {
        let link = model.links.get(name)?;
        let opposite = far.opposite_of(model, name)?;
        let address = far.address(&opposite)?;
        let owner = link.controller.as_ref().and_then(|owner| model.links.get(owner));
        // A ping's socket is bound to its address, which is none of the main table's where a VRF has the device.
        let is_in_vrf = owner.is_some_and(|owner| owner.is(VirtualKind::Vrf));
        let is_near = |address: IpAddr| link.addresses.iter().any(|own| own.contains(address));
        let by_ipv4 = link.addresses.iter().any(|own| own.prefix < 32 && own.contains(address.address));
        let by_ipv6 = far.address6(&opposite).is_some_and(|address| is_near(address.address));
        let can_ping = !is_in_vrf && (by_ipv4 || by_ipv6);
        Some(Self {
            name: name_of_flow(model, name),
            from: format!("{}:{name}", place(link)),
            to: format!("gateway:{opposite}"),
            can_ping,
            is_ipv6: can_ping && !by_ipv4,
            has_way_back: can_ping || link.addresses.iter().any(|own| own.address.is_ipv4()),
        })
    }

    /// The way back: to the device that it is by.
    pub fn back(&self) -> Option<Self> {
        let name = format!("{}-back", self.name);
        let flow = Self { name, from: self.to.clone(), to: self.from.clone(), ..self.clone() };
        self.has_way_back.then_some(flow)
    }

    /// Its table; `socket` unless it is the usual one.
    pub fn table(&self, name: &str, socket: Option<&str>, frames: i64) -> Section {
        let section =
            Section::table(&["flow", name]).with("from", self.from.as_str()).with("to", self.to.as_str());
        let family = (self.is_ipv6 && socket == Some("ping")).then_some("ipv6");
        section.maybe("socket", socket).maybe("family", family).with("frames", frames)
    }
}

/// A device's name in the letters that a flow's may have, with a number where an earlier device has the same: `bond0.7` and `bond0-7`.
fn name_of_flow(model: &Model, name: &IfName) -> String {
    let letters =
        |name: &IfName| name.as_str().replace(|c: char| !c.is_ascii_alphanumeric() && c != '-', "-");
    let own = letters(name);
    let earlier = model.links.keys().take_while(|other| *other != name).filter(|other| letters(other) == own);
    match earlier.count() {
        0 => own,
        more => format!("{own}-{}", more + 1),
    }
}

/// Whether frames can leave by a device, as far as the text shows it: it is up, and a cable below has carrier.
fn is_alive(model: &Model, name: &IfName, depth: usize) -> bool {
    let Some(link) = model.links.get(name).filter(|_| depth < DEPTH_MAX) else { return false };
    if link.up == Some(false) && link.controller.is_none() {
        return false;
    }
    match link.kind {
        Kind::Nic => !is_dead(link),
        Kind::Dummy => false,
        _ if link.is_bundle() => {
            let alive = model.ports(name).iter().filter(|port| !is_dead(&model.links[*port])).count();
            let least = link.options.get("min_links").and_then(|links| links.parse().ok()).unwrap_or(0);
            alive >= usize::max(1, least)
        }
        _ => below(model, name).iter().any(|lower| is_alive(model, lower, depth + 1)),
    }
}

/// Whether a device is one that somebody sends by: it has an address, or nothing stands on it.
pub fn is_sender(model: &Model, name: &IfName, link: &Link) -> bool {
    let is_covered = |other: &Link| other.parent.as_ref() == Some(name);
    let has_above = model.links.values().any(is_covered);
    let owner = link.controller.as_ref().and_then(|owner| model.links.get(owner));
    owner.is_none_or(|owner| owner.is(VirtualKind::Vrf))
        && !gets_no_arp(link)
        && !link.is_pooled
        && !matches!(link.kind, Kind::Dummy | Kind::Tap | Kind::Tun | Kind::Veth)
        && (!matches!(link.kind, Kind::Virtual(_)) || link.is_bundle() || link.is(VirtualKind::Macsec))
        && (!link.addresses.is_empty() || !has_above)
}

/// Whether the neighbours of a device are never known: of an ipvlan in mode l3 in the namespace of its parent (arp_solicit() takes its
/// address, and ipvlan_handle_mode_l3() gives the answer to it, where no neighbour waits).
fn gets_no_arp(link: &Link) -> bool {
    link.kind == Kind::Ipvlan && link.place == Place::Node && link.mode.as_deref() == Some("l3")
}

/// Whether frames of a device go to a machine of their own.
pub fn is_tunnel(link: &Link) -> bool {
    use VirtualKind::{Geneve, Gre, Gretap, Vxlan};
    [Vxlan, Geneve, Gre, Gretap].iter().any(|kind| link.is(*kind))
}

/// Writes flows, waits and expectations: everything that is alive sends, and all of it arrives.
pub fn write(model: &mut Model, far: &FarEnd, draft: &mut Draft) {
    let mut flows = Vec::new();
    let senders: Vec<IfName> = model
        .links
        .iter()
        .filter(|(name, link)| is_sender(model, name, link))
        .map(|(name, _)| name.clone())
        .collect();
    let tunnels: Vec<IfName> =
        model.links.iter().filter(|(_, link)| is_tunnel(link)).map(|(name, _)| name.clone()).collect();
    let resolved_below: Vec<IfName> =
        model.links.iter().filter(|(_, link)| gets_no_arp(link)).map(|(name, _)| name.clone()).collect();
    for name in resolved_below {
        model.note(format!(
            "nothing is sent by {name}: in mode l3 its parent asks for its neighbours, with the ipvlan's address, and the answer is \
             given to the ipvlan"
        ));
    }
    for name in tunnels {
        model.note(format!("nothing is sent by {name}: the other end of a tunnel is not made up"));
    }
    for name in senders {
        if !is_alive(model, &name, 0) {
            model.note(format!("nothing is sent by {name}: the text shows it, or what it stands on, down"));
        } else if flows.len() >= FLOWS_MAX {
            model.note(format!("nothing is sent by {name}: there are {FLOWS_MAX} flows already"));
        } else if let Some(flow) = Flow::by(model, far, &name) {
            let back = answers::shown(model, &name).and_then(|why| Some((flow.back()?, Some(why))));
            flows.push((flow, None));
            flows.extend(back);
        } else if [Some(&name), model.links[&name].parent.as_ref()]
            .into_iter()
            .flatten()
            .any(|bridge| model.vlans_of(bridge, bridge).is_some())
        {
            model.note(format!("nothing is sent by {name}: no port of its bridge has its VLAN"));
        }
    }
    for (flow, why) in &flows {
        let socket = flow.can_ping.then_some("ping");
        let comment = match why {
            None => "Made up: what this device sends has to arrive.".into(),
            Some(why) => format!("Made up, the way back: {why}."),
        };
        draft.push(flow.table(&flow.name, socket, FRAMES).comment(comment));
    }
    let before = draft.sections.len();
    waits(model, far, draft);
    for (flow, _) in &flows {
        draft.push(Section::item(&["step"]).with("flood", flow.name.as_str()));
    }
    if draft.sections.len() == before && model.pods.is_empty() {
        draft.push(
            Section::item(&["step"])
                .comment("Nothing can be sent: the links are made, and looked at.")
                .with("pause_ms", 100),
        );
    }
    for (flow, why) in &flows {
        let says = match why {
            None => format!("what {} sends arrives", flow.from),
            Some(_) => format!("what comes back to {} arrives", flow.to),
        };
        let section = Section::item(&["expect"]).with("name", says);
        draft
            .push(section.with("flow", flow.name.as_str()).with("field", "delivered").with("equals", FRAMES));
    }
    states(model, draft);
}

/// Until bonds have carrier, and LACP has chosen.
fn waits(model: &Model, far: &FarEnd, draft: &mut Draft) {
    let wait = |device: String, state: &str, equals: usize| {
        let mut until = toml::Table::new();
        until.insert("device".into(), device.into());
        until.insert("state".into(), state.into());
        until.insert("equals".into(), i64::try_from(equals).unwrap_or(0).into());
        Section::item(&["step"]).with("wait", until).with("within_ms", WITHIN_MS)
    };
    for bond in model.bonds().into_iter().filter(|bond| is_alive(model, bond, 0)) {
        draft.push(wait(format!("node:{bond}"), "carrier", 1));
        let alive: Vec<IfName> =
            far_end::nics(model, &bond).into_iter().filter(|port| !is_dead(&model.links[port])).collect();
        let is_lacp = model.links[&bond].options.get("mode").is_some_and(|mode| mode == "802.3ad");
        let Some(partner) = far.partners.get(&bond).filter(|_| is_lacp && !alive.is_empty()) else {
            continue;
        };
        draft.push(wait(format!("node:{bond}"), "aggregator_ports", alive.len()));
        draft.push(wait(format!("switch:{partner}"), "aggregator_ports", alive.len()));
        for port in alive {
            draft.push(wait(format!("switch:{}", far.ports[&port]), "active", 1));
            draft.push(wait(format!("node:{port}"), "active", 1));
        }
    }
}

/// What the text shows of bonds, and the topology has to have too.
fn states(model: &Model, draft: &mut Draft) {
    for bond in model.bonds() {
        let link = &model.links[&bond];
        let expect = |name: String, state: &str, equals: i64| {
            let section =
                Section::item(&["expect"]).with("name", name).with("device", format!("node:{bond}"));
            section.with("state", state).with("equals", equals)
        };
        let ports = i64::try_from(model.ports(&bond).len()).unwrap_or(0);
        draft.push(expect(format!("{bond} has its ports"), "ports", ports));
        let is_lacp = link.options.get("mode").is_some_and(|mode| mode == "802.3ad");
        if let Some(has_partner) = link.has_partner.filter(|_| is_lacp && is_alive(model, &bond, 0)) {
            let name =
                format!("as in the text: {bond} has {} LACP partner", if has_partner { "a" } else { "no" });
            draft.push(expect(name, "partner", i64::from(has_partner)));
        }
    }
}

/// The bond or NIC by which a device's frames leave.
pub fn uplink_of(model: &Model, name: &IfName) -> Option<IfName> {
    let uplinks = far_end::uplinks(model);
    let mut at = name.clone();
    for _ in 0..DEPTH_MAX {
        if uplinks.contains(&at) {
            return Some(at);
        }
        let owner = model.links.get(&at).and_then(|link| link.controller.clone());
        at = below(model, &at).into_iter().next().or(owner)?;
    }
    None
}
