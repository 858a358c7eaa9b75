//! The options of a bond.

use serde::{Deserialize, Serialize};

use crate::net::mode::{
    AdSelect, ArpValidate, BondMode, FailOverMac, LacpRate, PrimaryReselect, XmitHashPolicy,
};
use crate::net::name::IfName;

/// A bond's options; `None` leaves the kernel's choice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bond {
    /// The mode.
    pub mode: BondMode,
    /// In the order they join.
    pub ports: Vec<IfName>,
    /// In ms.
    pub miimon: Option<u32>,
    /// In ms.
    pub updelay: Option<u32>,
    /// In ms.
    pub downdelay: Option<u32>,
    /// Refused as `false` from 6.18.
    pub use_carrier: Option<bool>,
    /// In ms.
    pub arp_interval: Option<u32>,
    /// Targets of the ARP monitor.
    pub arp_ip_target: Vec<std::net::Ipv4Addr>,
    /// Targets of its neighbour solicitations.
    pub ns_ip6_target: Vec<std::net::Ipv6Addr>,
    /// Intervals without an answer.
    pub missed_max: Option<u8>,
    /// Which ARP traffic counts.
    pub arp_validate: Option<ArpValidate>,
    /// The preferred port.
    pub primary: Option<IfName>,
    /// When it takes over again.
    pub primary_reselect: Option<PrimaryReselect>,
    /// Which Ethernet address the bond shows.
    pub fail_over_mac: Option<FailOverMac>,
    /// How a port is chosen for a frame.
    pub xmit_hash_policy: Option<XmitHashPolicy>,
    /// How often LACPDUs are asked for.
    pub lacp_rate: Option<LacpRate>,
    /// Whether LACPDUs are sent unasked.
    pub lacp_active: Option<bool>,
    /// How an aggregator is chosen.
    pub ad_select: Option<AdSelect>,
    /// Fewest ports for carrier.
    pub min_links: Option<u32>,
    /// Whether frames on inactive ports are accepted.
    pub all_slaves_active: Option<bool>,
    /// Whether balance-tlb moves flows by load.
    pub tlb_dynamic_lb: Option<bool>,
    /// Gratuitous ARPs after a failover.
    pub num_grat_arp: Option<u8>,
}

impl Bond {
    /// A bond of which everything is the kernel's choice but its mode and ports.
    pub fn new(mode: BondMode, ports: Vec<IfName>) -> Self {
        Self {
            mode,
            ports,
            miimon: None,
            updelay: None,
            downdelay: None,
            use_carrier: None,
            arp_interval: None,
            arp_ip_target: Vec::new(),
            ns_ip6_target: Vec::new(),
            missed_max: None,
            arp_validate: None,
            primary: None,
            primary_reselect: None,
            fail_over_mac: None,
            xmit_hash_policy: None,
            lacp_rate: None,
            lacp_active: None,
            ad_select: None,
            min_links: None,
            all_slaves_active: None,
            tlb_dynamic_lb: None,
            num_grat_arp: None,
        }
    }
}
