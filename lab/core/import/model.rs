//! What was read of one machine, whatever format it was in: links with their options and counters, routes, what the
//! reporter tried and saw, and what could not be carried over.

use std::collections::BTreeMap;
use std::net::IpAddr;

use indexmap::IndexMap;

use crate::net::address::{Cidr, Mac};
use crate::net::link_option::words::VirtualKind;
use crate::net::name::IfName;
use crate::net::route::{self, RouteExtras};
use crate::topology::lint::{Finding, Rule};

/// As many links as one import may have: a topology takes 2048, and a NIC needs five with its cable, its port of the switch and the
/// gateway's side.
pub const LINKS_MAX: usize = 400;

/// Notes beyond these are counted only.
const NOTES_MAX: usize = 200;

/// What a link is. The order is that of what is known: a reader that knows more wins.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Only its name was mentioned.
    #[default]
    Unknown,
    /// A NIC.
    Nic,
    /// `dummy`.
    Dummy,
    /// A bridge.
    Bridge,
    /// A VLAN.
    Vlan,
    /// `ipvlan`.
    Ipvlan,
    /// `macvlan`.
    Macvlan,
    /// A bond.
    Bond,
    /// One end of a cable within the machine.
    Veth,
    /// A tap.
    Tap,
    /// A tun.
    Tun,
    /// A link that has nothing but options, a parent and ports.
    Virtual(VirtualKind),
    /// A kind that topologies do not have.
    Other,
}

/// Where a link is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Place {
    /// On the machine itself.
    #[default]
    Node,
    /// In a pod that runs on it.
    Pod,
}

/// Counters of one link, by the names that topologies have for them.
pub type Counters = BTreeMap<&'static str, u64>;

/// What is known of one link.
#[derive(Debug, Clone, Default)]
pub struct Link {
    /// What it is.
    pub kind: Kind,
    /// The word for it where it is [`Kind::Other`].
    pub kind_word: String,
    /// Options of a VLAN or of a [`Kind::Virtual`], by the keys of a topology; without those that are the kernel's defaults.
    pub settings: IndexMap<&'static str, toml::Value>,
    /// Whether a bridge filters by VLAN, where the text shows it.
    pub vlan_filtering: Option<bool>,
    /// The other end of [`Kind::Veth`].
    pub peer: Option<IfName>,
    /// Where it is.
    pub place: Place,
    /// The device that it is made on.
    pub parent: Option<IfName>,
    /// The VLAN's number.
    pub vlan_id: Option<u16>,
    /// Whether the tag is 802.1ad's.
    pub is_service_tag: bool,
    /// Mode of an ipvlan or macvlan.
    pub mode: Option<String>,
    /// Who reaches whom on an ipvlan.
    pub flag: Option<String>,
    /// The bond, bridge, team or VRF that it is a port of.
    pub controller: Option<IfName>,
    /// Whether it has IFF_SLAVE: it is a port of a bond, which the text may not name.
    pub is_bond_port: bool,
    /// Its Ethernet address.
    pub mac: Option<Mac>,
    /// The address it was made with, where it has another one now.
    pub permanent_mac: Option<Mac>,
    /// In bytes.
    pub mtu: Option<u32>,
    /// Whether it is set up.
    pub up: Option<bool>,
    /// Whether it has carrier.
    pub carrier: Option<bool>,
    /// In the order they were read.
    pub addresses: Vec<Cidr>,
    /// The root queueing discipline's name.
    pub qdisc: Option<String>,
    /// The same with its numbers, of `tc`.
    pub queue: Option<Queue>,
    /// Frames that filters have dropped (clsact's own counter).
    pub filter_drops: Option<u64>,
    /// The carrier that the kernel's log speaks of last; what shows the present state is believed more.
    pub logged_carrier: Option<bool>,
    /// How often the kernel's log says that the link was lost.
    pub logged_failures: u64,
    /// Whether the kernel's log says that no partner answered LACP.
    pub logged_no_partner: bool,
    /// Options of a bond, by the words of a topology.
    pub options: IndexMap<&'static str, String>,
    /// Options that each link has, by the keys of a topology.
    pub common: IndexMap<&'static str, toml::Value>,
    /// Options of a bond's port, by the words of a topology; without those that are the kernel's defaults.
    pub port_options: IndexMap<&'static str, i64>,
    /// Options of a bridge's port, by the keys of a topology; without those that are the kernel's defaults.
    pub bridge_port: IndexMap<&'static str, toml::Value>,
    /// Whether what was read is the bond's whole configuration: what is missing is the kernel's default.
    pub is_configuration: bool,
    /// Whether the other end answered LACP: from the partner's address.
    pub has_partner: Option<bool>,
    /// Ports of the active aggregator.
    pub aggregator_ports: Option<u16>,
    /// Whether it sends and receives for its bond.
    pub is_active: Option<bool>,
    /// `Link Failure Count`.
    pub failures: Option<u64>,
    /// The driver's name.
    pub driver: Option<String>,
    /// Whether it goes into a pod, together with others: they are cabled to one switch.
    pub is_pooled: bool,
    /// A PF that was made up: the network that its VF is for, and the VF's number.
    pub function_of: Option<(String, usize)>,
    /// As far as they were in the text.
    pub counters: Counters,
}

