//! The options of a bond and of its ports: one row for each, from which the file's tables, the checks, the message to
//! the kernel and the comparison with what it answers are made.
//!
//! Ranges and modes are those of `bond_opts` in drivers/net/bonding/bond_options.c, defaults those of `bond_params` and
//! `bond_check_params()` in bond_main.c. The kernel refuses an option in another mode (`bond_opt_check_deps()`, EACCES).

use serde::{Deserialize, Serialize};
use std::net::{Ipv4Addr, Ipv6Addr};

use crate::net::address::Mac;
use crate::net::mode::{
    AdSelect, ArpAllTargets, ArpValidate, BondMode, FailOverMac, LacpRate, PrimaryReselect, XmitHashPolicy,
};
use crate::net::name::IfName;
use crate::net::option::{OptionRow, OptionType, Value};

/// Modes with one active port, or with flows assigned to ports.
const ACTIVE_PORT: &[BondMode] = &[BondMode::ActiveBackup, BondMode::BalanceTlb, BondMode::BalanceAlb];
/// Modes that know the ARP monitor.
const ARP: &[BondMode] =
    &[BondMode::BalanceRr, BondMode::ActiveBackup, BondMode::BalanceXor, BondMode::Broadcast];
const LACP: &[BondMode] = &[BondMode::Ieee8023Ad];
const ROUND_ROBIN: &[BondMode] = &[BondMode::BalanceRr];
const LOAD_BALANCE: &[BondMode] = &[BondMode::BalanceTlb, BondMode::BalanceAlb];
const ALL: &[BondMode] = &[];

/// The largest value of an option that the kernel keeps as a signed number (INT_MAX).
const INT_MAX: i64 = i32::MAX as i64;

