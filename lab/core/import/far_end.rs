//! The other end, which no report shows: a switch, a partner for each bond, and a gateway with the VLANs and addresses that
//! make traffic possible. All of it is made up, and marked so in the file.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::import::draft::{Draft, Section, texts};
use crate::import::flows::is_tunnel;
use crate::import::model::{Kind, Link, Model, Place};
use crate::import::settle::{DEPTH_MAX, below};
use crate::net::address::Cidr;
use crate::net::link_option::words::VirtualKind;
use crate::net::name::IfName;

/// What stands in for the rest of the network.
#[derive(Debug, Default)]
pub struct FarEnd {
    /// The switch's port for each NIC.
    pub ports: BTreeMap<IfName, String>,
    /// The switch's port towards the gateway, for each bond or NIC that is cabled.
    pub ups: BTreeMap<IfName, String>,
    /// The gateway's device for each bond or NIC that is cabled.
    pub cards: BTreeMap<IfName, String>,
    /// The switch's bond, for bonds that need a partner.
    pub partners: BTreeMap<IfName, String>,
    /// VLANs of the gateway: name, parent, number, whether its tag is 802.1ad's.
    vlans: BTreeMap<String, (String, u16, bool)>,
    /// MACsec devices of the gateway by those of the node: name and parent.
    pub channels: BTreeMap<IfName, (String, String)>,
    /// IPv4 addresses of the gateway's devices.
    addresses: BTreeMap<String, Cidr>,
    /// Their IPv6 addresses, where the device opposite has one.
    addresses6: BTreeMap<String, Vec<Cidr>>,
}

/// What leaves by cables of its own: bonds, and NICs that are no port of one.
pub fn uplinks(model: &Model) -> Vec<IfName> {
    let is_port_of_bond = |link: &Link| {
        let owner = link.controller.as_ref().and_then(|owner| model.links.get(owner));
        owner.is_some_and(Link::is_bundle)
    };
    let is_uplink = |link: &Link| (link.is_bundle() || link.kind == Kind::Nic) && !is_port_of_bond(link);
    let first =
        model.links.iter().find(|(_, link)| link.is_pooled && is_uplink(link)).map(|(name, _)| name.clone());
    let is_one =
        |name: &IfName, link: &Link| is_uplink(link) && (!link.is_pooled || Some(name) == first.as_ref());
    model.links.iter().filter(|(name, link)| is_one(name, link)).map(|(name, _)| name.clone()).collect()
}

/// NICs of an uplink. Those that go into pods are cabled together.
pub fn nics(model: &Model, uplink: &IfName) -> Vec<IfName> {
    match model.links.get(uplink) {
        // A VLAN or bridge may be a port, too: it has a cable of its own below.
        Some(link) if link.is_bundle() => {
            model.ports(uplink).into_iter().filter(|port| model.links[port].kind == Kind::Nic).collect()
        }
        Some(link) if link.is_pooled => {
            let pooled = model.links.iter().filter(|(_, link)| link.is_pooled && link.controller.is_none());
            pooled.map(|(name, _)| name.clone()).collect()
        }
        _ => vec![uplink.clone()],
    }
}

impl FarEnd {
    /// Makes one for a model. An LACP bond that the text shows without a partner gets none, unless that is what is reported: then it
    /// is what a run has to explain.
    pub fn new(model: &Model, without_partner: Option<&IfName>) -> Self {
        let mut far = Self::default();
        for (number, uplink) in uplinks(model).into_iter().enumerate() {
            for nic in nics(model, &uplink) {
                let port = format!("p{}", far.ports.len() + 1);
                far.ports.insert(nic, port);
            }
            if needs_partner(&model.links[&uplink]) || without_partner == Some(&uplink) {
                far.partners.insert(uplink.clone(), format!("lag{number}"));
            }
            far.ups.insert(uplink.clone(), format!("up{number}"));
            far.cards.insert(uplink, format!("eth{number}"));
        }
        let names: Vec<IfName> = model.links.keys().cloned().collect();
        for name in &names {
            // A NIC that is on no way to the gateway has a cable all the same.
            if model.links[name].kind == Kind::Nic && !far.ports.contains_key(name) {
                far.ports.insert(name.clone(), format!("p{}", far.ports.len() + 1));
            }
            far.opposite(model, name, 0);
        }
        far.give_addresses(model, &names);
        far
    }