impl Link {
    /// Whether the text shows that it, its queue or its filters lost frames on their way out.
    pub fn has_dropped(&self) -> bool {
        let of_queue = self.queue.as_ref().and_then(|queue| queue.drops);
        let of_link = self.counters.get("tx_dropped").copied();
        [of_link, of_queue, self.filter_drops].into_iter().flatten().any(|drops| drops > 0)
    }

    /// Whether its ports are cabled as one: a bond or a team.
    pub fn is_bundle(&self) -> bool {
        self.kind == Kind::Bond || self.is(VirtualKind::Team)
    }

    /// Whether it is one of [`Kind::Virtual`].
    pub fn is(&self, kind: VirtualKind) -> bool {
        self.kind == Kind::Virtual(kind)
    }

    /// Whether it can have ports.
    pub fn takes_ports(&self) -> bool {
        self.is_bundle() || self.kind == Kind::Bridge || self.is(VirtualKind::Vrf)
    }
}

/// What a port of a vlan-aware bridge does with one of its VLANs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PortVlan {
    /// Whether untagged frames that come in belong to it.
    pub pvid: bool,
    /// Whether its frames leave without a tag.
    pub untagged: bool,
}

/// A root queueing discipline, as `tc -s qdisc` shows it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Queue {
    /// Its kind; of `mq` that of its leaves.
    pub kind: String,
    /// Packets, or of a bfifo bytes.
    pub limit: Option<u32>,
    /// Frames sent by it.
    pub packets: Option<u64>,
    /// Frames dropped by it.
    pub drops: Option<u64>,
}

/// A link that its text refers to by number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Number {
    /// Its own.
    pub number: u32,
    /// The link.
    pub name: IfName,
    /// That of the bond or bridge that it is a port of.
    pub controller: Option<u32>,
    /// That of the link that it is made on.
    pub parent: Option<u32>,
}

/// A route of the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// Of which family it is: neither a network nor a next hop may show it.
    pub is_ipv6: bool,
    /// `None` is the default route.
    pub to: Option<Cidr>,
    /// The next hop.
    pub via: Option<IpAddr>,
    /// The device.
    pub dev: Option<IfName>,
    /// What else is asked of it.
    pub extras: RouteExtras,
}

/// Something that the reporter observed, beside counters of links.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// A sender got this errno; on this device, if that was said.
    Errno(&'static str, Option<IfName>),
    /// A device's own drop counter does not move.
    NoDrops(IfName),
    /// Frames sent by this device arrive.
    Works(IfName),
    /// Untagged frames of this device arrive.
    UntaggedWorks(IfName),
    /// Frames of this VLAN of this device arrive.
    VlanWorks(IfName, u16),
    /// Frames of this VLAN arrive if the sender writes the tag itself.
    TagInBandWorks(IfName, u16),
    /// Nothing gets an answer through this device.
    Silent(IfName),
    /// The same of echo requests with so many bytes of payload, which somebody chose.
    LargeSilent(IfName, u32),
}

/// One thing that was tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// What was done.
    pub change: Change,
    /// Whether it was said that it did not help.
    pub timed_out: bool,
    /// In the reporter's words.
    pub words: String,
}

/// A change that a mitigation can make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Down and up.
    Bounce(IfName),
    /// Deleted and made again.
    Recreate(IfName),
    /// Another queueing discipline at the root.
    Qdisc(IfName, String),
    /// An offload switched; without a device it is that of the NICs.
    Offload(Option<IfName>, &'static str, bool),
}

