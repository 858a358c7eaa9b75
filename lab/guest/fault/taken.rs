//! What a fault takes: all that the kernel shows of a trial's namespaces before it and after it, and what is given back when it
//! is cleared.
//!
//! A device that goes down loses its routes and neighbours (`fib_netdev_event()`, `neigh_ifdown()`) and its IPv6 addresses
//! (`addrconf_ifdown()`); an MTU below 1280 takes IPv6 from it, and a smaller one stays with what stands on it
//! (`vlan_device_event()`); a port that leaves its bond is closed and has its own address and MTU again
//! (`__bond_release_one()`). None of it comes back by itself. So nothing is assumed here about kinds of faults: everything is
//! read, compared and read again.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;

use netlink_packet_core::{NLM_F_APPEND, NLM_F_CREATE, NLM_F_REPLACE};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage};
use netlink_packet_route::link::{
    BondFailOverMac, BondMode, InfoBond, InfoData, LinkAttribute, LinkFlags, LinkInfo, LinkMessage,
};
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState,
};
use netlink_packet_route::route::{
    RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteNextHopFlags, RouteProtocol,
};
use netlink_packet_route::tc::TcHandle;

use crate::agent::testbed::Testbed;
use crate::device::{tc, verify};
use crate::syscall::rtnl::{Rtnl, RtnlError};
use bondlab_core::net::name::NsName;
use bondlab_core::plan::record::OpError;

/// One thing that the kernel shows. In the order in which they are given back: an address needs an MTU that IPv6 takes and
/// a device that is up, a route needs the addresses, and one with a next hop the routes on the link.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Mtu(u32),
    Mac(u32),
    TxQueueLen(u32),
    Up(u32),
    Controller(u32),
    Qdisc(u32),
    Address(u32, IpAddr, u8),
    /// All to one destination: whether with a next hop, the family, the destination, table and priority.
    Routes(bool, u8, String),
    Neighbour(u32, String),
}

/// What it is.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Value {
    Number(u32),
    Flag(bool),
    Bytes(Vec<u8>),
    Qdisc(String, Vec<u8>),
    /// The message matters for giving it back; there is one of each.
    Address(Box<AddressMessage>),
    Routes(Vec<RouteMessage>),
    Neighbour(Box<NeighbourMessage>),
}

impl Value {
    /// Whether it is the same: of an address, that it is there.
    fn is(&self, other: Option<&Self>) -> bool {
        match (self, other) {
            (Self::Address(_), Some(Self::Address(_))) => true,
            (one, other) => Some(one) == other,
        }
    }
}

/// Everything that is compared, by namespace, and the names of devices.
#[derive(Debug, Default)]
pub struct Configuration {
    all: Things,
    names: BTreeMap<(NsName, u32), String>,
}

type Things = BTreeMap<(Key, NsName), Value>;

/// What a fault took: as it was before.
#[derive(Debug, Default)]
pub struct Taken(Things);

impl Configuration {
    /// Reads it.
    ///
    /// # Errors
    /// No complete answer.
    pub async fn read(bed: &Testbed) -> Result<Self, OpError> {
        let mut standing = Self::default();
        let mut floating = false;
        for (ns, rtnl) in bed.sockets() {
            let read = standing.read_one(ns, rtnl, &mut floating).await;
            read.map_err(|error| error.during(format!("read what stands in {ns}")))?;
        }
        Ok(standing)
    }

    /// What is not as it was in `before`.
    pub fn taken_since(&self, before: Self) -> Taken {
        let mut all = before.all;
        all.retain(|key, value| !value.is(self.all.get(key)));
        Taken(all)
    }