    /// The gateway's device opposite one of the node's or pod's: on the same VLAN of the same cable.
    pub fn opposite(&mut self, model: &Model, name: &IfName, depth: usize) -> Option<String> {
        if let Some(card) = self.cards.get(name) {
            return Some(card.clone());
        }
        let link = model.links.get(name).filter(|_| depth < DEPTH_MAX)?;
        // A bond's port is cabled to where its bond is.
        let owner = link.controller.clone().filter(|_| link.kind == Kind::Nic);
        let bridge = link.parent.as_ref().filter(|_| link.kind == Kind::Vlan && !link.is_service_tag);
        let tagged = bridge
            .zip(link.vlan_id)
            .and_then(|(bridge, id)| Some((bridge, id, model.vlans_of(bridge, bridge)?)));
        let of_itself = model.vlans_of(name, name);
        if let Some((bridge, id, own)) = tagged {
            return own.contains_key(&id).then(|| self.through(model, bridge, id, depth + 1))?;
        } else if let Some(own) = of_itself {
            let (id, _) = own.iter().find(|(_, one)| one.pvid)?;
            return self.through(model, name, *id, depth + 1);
        }
        let all = below(model, name).into_iter().chain(owner);
        // Frames of a tunnel go to another machine than those of what it stands on.
        let lower =
            all.filter(|_| !is_tunnel(link)).find_map(|lower| self.opposite(model, &lower, depth + 1))?;
        if link.is(VirtualKind::Macsec) {
            return Some(self.macsec(name, lower));
        }
        match (link.kind, link.vlan_id) {
            (Kind::Vlan, Some(id)) => {
                let vlan = format!("{lower}.{id}");
                vlan.parse::<IfName>().ok()?;
                self.vlans.insert(vlan.clone(), (lower, id, link.is_service_tag));
                Some(vlan)
            }
            _ => Some(lower),
        }
    }

    /// The device opposite one of a vlan-aware bridge, for frames of one of its VLANs.
    fn through(&mut self, model: &Model, bridge: &IfName, id: u16, depth: usize) -> Option<String> {
        if depth > DEPTH_MAX {
            return None;
        }
        model.ports(bridge).iter().find_map(|port| {
            let one = *model.vlans_of(bridge, port)?.get(&id)?;
            let lower = self.opposite(model, port, depth + 1)?;
            if one.untagged {
                return Some(lower);
            }
            let vlan = format!("{lower}.{id}");
            vlan.parse::<IfName>().ok()?;
            self.vlans.insert(vlan.clone(), (lower, id, false));
            Some(vlan)
        })
    }

    /// The gateway's MACsec device opposite one of the node's.
    fn macsec(&mut self, name: &IfName, lower: String) -> String {
        let number = self.channels.len();
        let channel = self.channels.entry(name.clone()).or_insert((format!("sec{number}"), lower));
        channel.0.clone()
    }

    /// As [`FarEnd::opposite`], once all are there.
    pub fn opposite_of(&self, model: &Model, name: &IfName) -> Option<String> {
        let (cards, channels) = (self.cards.clone(), self.channels.clone());
        let mut copy = Self { cards, channels, ..Self::default() };
        copy.opposite(model, name, 0)
    }

    /// The tag that frames to a device of the gateway have on the cable of a card; `None` if they have none, or one of 802.1ad.
    pub fn outer_tag(&self, card: &str, device: &str) -> Option<u16> {
        let mut at = device;
        for _ in 0..DEPTH_MAX {
            let (parent, id, is_service_tag) = self.vlans.get(at)?;
            if parent == card {
                return (!is_service_tag).then_some(*id);
            }
            at = parent;
        }
        None
    }

    /// All tags of 802.1Q that are the outer ones on the cable of a card.
    pub fn tags_of(&self, card: &str) -> BTreeSet<u16> {
        let of_card =
            self.vlans.values().filter(|(parent, _, is_service_tag)| parent == card && !is_service_tag);
        of_card.map(|(_, id, _)| *id).collect()
    }

    /// The switch's bridge of an uplink.
    pub fn bridge(&self, uplink: &IfName) -> String {
        format!("br{}", self.ups[uplink].trim_start_matches("up"))
    }

    /// The MTU of the other end, where it is not the usual one.
    pub fn mtu(&self, model: &Model, uplink: &IfName) -> Option<i64> {
        model.links[uplink].mtu.filter(|mtu| (1501..=65535).contains(mtu)).map(i64::from)
    }

    /// The IPv4 address of the gateway's device.
    pub fn address(&self, device: &str) -> Option<Cidr> {
        self.addresses.get(device).copied()
    }

    /// The IPv6 address of the gateway's device in the network of the device opposite.
    pub fn address6(&self, device: &str) -> Option<Cidr> {
        self.addresses6.get(device)?.iter().find(|cidr| !is_link_local(cidr.address)).copied()
    }

    /// The gateway's device with this address.
    pub fn device_with(&self, address: IpAddr) -> Option<&str> {
        let all6 = self.addresses6.iter().flat_map(|(name, all)| all.iter().map(move |cidr| (name, cidr)));
        let mut all = self.addresses.iter().chain(all6);
        all.find(|(_, cidr)| cidr.address == address).map(|(name, _)| name.as_str())
    }