/// A network configuration of CNI.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Network {
    /// As an annotation names it.
    pub name: String,
    /// Its JSON.
    pub config: String,
}

/// A pod's annotation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodRequest {
    /// The pod's name.
    pub pod: String,
    /// Networks and the interfaces in the pod.
    pub networks: Vec<(String, Option<String>)>,
}

/// An entry of the table of neighbours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Neighbour {
    /// Its own.
    pub address: IpAddr,
    /// The device that it is reached by.
    pub dev: IfName,
    /// Whether it has answered: `REACHABLE` and what comes after that, or `FAILED`. `None` where the state says nothing.
    pub has_answered: Option<bool>,
}

/// What was read.
#[derive(Debug, Default)]
pub struct Model {
    /// By name; each machine has one of each, and the pod's are kept apart by their place.
    pub links: IndexMap<IfName, Link>,
    /// Routes of both families.
    pub routes: Vec<Route>,
    /// Rules that choose a routing table.
    pub rules: Vec<route::Rule>,
    /// Routing tables that have names of the machine's own; their numbers are made up.
    pub tables: Vec<String>,
    /// Neighbours, in the order of the text.
    pub neighbours: Vec<Neighbour>,
    /// Neighbours that do not age; one without an address is a proxy's.
    pub permanent: Vec<(IpAddr, IfName, Option<Mac>)>,
    /// Kernel releases that were mentioned, as written.
    pub releases: Vec<String>,
    /// Observations, in the order of the text.
    pub seen: Vec<Seen>,
    /// What was tried.
    pub tried: Vec<Attempt>,
    /// What a pod's interface is, and on which VLAN.
    pub attached: Option<(Kind, Option<u16>)>,
    /// CNI configurations.
    pub networks: Vec<Network>,
    /// The command that printed the document that is being read, where the text shows it.
    pub command: Option<String>,
    /// Links that refer to others by number, of the text that is being read.
    pub numbers: Vec<Number>,
    /// Pods' annotations.
    pub pods: Vec<PodRequest>,
    /// Addresses that the gateway has to have opposite a device.
    pub gateways: Vec<(IfName, Cidr)>,
    /// VLANs of each port of a vlan-aware bridge, and of the bridge itself.
    pub bridge_vlans: BTreeMap<IfName, BTreeMap<u16, PortVlan>>,
    /// How many VLANs were read for them, also the same again.
    pub vlans_read: usize,
    /// What lint finds in the text and a topology cannot show.
    pub lint: Vec<Finding>,
    /// What was not carried over, and why.
    pub notes: Vec<String>,
    /// Notes that were too many.
    pub notes_more: usize,
    /// Of texts whose format was recognised: what their readers did not take, by format, and how many there are.
    pub left: BTreeMap<&'static str, (Vec<String>, usize)>,
    /// Formats that were found, with the line of the first.
    pub found: Vec<(&'static str, usize)>,
}

impl Model {
    /// The link of this name, made if it is not there; `None` where the name is no device's, or there are too many.
    pub fn link(&mut self, name: &str) -> Option<&mut Link> {
        // The loopback device is in each namespace, and nobody makes it.
        let name: IfName = name.parse().ok().filter(|name: &IfName| name.as_str() != "lo")?;
        if !self.links.contains_key(&name) && self.links.len() >= LINKS_MAX {
            self.note(format!("more than {LINKS_MAX} links: {name} and others are left out"));
            return None;
        }
        Some(self.links.entry(name).or_default())
    }

    /// Says what a link is, unless more is known already.
    pub fn kind(&mut self, name: &str, kind: Kind) {
        if let Some(link) = self.link(name) {
            link.kind = link.kind.max(kind);
        }
    }

    /// Makes a link a port of another one.
    pub fn port(&mut self, controller: &str, port: &str) {
        let Ok(owner) = controller.parse::<IfName>() else { return };
        if controller == port || self.link(controller).is_none() {
            return;
        }
        if let Some(link) = self.link(port) {
            link.controller = Some(owner);
        }
    }

    /// Gives a link an address, once.
    pub fn address(&mut self, name: &str, cidr: &str) {
        let Ok(cidr) = cidr.parse::<Cidr>() else {
            self.note(format!("address {cidr} of {name}: it has no prefix length, or is none"));
            return;
        };
        let Some(link) = self.link(name) else { return };
        if !link.addresses.contains(&cidr) && link.addresses.len() < 16 {
            link.addresses.push(cidr);
        }
    }