    async fn read_one(&mut self, ns: &NsName, rtnl: &Rtnl, floating: &mut bool) -> Result<(), RtnlError> {
        let mut put = |key: Key, value: Value| drop(self.all.insert((key, ns.clone()), value));
        let links = rtnl.links().await?;
        let floats = floating_macs(&links, floating);
        for link in &links {
            let index = link.header.index;
            put(Key::Up(index), Value::Flag(link.header.flags.contains(LinkFlags::Up)));
            let mut controller = 0;
            for attribute in &link.attributes {
                match attribute {
                    LinkAttribute::IfName(name) => {
                        self.names.insert((ns.clone(), index), name.clone());
                    }
                    LinkAttribute::Mtu(mtu) => put(Key::Mtu(index), Value::Number(*mtu)),
                    LinkAttribute::TxQueueLen(len) => put(Key::TxQueueLen(index), Value::Number(*len)),
                    LinkAttribute::Address(mac) if !floats.contains(&index) => {
                        put(Key::Mac(index), Value::Bytes(mac.clone()));
                    }
                    LinkAttribute::Controller(index) => controller = *index,
                    _ => {}
                }
            }
            put(Key::Controller(index), Value::Number(controller));
        }
        for answer in rtnl.dump(RouteNetlinkMessage::GetAddress(AddressMessage::default())).await? {
            let RouteNetlinkMessage::NewAddress(message) = answer else { continue };
            let is_permanent = message.header.flags.contains(AddressHeaderFlags::Permanent);
            if let Some(cidr) = verify::cidr(&message).filter(|_| is_permanent) {
                let key = Key::Address(message.header.index, cidr.address, cidr.prefix);
                put(key, Value::Address(Box::new(message)));
            }
        }
        for (key, routes) in routes(rtnl).await? {
            put(key, Value::Routes(routes));
        }
        for answer in rtnl.dump(RouteNetlinkMessage::GetNeighbour(NeighbourMessage::default())).await? {
            let RouteNetlinkMessage::NewNeighbour(message) = answer else { continue };
            if let (NeighbourState::Permanent, Some(to)) = (message.header.state, destination(&message)) {
                let message = permanent(&message);
                put(Key::Neighbour(message.header.ifindex, to), Value::Neighbour(Box::new(message)));
            }
        }
        for qdisc in tc::dump(rtnl).await? {
            let root = qdisc.header.parent == TcHandle::ROOT;
            if let (true, Some(kind), Ok(index)) = (root, tc::kind(&qdisc), u32::try_from(qdisc.header.index))
            {
                put(Key::Qdisc(index), Value::Qdisc(kind.to_owned(), tc::options_of(&qdisc)));
            }
        }
        Ok(())
    }

    fn name(&self, ns: &NsName, index: u32) -> String {
        let name = self.names.get(&(ns.clone(), index));
        name.map_or_else(|| format!("{ns}: device {index}"), |name| format!("{ns}:{name}"))
    }

    /// In words, what is not there.
    fn tell(&self, (key, ns): &(Key, NsName), value: &Value) -> String {
        match key {
            Key::Mtu(index) => format!("mtu {value} of {}", self.name(ns, *index)),
            Key::Mac(index) => format!("address {value} of {}", self.name(ns, *index)),
            Key::TxQueueLen(index) => format!("txqueuelen {value} of {}", self.name(ns, *index)),
            Key::Up(index) => format!("state {value} of {}", self.name(ns, *index)),
            Key::Controller(index) => format!("the controller of {}", self.name(ns, *index)),
            Key::Qdisc(index) => format!("qdisc {value} of {}", self.name(ns, *index)),
            Key::Address(index, address, prefix) => {
                format!("address {address}/{prefix} of {}", self.name(ns, *index))
            }
            Key::Routes(.., to) => format!("routes to {to} in {ns}"),
            Key::Neighbour(index, to) => format!("neighbour {to} on {}", self.name(ns, *index)),
        }
    }

    /// Whether the device it is about is there at all: what was deleted since is not given back.
    fn has_device(&self, (key, ns): &(Key, NsName)) -> bool {
        match key {
            Key::Mtu(index)
            | Key::Mac(index)
            | Key::TxQueueLen(index)
            | Key::Up(index)
            | Key::Controller(index)
            | Key::Qdisc(index)
            | Key::Address(index, ..)
            | Key::Neighbour(index, _) => self.names.contains_key(&(ns.clone(), *index)),
            Key::Routes(..) => true,
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Flag(up) => f.write_str(if *up { "up" } else { "down" }),
            Self::Bytes(bytes) => {
                let bytes: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
                f.write_str(&bytes.join(":"))
            }
            Self::Qdisc(kind, _) => f.write_str(kind),
            Self::Address(_) | Self::Routes(_) | Self::Neighbour(_) => Ok(()),
        }
    }
}

