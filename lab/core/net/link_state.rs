//! The state of links at one moment, and the numbers that a condition reads out of it.

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use crate::net::address::Mac;
use crate::net::name::{DeviceRef, IfName};

/// One link at one moment, as rtnetlink shows it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LinkState {
    /// IFF_UP.
    pub up: bool,
    /// IFF_LOWER_UP.
    pub carrier: bool,
    /// In bytes.
    pub mtu: u32,
    /// Its address now. Compared with others', never shown: some are random.
    pub mac: Option<Mac>,
    /// The bond or bridge it is a port of.
    pub controller: Option<IfName>,
    /// IFLA_BOND_SLAVE_STATE is BOND_STATE_ACTIVE.
    pub is_active: bool,
    /// IFLA_BOND_SLAVE_MII_STATUS is BOND_LINK_UP.
    pub is_link_up: bool,
    /// IFLA_BOND_AD_INFO_NUM_PORTS.
    pub aggregator_ports: u16,
    /// IFLA_BOND_AD_INFO_PARTNER_MAC is not zero.
    pub has_partner: bool,
    /// IFLA_INFO_KIND; empty for a device of a driver.
    #[serde(default)]
    pub kind: String,
    /// IFLA_LINK: the device it stands on, if that is in its own namespace.
    #[serde(default)]
    pub lower: Option<IfName>,
    /// IFLA_BOND_MODE is BOND_MODE_BROADCAST.
    #[serde(default)]
    pub is_broadcast: bool,
}

/// What is reported of a link at the end of a trial, by names and counts that a second run would give it too.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LinkReport {
    /// IFLA_INFO_KIND; empty for a device of a driver.
    pub kind: String,
    /// IFLA_OPERSTATE, as `ip link` prints it.
    pub operstate: String,
    /// As `ip link` prints them.
    pub flags: Vec<String>,
    /// IFLA_BOND_SLAVE_LINK_FAILURE_COUNT of a bond's port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failures: Option<u32>,
    /// Of a port of a bond in mode 802.3ad.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lacp: Option<LacpPort>,
    /// Offloads and other features that are on and could be off, as `ethtool -k` names them; none where they were not read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub features: Option<Vec<String>>,
    /// Whether operational state and the bond's view of it had caught up with the carrier in time.
    pub is_settled: bool,
}

/// A port as LACP sees it: bits of its state (IEEE 802.1AX, `lacp_actor_state`) by name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LacpPort {
    /// Its bond.
    pub bond: DeviceRef,
    /// IFLA_BOND_SLAVE_AD_ACTOR_OPER_PORT_STATE.
    pub actor: Vec<String>,
    /// IFLA_BOND_SLAVE_AD_PARTNER_OPER_PORT_STATE.
    pub partner: Vec<String>,
    /// Other ports with the same IFLA_BOND_SLAVE_AD_AGGREGATOR_ID; the number itself is no behaviour.
    pub aggregated_with: Vec<IfName>,
}

/// Links at one moment.
pub type LinkStates = IndexMap<DeviceRef, LinkState>;