    /// Says that something is not carried over.
    pub fn note(&mut self, text: impl Into<String>) {
        let text = crate::net::clean::line(&text.into()).into_owned();
        let text = shortened(&text, 200);
        if self.notes.contains(&text) {
        } else if self.notes.len() < NOTES_MAX {
            self.notes.push(text);
        } else {
            self.notes_more += 1;
        }
    }

    /// Says that a part of a recognised format was not read.
    pub fn left(&mut self, format: &'static str, what: impl AsRef<str>) {
        let (shown, count) = self.left.entry(format).or_default();
        let what = shortened(&crate::net::clean::line(what.as_ref()), 60);
        if shown.contains(&what) {
            return;
        }
        *count += 1;
        if shown.iter().map(String::len).sum::<usize>() + what.len() < 120 {
            shown.push(what);
        }
    }

    /// Makes notes of what was not read, one for each format.
    pub fn note_left(&mut self) {
        for (format, (shown, count)) in std::mem::take(&mut self.left) {
            let more = count - shown.len();
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            self.note(format!("{format}, not read: {}{more}", shown.join(", ")));
        }
    }

    /// Says that lint has something to say, once.
    pub fn lint(&mut self, rule: &'static Rule, message: impl AsRef<str>) {
        let finding = Finding::new(rule, shortened(message.as_ref(), 200));
        if !self.lint.contains(&finding) && self.lint.len() < NOTES_MAX {
            self.lint.push(finding);
        }
    }

    /// Says that a format was recognised, from this line on.
    pub fn found(&mut self, format: &'static str, line: usize) {
        if !self.found.iter().any(|(known, _)| *known == format) {
            self.found.push((format, line));
        }
    }

    /// Adds an observation, once.
    pub fn saw(&mut self, seen: Seen) {
        if !self.seen.contains(&seen) && self.seen.len() < 200 {
            self.seen.push(seen);
        }
    }

    /// Adds a neighbour; a later entry of the same one says what it is now.
    pub fn neighbour(&mut self, entry: Neighbour) {
        let is_same = |known: &Neighbour| known.address == entry.address && known.dev == entry.dev;
        match self.neighbours.iter().position(is_same) {
            Some(at) => {
                let known = &mut self.neighbours[at];
                known.has_answered = entry.has_answered.or(known.has_answered);
            }
            None if self.neighbours.len() < 64 => self.neighbours.push(entry),
            None => {}
        }
    }

    /// Adds a route, once.
    pub fn route(&mut self, route: Route) {
        if !self.routes.contains(&route) && self.routes.len() < 200 {
            self.routes.push(route);
        }
    }

    /// The VLANs of a bridge that filters by them: of the bridge itself, or of one of its ports. `None` is one that takes all.
    pub fn vlans_of(&self, bridge: &IfName, port: &IfName) -> Option<BTreeMap<u16, PortVlan>> {
        let link = self.links.get(bridge).filter(|link| link.kind == Kind::Bridge)?;
        let of_its_own =
            |name: &IfName| self.bridge_vlans.get(name).filter(|all| all.keys().any(|id| *id != 1));
        let has_tables = || self.ports(bridge).iter().chain([bridge]).any(|name| of_its_own(name).is_some());
        if !link.vlan_filtering.unwrap_or_else(has_tables) {
            return None;
        }
        // `br_vlan_init()`: VLAN 1 untagged is what each port begins with.
        let first = BTreeMap::from([(1, PortVlan { pvid: true, untagged: true })]);
        Some(self.bridge_vlans.get(port).cloned().unwrap_or(first))
    }

    /// The ports of a bond or bridge, in the order they were read.
    pub fn ports(&self, controller: &IfName) -> Vec<IfName> {
        let is_port = |link: &Link| link.controller.as_ref() == Some(controller);
        self.links.iter().filter(|(_, link)| is_port(link)).map(|(name, _)| name.clone()).collect()
    }

    /// Names of all bonds.
    pub fn bonds(&self) -> Vec<IfName> {
        let bonds = self.links.iter().filter(|(_, link)| link.kind == Kind::Bond);
        bonds.map(|(name, _)| name.clone()).collect()
    }
}

/// At most so many characters of a text.
pub fn shortened(text: &str, max: usize) -> String {
    match text.char_indices().nth(max) {
        Some((at, _)) => format!("{} ...", text[..at].trim_end()),
        None => text.to_owned(),
    }
}