/// Passes all options of a bond but its mode to a macro.
macro_rules! with_bond_options {
    ($use:ident) => { $use! {
        /// Interval of link monitoring, in ms; 0 is none.
        miimon: u32 = 3 IFLA_BOND_MIIMON, Some((0, INT_MAX)), ALL, "0, or 100 in 802.3ad, balance-tlb and balance-alb";
        /// Delay before a port whose link is up again is used, in ms; needs miimon, and is rounded to a multiple of it.
        updelay: u32 = 4 IFLA_BOND_UPDELAY, Some((0, INT_MAX)), ALL, "0";
        /// Delay before a port that lost its link is disabled, in ms; needs miimon, and is rounded to a multiple of it.
        downdelay: u32 = 5 IFLA_BOND_DOWNDELAY, Some((0, INT_MAX)), ALL, "0";
        /// Whether carrier is read from the device; refused as `false` from 6.18.
        use_carrier: bool = 6 IFLA_BOND_USE_CARRIER, None, ALL, "true";
        /// Interval of ARP monitoring, in ms; 0 is none.
        arp_interval: u32 = 7 IFLA_BOND_ARP_INTERVAL, Some((0, INT_MAX)), ARP, "0";
        /// Targets of ARP monitoring, 16 at the most.
        arp_ip_target: Vec<Ipv4Addr> = 8 IFLA_BOND_ARP_IP_TARGET, None, ALL, "none";
        /// Targets of the same monitor's neighbour solicitations, 16 at the most (Linux 5.18).
        ns_ip6_target: Vec<Ipv6Addr> = 31 IFLA_BOND_NS_IP6_TARGET, None, ARP, "none";
        /// Intervals of that monitor without an answer, after which a port is treated as down (Linux 5.17).
        arp_missed_max: u8 = 30 IFLA_BOND_MISSED_MAX, Some((1, 255)), ARP, "2";
        /// Which ARP traffic counts.
        arp_validate: ArpValidate = 9 IFLA_BOND_ARP_VALIDATE, None, ARP, "none";
        /// Whether a backup port is up if one target answers, or only if all do; with arp_validate.
        arp_all_targets: ArpAllTargets = 10 IFLA_BOND_ARP_ALL_TARGETS, None, ALL, "any";
        /// The preferred port.
        primary: IfName = 11 IFLA_BOND_PRIMARY, None, ACTIVE_PORT, "none";
        /// When the preferred port becomes active again.
        primary_reselect: PrimaryReselect = 12 IFLA_BOND_PRIMARY_RESELECT, None, ALL, "always";
        /// The active port. It is set when all ports have been added: the kernel refuses one whose link is down.
        active_slave: IfName = 2 IFLA_BOND_ACTIVE_SLAVE, None, ACTIVE_PORT, "the kernel's choice";
        /// Which Ethernet address an active-backup bond and its ports have.
        fail_over_mac: FailOverMac = 13 IFLA_BOND_FAIL_OVER_MAC, None, ALL, "none";
        /// How the port for a frame is selected.
        xmit_hash_policy: XmitHashPolicy = 14 IFLA_BOND_XMIT_HASH_POLICY, None, ALL, "layer2";
        /// IGMP membership reports after a failover.
        resend_igmp: u32 = 15 IFLA_BOND_RESEND_IGMP, Some((0, 255)), ALL, "1";
        /// How often the partner is requested to send LACPDUs: every 30 s, or every second.
        lacp_rate: LacpRate = 21 IFLA_BOND_AD_LACP_RATE, None, LACP, "slow";
        /// Whether LACPDUs are sent before the partner has sent one (Linux 5.15).
        lacp_active: bool = 29 IFLA_BOND_AD_LACP_ACTIVE, None, LACP, "true";
        /// Whether a port without a partner must not carry frames.
        lacp_strict: bool = 34 IFLA_BOND_LACP_STRICT, None, LACP, "false";
        /// How the active aggregator is selected.
        ad_select: AdSelect = 22 IFLA_BOND_AD_SELECT, None, ALL, "stable";
        /// Priority of the system in LACPDUs; the lower value has priority.
        ad_actor_sys_prio: u16 = 24 IFLA_BOND_AD_ACTOR_SYS_PRIO, Some((1, 65535)), LACP, "65535";
        /// Address of the system in LACPDUs; 00:00:00:00:00:00 is the bond's own.
        ad_actor_system: Mac = 26 IFLA_BOND_AD_ACTOR_SYSTEM, None, LACP, "00:00:00:00:00:00";
        /// The upper ten bits of a port's key in LACPDUs.
        ad_user_port_key: u16 = 25 IFLA_BOND_AD_USER_PORT_KEY, Some((0, 1023)), LACP, "0";
        /// Whether collecting and distributing is one state of the mux machine.
        coupled_control: bool = 32 IFLA_BOND_COUPLED_CONTROL, None, LACP, "true";
        /// Whether ARP and neighbour discovery frames are sent through all ports.
        broadcast_neighbor: bool = 33 IFLA_BOND_BROADCAST_NEIGH, None, LACP, "false";
        /// Minimum number of ports for carrier.
        min_links: u32 = 18 IFLA_BOND_MIN_LINKS, Some((0, INT_MAX)), ALL, "0";
        /// Whether frames on inactive ports are accepted.
        all_slaves_active: bool = 17 IFLA_BOND_ALL_SLAVES_ACTIVE, None, ALL, "false";
        /// Whether balance-tlb moves flows by load.
        tlb_dynamic_lb: bool = 27 IFLA_BOND_TLB_DYNAMIC_LB, None, LOAD_BALANCE, "true";
        /// Interval of learning frames to the switches, in s.
        lp_interval: u32 = 19 IFLA_BOND_LP_INTERVAL, Some((1, INT_MAX)), ALL, "1";
        /// Frames sent through a port before the next port is used; 0 selects ports at random.
        packets_per_slave: u32 = 20 IFLA_BOND_PACKETS_PER_SLAVE, Some((0, 65535)), ROUND_ROBIN, "1";
        /// Gratuitous ARPs and unsolicited neighbour advertisements after a failover.
        num_grat_arp: u8 = 16 IFLA_BOND_NUM_PEER_NOTIF, None, ALL, "1";
        /// Delay between those, in ms; needs miimon, and is rounded to a multiple of it.
        peer_notif_delay: u32 = 28 IFLA_BOND_PEER_NOTIF_DELAY, Some((0, 300_000)), ALL, "0";
    } };
}

/// Passes all options of a port to a macro.
macro_rules! with_port_options {
    ($use:ident) => {
        $use! {
            /// The transmit queue of the bond whose frames this port sends; 0 is none.
            queue_id: u16 = 5 IFLA_BOND_SLAVE_QUEUE_ID, None, ALL, "0";
            /// Which port becomes active when several could: the highest.
            prio: i32 = 9 IFLA_BOND_SLAVE_PRIO, None, ACTIVE_PORT, "0";
            /// Priority of the port in LACPDUs.
            actor_port_prio: u16 = 10 IFLA_BOND_SLAVE_ACTOR_PORT_PRIO, None, LACP, "255";
        }
    };
}