    /// All addresses of a device, for its table.
    fn all_of(&self, device: &str) -> Vec<Cidr> {
        let more = self.addresses6.get(device).into_iter().flatten().copied();
        self.address(device).into_iter().chain(more).collect()
    }

    /// In each network of the device opposite, and the link-local ones that its routes lead to.
    fn give_addresses6(&mut self, model: &Model, name: &IfName, device: &str) {
        let own = model.links[name].addresses.iter().filter(|cidr| cidr.address.is_ipv6());
        let near: Vec<Cidr> = own.filter_map(|own| gateway_in(model, own)).take(1).collect();
        let hops = model.routes.iter().filter(|route| route.dev.as_ref() == Some(name));
        let link_local = hops.filter_map(|route| route.via).filter(|via| is_link_local(*via));
        let hosts = link_local.map(|address| Cidr { address, prefix: 64 });
        let is_taken = |cidr: &Cidr| self.addresses6.values().flatten().any(|is| is == cidr);
        let mut all: Vec<Cidr> =
            near.into_iter().chain(hosts).take(4).filter(|cidr| !is_taken(cidr)).collect();
        all.sort_unstable();
        all.dedup();
        if !all.is_empty() {
            self.addresses6.entry(device.to_owned()).or_insert(all);
        }
    }

    /// By the routes, else by the neighbours, else made up: in the network of the device opposite.
    fn give_addresses(&mut self, model: &Model, names: &[IfName]) {
        for (name, cidr) in &model.gateways {
            if let Some(device) = self.opposite_of(model, name) {
                self.addresses.entry(device).or_insert(*cidr);
            }
        }
        for name in names {
            let Some(device) = self.opposite_of(model, name) else { continue };
            self.give_addresses6(model, name, &device);
            if self.addresses.contains_key(&device) {
                continue;
            }
            let networks = model.links[name].addresses.iter().filter(|cidr| cidr.address.is_ipv4());
            let chosen = networks.filter_map(|own| gateway_in(model, own)).next();
            if let Some(cidr) =
                chosen.filter(|cidr| !self.addresses.values().any(|is| is.address == cidr.address))
            {
                self.addresses.insert(device, cidr);
            }
        }
        let channels = self.channels.values().map(|(name, _)| name);
        let devices: Vec<String> =
            self.cards.values().chain(self.vlans.keys()).chain(channels).cloned().collect();
        for (number, device) in devices.into_iter().enumerate() {
            // 198.18.0.0/15 is for benchmarks (RFC 2544): no report has it.
            let [high, low] = u16::try_from(number).unwrap_or(u16::MAX).to_be_bytes();
            let made_up = Ipv4Addr::new(198, 18 + (high & 1), low, 1);
            let cidr = Cidr { address: made_up.into(), prefix: 24 };
            self.addresses.entry(device).or_insert(cidr);
        }
    }

    /// Writes its tables.
    pub fn write(&self, model: &Model, draft: &mut Draft) {
        let mut is_first = true;
        for uplink in uplinks(model) {
            self.write_segment(model, &uplink, is_first, draft);
            is_first = false;
        }
        for (name, (parent, id, is_service_tag)) in &self.vlans {
            let section = Section::table(&["ns", "gateway", "vlan", name]).comment("Made up.");
            let section = section.with("parent", parent.as_str()).with("id", i64::from(*id));
            let section = section.maybe("protocol", is_service_tag.then_some("802.1ad"));
            draft.push(section.with("addresses", texts(self.all_of(name))));
        }
        for (own, (name, parent)) in &self.channels {
            let section = Section::table(&["ns", "gateway", "macsec", name]).comment("Made up.");
            let section = section.with("parent", parent.as_str()).with("peer", format!("node:{own}"));
            let mut section = section.with("key", macsec_key(&model.links[own]));
            // Both ends have one cipher, and what one leaves out the other must not ask for.
            for (key, value) in &model.links[own].settings {
                if !["port", "offload"].contains(key) {
                    section = section.with(key, value.clone());
                }
            }
            draft.push(section.with("addresses", texts(self.all_of(name))));
        }
    }