impl Taken {
    /// Gives back what is still missing, and reads it again. What another fault still keeps away is put among what that one
    /// took.
    ///
    /// # Errors
    /// What is not there again.
    pub async fn give_back(self, bed: &Testbed, name: &str, other: Option<&mut Self>) -> Result<(), OpError> {
        if self.0.is_empty() {
            return Ok(());
        }
        let mut refused = BTreeMap::new();
        let now = Configuration::read(bed).await?;
        for (key, value) in &self.0 {
            if now.has_device(key)
                && !value.is(now.all.get(key))
                && let Err(error) = put(bed, key, value, now.all.get(key)).await
            {
                refused.insert(key.clone(), error.to_string());
            }
        }
        let now = Configuration::read(bed).await?;
        let mut missing = self.0;
        missing.retain(|key, value| now.has_device(key) && !value.is(now.all.get(key)));
        if let Some(other) = other {
            for (key, value) in missing {
                other.0.entry(key).or_insert(value);
            }
            return Ok(());
        }
        if missing.is_empty() {
            return Ok(());
        }
        let missing = missing.iter().map(|(key, value)| {
            let why = refused.get(key).map(|why| format!(" ({why})")).unwrap_or_default();
            format!("{}{why}", now.tell(key, value))
        });
        let text = missing.collect::<Vec<_>>().join("; ");
        Err(OpError { what: format!("give back what {name} took"), errno: None, text: Some(text) })
    }
}

/// Puts one thing back.
async fn put(
    bed: &Testbed,
    (key, ns): &(Key, NsName),
    value: &Value,
    now: Option<&Value>,
) -> Result<(), OpError> {
    let what = || "put it back".to_owned();
    let rtnl = bed.rtnl(ns)?;
    let set = |index: u32, fill: &dyn Fn(&mut LinkMessage)| {
        let mut message = LinkMessage::default();
        message.header.index = index;
        fill(&mut message);
        RouteNetlinkMessage::NewLink(message)
    };
    let attribute = |index, attribute: LinkAttribute| {
        set(index, &|message: &mut LinkMessage| message.attributes.push(attribute.clone()))
    };
    let request = match (key, value) {
        (Key::Mtu(index), Value::Number(mtu)) => attribute(*index, LinkAttribute::Mtu(*mtu)),
        (Key::TxQueueLen(index), Value::Number(len)) => attribute(*index, LinkAttribute::TxQueueLen(*len)),
        (Key::Mac(index), Value::Bytes(mac)) => attribute(*index, LinkAttribute::Address(mac.clone())),
        (Key::Up(index), Value::Flag(up)) => set(*index, &|message| {
            message.header.flags.set(LinkFlags::Up, *up);
            message.header.change_mask |= LinkFlags::Up;
        }),
        (Key::Address(..), Value::Address(message)) => RouteNetlinkMessage::NewAddress(again(message)),
        (Key::Neighbour(..), Value::Neighbour(message)) => {
            RouteNetlinkMessage::NewNeighbour((**message).clone())
        }
        (Key::Routes(..), Value::Routes(routes)) => {
            // In their order: what is left of them is taken away first.
            if let Some(Value::Routes(left)) = now {
                for route in left {
                    let deleted = rtnl.change(RouteNetlinkMessage::DelRoute(route.clone()), 0).await;
                    deleted.map_err(|error| error.during(what()))?;
                }
            }
            for route in routes {
                let request = RouteNetlinkMessage::NewRoute(route.clone());
                let added = rtnl.change(request, NLM_F_CREATE | NLM_F_APPEND).await;
                added.map_err(|error| error.during(what()))?;
            }
            return Ok(());
        }
        // The fault's own clearing has done it, or has reported it.
        _ => return Ok(()),
    };
    let flags = match key {
        Key::Address(..) | Key::Neighbour(..) => NLM_F_CREATE | NLM_F_REPLACE,
        _ => 0,
    };
    rtnl.change(request, flags).await.map_err(|error| error.during(what()))
}

/// An address as it is asked for: usable at once, and for ever.
fn again(shown: &AddressMessage) -> AddressMessage {
    let mut message = shown.clone();
    message.header.flags = AddressHeaderFlags::empty();
    let mut flags = AddressFlags::empty();
    message.attributes.retain(|attribute| {
        if let AddressAttribute::Flags(is) = attribute {
            flags = *is;
        }
        !matches!(attribute, AddressAttribute::CacheInfo(_) | AddressAttribute::Flags(_))
    });
    if message.header.family == netlink_packet_route::AddressFamily::Inet6 {
        let of_the_kernel = AddressFlags::Tentative | AddressFlags::Dadfailed | AddressFlags::Permanent;
        flags = (flags - of_the_kernel) | AddressFlags::Nodad;
        message.header.flags |= AddressHeaderFlags::Nodad;
        message.attributes.push(AddressAttribute::Flags(flags));
    }
    message
}

