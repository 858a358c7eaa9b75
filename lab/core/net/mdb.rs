//! Entries of a bridge's multicast database, and the groups that can have one.

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::net::name::VlanId;

/// An entry of a bridge's multicast database: frames to the group leave by the port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MdbEntry {
    /// The group.
    pub group: IpAddr,
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
pub fn unfit(group: IpAddr) -> Option<&'static str> {
    match group {
        _ if !group.is_multicast() => Some("is no multicast address"),
        IpAddr::V4(group) if group.octets()[..3] == [224, 0, 0] => {
            Some("is a local group (224.0.0.0/24), which goes to all ports")
        }
        IpAddr::V6(group) if group.segments() == [0xff02, 0, 0, 0, 0, 0, 0, 1] => {
            Some("is the group of all nodes, which goes to all ports")
        }
        _ => None,
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
