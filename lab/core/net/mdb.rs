//! Entries of a bridge's multicast database, and the groups that can have one.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::net::address::Mac;
use crate::net::name::VlanId;

/// A multicast group: of IP, or an Ethernet address for frames that carry no IP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub enum Group {
    /// Of IPv4 or IPv6.
    Ip(IpAddr),
    /// Of Ethernet (Linux 5.11).
    Ethernet(Mac),
}

impl FromStr for Group {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let of_ip = text.parse().map(Self::Ip).ok();
        let wrong =
            || format!("`{text}` is no group: write \"239.0.0.1\", \"ff05::1\" or \"01:00:5e:00:00:01\"");
        of_ip.or_else(|| text.parse().map(Self::Ethernet).ok()).ok_or_else(wrong)
    }
}

impl TryFrom<String> for Group {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Group> for String {
    fn from(group: Group) -> Self {
        group.to_string()
    }
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(group) => group.fmt(f),
            Self::Ethernet(group) => group.fmt(f),
        }
    }
}

/// An entry of a bridge's multicast database: frames to the group leave by the port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MdbEntry {
    /// The group.
    pub group: Group,
    /// In this VLAN; without, in none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vlan: Option<VlanId>,
    /// Whether it ages (`temp`), as one that a report has made; `permanent` otherwise.
    #[serde(default)]
    pub dynamic: bool,
}

/// As `bridge mdb` writes it.
impl fmt::Display for MdbEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = if self.dynamic { "temp" } else { "permanent" };
        write!(f, "{} {state}", self.group)?;
        self.vlan.map_or(Ok(()), |vlan| write!(f, " vid {}", vlan.get()))
    }
}

/// Why the database has no entry for an address. Frames to local groups go to all ports, whoever has joined
/// (`rtnl_validate_mdb_entry()`, net/core/rtnetlink.c; `is_valid_mdb_entry()`, net/bridge/br_mdb.c, before Linux 6.8).
pub fn unfit(group: Group) -> Option<&'static str> {
    match group {
        Group::Ethernet(Mac([first, ..])) if first & 1 == 0 => Some("is no multicast address"),
        Group::Ethernet(_) => None,
        Group::Ip(group) if !group.is_multicast() => Some("is no multicast address"),
        Group::Ip(IpAddr::V4(group)) if group.octets()[..3] == [224, 0, 0] => {
            Some("is a local group (224.0.0.0/24), which goes to all ports")
        }
        Group::Ip(IpAddr::V6(group)) if group.segments() == [0xff02, 0, 0, 0, 0, 0, 0, 1] => {
            Some("is the group of all nodes, which goes to all ports")
        }
        Group::Ip(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_groups_beyond_the_local_ones_have_entries() {
        for (group, is_fit) in [
            ("239.1.2.3", true),
            ("224.0.1.1", true),
            ("224.0.0.251", false),
            ("192.0.2.1", false),
            ("255.255.255.255", false),
            ("ff05::1:3", true),
            ("ff02::1", false),
            ("ff02::2", true),
            ("2001:db8::1", false),
            ("01:00:5e:01:02:03", true),
            ("02:00:5e:01:02:03", false),
        ] {
            assert_eq!(unfit(group.parse().unwrap()).is_none(), is_fit, "{group}");
        }
    }

    #[test]
    fn an_entry_is_written_as_bridge_mdb_does() {
        let group = "239.1.2.3".parse().unwrap();
        let vlan = VlanId::try_from(10_i64).ok();
        assert_eq!(MdbEntry { group, vlan: None, dynamic: false }.to_string(), "239.1.2.3 permanent");
        assert_eq!(MdbEntry { group, vlan, dynamic: true }.to_string(), "239.1.2.3 temp vid 10");
    }
}