pub(crate) use with_bond_options;
pub(crate) use with_port_options;

/// `IFLA_BOND_MODE`, which a file has to give.
pub static MODE: OptionRow = OptionRow {
    key: "mode",
    attribute: "IFLA_BOND_MODE",
    number: 1,
    wire: BondMode::WIRE,
    range: None,
    modes: ALL,
    default: "must be given",
    about: &["What the bond does with its ports. It can be changed while the bond has none and is down."],
};

/// Attributes of the header that are no options: the kernel's to say.
pub const BOND_STATES: &[&str] = &["IFLA_BOND_AD_INFO"];

/// The same of ports.
pub const PORT_STATES: &[&str] = &[
    "IFLA_BOND_SLAVE_STATE",
    "IFLA_BOND_SLAVE_MII_STATUS",
    "IFLA_BOND_SLAVE_LINK_FAILURE_COUNT",
    "IFLA_BOND_SLAVE_PERM_HWADDR",
    "IFLA_BOND_SLAVE_AD_AGGREGATOR_ID",
    "IFLA_BOND_SLAVE_AD_ACTOR_OPER_PORT_STATE",
    "IFLA_BOND_SLAVE_AD_PARTNER_OPER_PORT_STATE",
    "IFLA_BOND_SLAVE_AD_CHURN_ACTOR_STATE",
    "IFLA_BOND_SLAVE_AD_CHURN_PARTNER_STATE",
];

/// Old and other spellings of options, and the word of `ip link`.
pub const OTHER_SPELLINGS: &[(&str, &str)] = &[
    ("missed_max", "arp_missed_max"),
    ("num_unsol_na", "num_grat_arp"),
    ("num_peer_notif", "num_grat_arp"),
    ("broadcast_neigh", "broadcast_neighbor"),
    ("all_ports_active", "all_slaves_active"),
    ("packets_per_port", "packets_per_slave"),
    ("active_port", "active_slave"),
    ("ad_lacp_rate", "lacp_rate"),
    ("ad_lacp_active", "lacp_active"),
];

macro_rules! option_struct {
    ($(#[$doc:meta])* $name:ident $table:ident;
     $($(#[doc = $about:literal])+ $key:ident: $type:ty = $number:literal $attribute:ident, $range:expr, $modes:expr, $default:literal;)+) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct $name {
            $($(#[doc = $about])+ #[serde(skip_serializing_if = "Option::is_none")] pub $key: Option<$type>,)+
        }

        /// The rows, in the order of the reports.
        pub static $table: &[OptionRow] = &[$(OptionRow {
            key: stringify!($key),
            attribute: stringify!($attribute),
            number: $number,
            wire: <$type>::WIRE,
            range: $range,
            modes: $modes,
            default: $default,
            about: &[$($about),+],
        }),+];

        impl $name {
            /// What is asked for, in the order of the rows.
            pub fn values(&self) -> Vec<(&'static OptionRow, Value)> {
                let all = [$(self.$key.as_ref().map(OptionType::value)),+];
                $table.iter().zip(all).filter_map(|(row, value)| Some((row, value?))).collect()
            }

            /// Whether nothing is asked for.
            pub fn is_empty(&self) -> bool {
                *self == Self::default()
            }
        }
    };
}

macro_rules! bond_options {
    ($($rows:tt)+) => {
        option_struct! {
            /// Options of a bond; `None` leaves the kernel's choice.
            BondOptions BOND_OPTIONS; $($rows)+
        }
    };
}

macro_rules! port_options {
    ($($rows:tt)+) => {
        option_struct! {
            /// Options of a bond's port; `None` leaves the kernel's choice.
            PortOptions PORT_OPTIONS; $($rows)+
        }
    };
}

with_bond_options!(bond_options);
with_port_options!(port_options);

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_attribute_has_one_row() {
        for rows in [BOND_OPTIONS, PORT_OPTIONS] {
            let numbers: BTreeSet<u16> = rows.iter().map(|row| row.number).collect();
            assert_eq!(numbers.len(), rows.len());
        }
    }

    #[test]
    fn another_spelling_is_of_a_row() {
        for (other, key) in OTHER_SPELLINGS {
            assert!(BOND_OPTIONS.iter().any(|row| row.key == *key), "{key}");
            assert!(BOND_OPTIONS.iter().all(|row| row.key != *other), "{other}");
        }
    }
}
