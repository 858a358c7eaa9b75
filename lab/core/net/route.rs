//! Routes, rules that choose a routing table, and neighbours.

use std::fmt;
use std::net::IpAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::net::address::{Cidr, MacSource};
use crate::net::mode::words;
use crate::net::name::IfName;

/// A route.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// `None` is the default route.
    pub to: Option<Cidr>,
    /// The next hop.
    pub via: Option<IpAddr>,
    /// The device.
    pub dev: Option<IfName>,
    /// What else is asked of it.
    #[serde(default, skip_serializing_if = "RouteExtras::is_empty")]
    pub extras: RouteExtras,
}

words! {
    /// `RTN_*`, include/uapi/linux/rtnetlink.h.
    RouteKind: u8 {
        Unicast = 1 "unicast", Blackhole = 6 "blackhole", Unreachable = 7 "unreachable", Prohibit = 8 "prohibit",
        Throw = 9 "throw",
    }
}

/// What else is asked of a route; a route of the main table mostly has none of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RouteExtras {
    /// What happens to packets; `None` is unicast.
    pub kind: Option<RouteKind>,
    /// The routing table; `None` is main.
    pub table: Option<u32>,
    /// Of two routes to one network the lower one is taken.
    pub metric: Option<u32>,
    /// The source address of packets that do not have one.
    pub src: Option<IpAddr>,
    /// Largest packet, in bytes.
    pub mtu: Option<u32>,
    /// Whether the next hop is taken to be on the device's network.
    pub onlink: bool,
}

impl RouteExtras {
    /// Whether nothing is asked for.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl Route {
    /// A route of the main table.
    pub fn new(to: Option<Cidr>, via: Option<IpAddr>, dev: Option<IfName>) -> Self {
        Self { to, via, dev, extras: RouteExtras::default() }
    }
}

/// A rule that chooses a routing table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Rules with lower numbers are asked first.
    pub priority: u32,
    /// Whether it is of IPv6.
    pub ipv6: bool,
    /// Packets from this network.
    pub from: Option<Cidr>,
    /// Packets to this network.
    pub to: Option<Cidr>,
    /// Packets that came in by this device.
    pub iif: Option<IfName>,
    /// Packets of sockets that are bound to this device.
    pub oif: Option<IfName>,
    /// Packets with this mark.
    pub fwmark: Option<u32>,
    /// The routing table; without one packets are refused.
    pub table: Option<u32>,
}

/// As `ip rule` writes it.
impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.priority)?;
        match &self.from {
            Some(from) => write!(f, " from {from}")?,
            None => f.write_str(" from all")?,
        }
        let mut some =
            |key: &str, value: Option<String>| value.map_or(Ok(()), |value| write!(f, " {key} {value}"));
        some("to", self.to.map(|to| to.to_string()))?;
        some("iif", self.iif.as_ref().map(ToString::to_string))?;
        some("oif", self.oif.as_ref().map(ToString::to_string))?;
        some("fwmark", self.fwmark.map(|mark| format!("{mark:#x}")))?;
        match self.table {
            Some(table) => write!(f, " lookup {table}"),
            None => f.write_str(" unreachable"),
        }
    }
}

words! {
    /// `NUD_*`, include/uapi/linux/neighbour.h: those that can be asked for.
    NeighbourState: u16 {
        Reachable = 2 "reachable", Stale = 4 "stale", Noarp = 0x40 "noarp", Permanent = 0x80 "permanent",
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.to {
            Some(to) => to.fmt(f)?,
            None => f.write_str("default")?,
        }
        if let Some(via) = &self.via {
            write!(f, " via {via}")?;
        }
        if let Some(dev) = &self.dev {
            write!(f, " dev {dev}")?;
        }
        let RouteExtras { kind, table, metric, src, mtu, onlink } = &self.extras;
        let mut some =
            |key: &str, value: Option<String>| value.map_or(Ok(()), |value| write!(f, " {key} {value}"));
        some("type", kind.map(|kind| kind.to_string()))?;
        some("table", table.map(|table| table.to_string()))?;
        some("metric", metric.map(|metric| metric.to_string()))?;
        some("src", src.map(|src| src.to_string()))?;
        some("mtu", mtu.map(|mtu| mtu.to_string()))?;
        f.write_str(if *onlink { " onlink" } else { "" })
    }
}

/// A neighbour.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Neighbour {
    /// Its address.
    pub to: IpAddr,
    /// The device it is reached by.
    pub dev: IfName,
    /// Its Ethernet address; a proxy has none.
    pub mac: Option<MacSource>,
    /// Its state.
    pub state: NeighbourState,
    /// Whether this namespace answers for it.
    pub proxy: bool,
}