/// Routes that somebody asked for, by where they lead. The kernel's own come back with their addresses.
async fn routes(rtnl: &Rtnl) -> Result<BTreeMap<Key, Vec<RouteMessage>>, RtnlError> {
    let mut all: BTreeMap<Key, Vec<RouteMessage>> = BTreeMap::new();
    for answer in rtnl.dump(RouteNetlinkMessage::GetRoute(RouteMessage::default())).await? {
        let RouteNetlinkMessage::NewRoute(mut message) = answer else { continue };
        let of_the_kernel = [RouteProtocol::Kernel, RouteProtocol::Ra, RouteProtocol::IcmpRedirect];
        let is_cached = message.header.flags.contains(RouteFlags::Cloned);
        if of_the_kernel.contains(&message.header.protocol) || is_cached {
            continue;
        }
        normalise(&mut message);
        let RouteHeader { address_family, destination_prefix_length, table, .. } = message.header;
        let (mut to, mut priority, mut has_next_hop) = (None, 0, false);
        for attribute in &message.attributes {
            match attribute {
                RouteAttribute::Destination(address) => to = Some(format!("{address:?}")),
                RouteAttribute::Priority(number) => priority = *number,
                RouteAttribute::Gateway(_) | RouteAttribute::MultiPath(_) | RouteAttribute::Via(_) => {
                    has_next_hop = true;
                }
                _ => {}
            }
        }
        let to = to.unwrap_or_else(|| "default".into());
        let to = format!("{to}/{destination_prefix_length} table {table} priority {priority}");
        all.entry(Key::Routes(has_next_hop, u8::from(address_family), to)).or_default().push(message);
    }
    Ok(all)
}

/// Without what the kernel says of its state: whether the link has carrier, how long it lives.
fn normalise(message: &mut RouteMessage) {
    message.header.flags &= RouteFlags::Onlink;
    for attribute in &mut message.attributes {
        if let RouteAttribute::MultiPath(hops) = attribute {
            hops.iter_mut().for_each(|hop| hop.flags &= RouteNextHopFlags::Onlink);
        }
    }
    message.attributes.retain(|attribute| !matches!(attribute, RouteAttribute::CacheInfo(_)));
}

fn destination(message: &NeighbourMessage) -> Option<String> {
    message.attributes.iter().find_map(|attribute| match attribute {
        NeighbourAttribute::Destination(NeighbourAddress::Inet(to)) => Some(to.to_string()),
        NeighbourAttribute::Destination(NeighbourAddress::Inet6(to)) => Some(to.to_string()),
        _ => None,
    })
}

/// Without counters and times.
fn permanent(shown: &NeighbourMessage) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    message.header = shown.header.clone();
    let is_asked = |attribute: &&NeighbourAttribute| {
        matches!(attribute, NeighbourAttribute::Destination(_) | NeighbourAttribute::LinkLayerAddress(_))
    };
    message.attributes = shown.attributes.iter().filter(is_asked).cloned().collect();
    message
}

/// Devices whose Ethernet address is the bonding driver's to move about: a bond that takes its active port's, the ports
/// that swap theirs, and what stands on such a bond, in whatever namespace.
fn floating_macs(links: &[LinkMessage], elsewhere: &mut bool) -> BTreeSet<u32> {
    let bonds: BTreeSet<u32> =
        links.iter().filter(|link| moves_macs(link)).map(|it| it.header.index).collect();
    *elsewhere |= !bonds.is_empty();
    let mut floating = bonds;
    loop {
        let stands_on_one = |link: &&LinkMessage| {
            let is_elsewhere = link.attributes.iter().any(|it| matches!(it, LinkAttribute::LinkNetNsId(_)));
            link.attributes.iter().any(|attribute| match attribute {
                LinkAttribute::Controller(index) => floating.contains(index),
                LinkAttribute::Link(index) => {
                    if is_elsewhere {
                        *elsewhere
                    } else {
                        floating.contains(index)
                    }
                }
                _ => false,
            })
        };
        let found: Vec<u32> = links.iter().filter(stands_on_one).map(|link| link.header.index).collect();
        let before = floating.len();
        floating.extend(found);
        if floating.len() == before {
            return floating;
        }
    }
}

fn moves_macs(link: &LinkMessage) -> bool {
    let infos = link.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::LinkInfo(infos) => Some(infos),
        _ => None,
    });
    infos.into_iter().flatten().any(|info| match info {
        LinkInfo::Data(InfoData::Bond(data)) => data.iter().any(|attribute| match attribute {
            InfoBond::FailOverMac(policy) => *policy != BondFailOverMac::None,
            InfoBond::Mode(mode) => matches!(mode, BondMode::BalanceTlb | BondMode::BalanceAlb),
            _ => false,
        }),
        _ => false,
    })
}
