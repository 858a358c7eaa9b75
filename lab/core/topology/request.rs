//! What a step asks of the kernel in the midst of a run, and how it may be refused.

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::net::address::{Cidr, MacSource};
use crate::net::bond::BondChange;
use crate::net::mdb::MdbEntry;
use crate::net::name::{DeviceRef, IfName, NsName};
use crate::net::pattern::found_in;
use crate::net::qdisc::PlugAction;
use crate::net::route::{Neighbour, Route};
use crate::net::version::KernelRanges;

/// One request to the kernel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// All in one RTM_NEWLINK message, as `ip link set` sends it.
    Link { device: DeviceRef, asked: Box<LinkRequest> },
    /// All in one ETHTOOL_SFEATURES, as `ethtool -K` sends it.
    Features { device: DeviceRef, features: Vec<(String, bool)> },
    /// RTM_NEWQDISC of a plug that is there already.
    Plug { device: DeviceRef, action: PlugAction },
    /// RTM_NEWADDR or RTM_DELADDR.
    Address { device: DeviceRef, cidr: Cidr, is_added: bool },
    /// RTM_NEWMDB or RTM_DELMDB, at a bridge's port or the bridge itself.
    Multicast { device: DeviceRef, entry: MdbEntry, is_added: bool },
    /// IP_ADD_MEMBERSHIP or IPV6_JOIN_GROUP of a socket, or the end of that socket.
    Membership { device: DeviceRef, group: IpAddr, joins: bool },
    /// RTM_NEWROUTE or RTM_DELROUTE.
    Route { ns: NsName, route: Route, is_added: bool },
    /// RTM_NEWNEIGH, permanent, or RTM_DELNEIGH.
    Neighbour { ns: NsName, neighbour: Neighbour, is_added: bool },
}

/// What one message asks of a link; what is `None` is not in it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LinkRequest {
    /// IFF_UP.
    pub up: Option<bool>,
    /// IFLA_MTU, in bytes.
    pub mtu: Option<u32>,
    /// IFLA_ADDRESS.
    pub mac: Option<MacSource>,
    /// IFLA_TXQLEN, in packets.
    pub txqueuelen: Option<u32>,
    /// IFLA_MASTER: a bond or bridge, or none.
    pub controller: Option<ControllerRequest>,
    /// IFLA_IFNAME.
    pub name: Option<IfName>,
    /// IFLA_NET_NS_FD.
    pub ns: Option<NsName>,
    /// IFLA_LINKINFO.
    pub change: Option<BondChange>,
}

/// Whose port a link becomes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ControllerRequest {
    /// Of no bond or bridge.
    Nobody,
    /// Of this device of its namespace.
    Of(IfName),
}

impl Request {
    /// The device that it changes.
    pub fn device(&self) -> Option<&DeviceRef> {
        match self {
            Self::Link { device, .. }
            | Self::Features { device, .. }
            | Self::Plug { device, .. }
            | Self::Address { device, .. }
            | Self::Multicast { device, .. }
            | Self::Membership { device, .. } => Some(device),
            Self::Route { .. } | Self::Neighbour { .. } => None,
        }
    }
}

impl LinkRequest {
    /// Where the device is afterwards, and under which name.
    pub fn moved(&self, device: &DeviceRef) -> DeviceRef {
        DeviceRef {
            ns: self.ns.clone().unwrap_or_else(|| device.ns.clone()),
            name: self.name.clone().unwrap_or_else(|| device.name.clone()),
        }
    }
}

impl fmt::Display for LinkRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { up, mtu, mac, txqueuelen, controller, name, ns, change } = self;
        let mut words: Vec<String> = Vec::new();
        words.extend(up.map(|up| if up { "up".into() } else { "down".into() }));
        words.extend(mtu.map(|mtu| format!("mtu {mtu}")));
        words.extend(mac.as_ref().map(|mac| format!("address {mac}")));
        words.extend(txqueuelen.map(|len| format!("txqueuelen {len}")));
        words.extend(controller.as_ref().map(|controller| match controller {
            ControllerRequest::Nobody => "no controller".into(),
            ControllerRequest::Of(name) => format!("controller {name}"),
        }));
        words.extend(name.as_ref().map(|name| format!("name {name}")));
        words.extend(ns.as_ref().map(|ns| format!("namespace {ns}")));
        let options = change.iter().flat_map(BondChange::values);
        words.extend(options.map(|(row, value)| format!("{} {}", row.key, row.wire.shown(&value))));
        f.write_str(&words.join(" "))
    }
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verb = |is_added: bool| if is_added { "add" } else { "delete" };
        match self {
            Self::Link { device, asked } => write!(f, "set {device} {asked}"),
            Self::Features { device, features } => {
                write!(f, "set features of {device}")?;
                let word = |on: bool| if on { "on" } else { "off" };
                features.iter().try_for_each(|(name, on)| write!(f, " {name} {}", word(*on)))
            }
            Self::Plug { device, action } => write!(f, "set plug of {device} {}", action.word()),
            Self::Address { device, cidr, is_added } => {
                write!(f, "{} address {cidr} of {device}", verb(*is_added))
            }
            Self::Multicast { device, entry, is_added } => {
                write!(f, "{} mdb {entry} of {device}", verb(*is_added))
            }
            Self::Membership { device, group, joins } => {
                write!(f, "{} group {group} by {device}", if *joins { "join" } else { "leave" })
            }
            Self::Route { ns, route, is_added } => write!(f, "{} route {route} in {ns}", verb(*is_added)),
            Self::Neighbour { ns, neighbour, is_added } => {
                write!(f, "{} neighbour {} dev {} in {ns}", verb(*is_added), neighbour.to, neighbour.dev)
            }
        }
    }
}

/// How a step must be refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Refused {
    /// With this errno.
    pub errno: String,
    /// With this in the kernel's extended acknowledgement; `*` stands for anything.
    #[serde(default)]
    pub extack: Option<String>,
    /// On these kernels; on all others it must be carried out. On all without.
    #[serde(default)]
    pub when: Option<KernelRanges>,
}

impl Refused {
    /// Whether a refusal is this one.
    pub fn is(&self, errno: Option<&str>, text: Option<&str>) -> bool {
        let has = |wanted: &String| text.is_some_and(|text| found_in(wanted, text));
        errno == Some(self.errno.as_str()) && self.extack.as_ref().is_none_or(has)
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "refused with {}", self.errno)?;
        self.extack.as_ref().map_or(Ok(()), |text| write!(f, ": {text}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_compared_by_errno_and_text() {
        let wanted = |extack: Option<&str>| Refused {
            errno: "EBUSY".into(),
            extack: extack.map(str::to_owned),
            when: None,
        };
        for (extack, errno, text, expected) in [
            (None, Some("EBUSY"), None, true),
            (None, Some("EINVAL"), None, false),
            (None, None, None, false),
            (Some("in use"), Some("EBUSY"), Some("Device is in use as a port"), true),
            (Some("device * port"), Some("EBUSY"), Some("device is a port"), true),
            (Some("in use"), Some("EBUSY"), None, false),
            (Some("in use"), Some("EPERM"), Some("in use"), false),
        ] {
            assert_eq!(wanted(extack).is(errno, text), expected, "{extack:?} {errno:?} {text:?}");
        }
    }
}