    fn write_segment(&self, model: &Model, uplink: &IfName, is_first: bool, draft: &mut Draft) {
        let (up, card) = (&self.ups[uplink], &self.cards[uplink]);
        let is_partner = self.partners.contains_key(uplink);
        // A port of the partner cannot stay down: one without carrier is none of its ports.
        let cabled = nics(model, uplink).into_iter().filter(|nic| !is_partner || !is_dead(&model.links[nic]));
        let mut ports: Vec<String> = cabled.filter_map(|nic| self.ports.get(&nic)).cloned().collect();
        let mtu = self.mtu(model, uplink);
        for nic in nics(model, uplink) {
            let is_dead = is_dead(&model.links[&nic]);
            if mtu.is_none() && !is_dead {
                continue;
            }
            let mut section = Section::table(&["ns", "switch", "veth", &self.ports[&nic]]);
            section = section.comment(if is_dead {
                "Made up: down, because the text shows the NIC at the other end without carrier."
            } else {
                "Made up: as large as the other end."
            });
            section = section.with("peer", format!("{}:{nic}", place(&model.links[&nic]))).maybe("mtu", mtu);
            draft.push(section.maybe("up", is_dead.then_some(false)));
        }
        if let Some(partner) = self.partners.get(uplink).filter(|_| !ports.is_empty()) {
            draft.push(partner_of(&model.links[uplink], partner, &ports, mtu));
            ports = vec![partner.clone()];
        }
        ports.push(up.clone());
        let mut bridge = Section::table(&["ns", "switch", "bridge", &self.bridge(uplink)]);
        if is_first {
            bridge = bridge
                .comment("Everything in `switch` and `gateway` is made up: no report shows the other end.");
        }
        draft.push(bridge.with("ports", texts(ports)).maybe("mtu", mtu));
        let section = Section::table(&["ns", "switch", "veth", up]).comment("Made up.");
        draft.push(section.with("peer", format!("gateway:{card}")).maybe("mtu", mtu));
        let section = Section::table(&["ns", "gateway", "veth", card]).comment("Made up.");
        let section = section.with("peer", format!("switch:{up}")).maybe("mtu", mtu);
        draft.push(section.with("addresses", texts(self.all_of(card))));
    }
}

/// The made-up key of a MACsec device and its peer, as long as its cipher wants it.
pub fn macsec_key(link: &Link) -> String {
    let is_long = link.settings.get("cipher").and_then(toml::Value::as_str) == Some("gcm-aes-256");
    "5b".repeat(if is_long { 32 } else { 16 })
}

/// Whether a NIC was seen without carrier.
pub fn is_dead(nic: &Link) -> bool {
    nic.carrier == Some(false)
}

/// Modes that send by several ports want one at the switch that takes them together; LACP wants a partner, unless the report
/// shows that there was none.
fn needs_partner(link: &Link) -> bool {
    match link.options.get("mode").map(String::as_str).filter(|_| link.kind == Kind::Bond) {
        Some("802.3ad") => link.has_partner != Some(false),
        Some("balance-rr" | "balance-xor" | "broadcast") => true,
        _ => false,
    }
}

/// The switch's bond opposite one of the node's.
pub fn partner_of(link: &Link, name: &str, ports: &[String], mtu: Option<i64>) -> Section {
    let section = Section::table(&["ns", "switch", "bond", name]);
    let section = if link.options.get("mode").is_some_and(|mode| mode == "802.3ad") {
        let section = section.comment("Made up: an LACP partner, fast, so that it is there soon.");
        section.with("mode", "802.3ad").with("lacp_rate", "fast")
    } else {
        section.comment("Made up: a static channel, as this mode wants it.").with("mode", "balance-xor")
    };
    section.with("miimon", 100).with("ports", texts(ports)).maybe("mtu", mtu)
}

fn is_link_local(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(address) if address.is_unicast_link_local())
}

/// The gateway's address in a network of the node's.
fn gateway_in(model: &Model, own: &Cidr) -> Option<Cidr> {
    let most = if own.address.is_ipv4() { 31 } else { 127 };
    if own.prefix > most {
        return None;
    }
    let is_fit = |candidate: &IpAddr| *candidate != own.address && own.contains(*candidate);
    let by_route = model.routes.iter().filter_map(|route| route.via);
    let by_neighbour = model.neighbours.iter().map(|entry| entry.address);
    let known = by_route.chain(by_neighbour).find(is_fit);
    // The first host of the network, or the other end of a pair.
    let hosts = if own.prefix == most { 0..=1 } else { 1..=2 };
    let made_up = |host: u32| match own.address {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(own.prefix)).unwrap_or(0);
            IpAddr::V4(Ipv4Addr::from((u32::from(address) & mask).saturating_add(host)))
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(own.prefix)).unwrap_or(0);
            IpAddr::V6(Ipv6Addr::from((u128::from(address) & mask).saturating_add(u128::from(host))))
        }
    };
    let address = known.or_else(|| hosts.map(made_up).find(is_fit))?;
    Some(Cidr { address, prefix: own.prefix })
}

/// Whether a device is the pod's.
pub fn place(link: &Link) -> &'static str {
    match link.place {
        Place::Node => "node",
        Place::Pod => "pod",
    }
}
