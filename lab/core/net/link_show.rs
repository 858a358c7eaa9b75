//! What `ip -s -s -d link` shows of a link, by the words that it has for it: keys of `show` in conditions.
//!
//! Options of bonds and ports are rows of `bond_option`; here are the states beside them. Bits are shown as words with commas
//! between them.

use crate::net::bond_option::{BOND_OPTIONS, MODE, PORT_OPTIONS};
use crate::net::option::OptionRow;

/// Something that is shown of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Property {
    /// Its word.
    pub key: &'static str,
    /// What it is, with its unit.
    pub about: &'static str,
}

macro_rules! properties {
    ($($key:literal: $about:literal;)+) => { &[$(Property { key: $key, about: $about }),+] };
}

/// Of every link.
pub static LINK_PROPERTIES: &[Property] = properties! {
    "kind": "its kind (`IFLA_INFO_KIND`); none for devices of hardware drivers";
    "flags": "UP, LOWER_UP, PROMISC, ... as `ip link` prints them, with commas";
    "operstate": "UP, DOWN, LOWERLAYERDOWN, ... (RFC 2863)";
    "mtu": "its MTU, in bytes";
    "min_mtu": "the smallest MTU that it accepts, in bytes";
    "max_mtu": "the largest MTU that it accepts, in bytes; 0 is no limit";
    "address": "its link-layer address";
    "permaddr": "its permanent address, if the driver has one";
    "controller": "the bond or bridge that it is a port of (`master` of `ip link`), or `none`";
    "link": "the device below it, if that is in the same namespace, or `none`";
    "txqueuelen": "length of its queue (`qlen`), in packets";
    "qdisc": "kind of its root queueing discipline";
    "group": "its group, as a number";
    "promiscuity": "number of requests for promiscuous mode";
    "allmulti": "number of requests to accept all multicast; kernels before 6.2 do not show it";
    "num_tx_queues": "transmit queues";
    "num_rx_queues": "receive queues";
    "gso_max_size": "the largest GSO packet, in bytes";
    "gso_max_segs": "maximum number of segments of a GSO packet";
    "carrier_changes": "number of times its carrier was gained or lost";
    "carrier_up_count": "number of times it was gained";
    "carrier_down_count": "number of times it was lost";
    "proto_down": "0 or 1";
    "vlan_protocol": "of a VLAN: 802.1q or 802.1ad";
    "vlan_id": "of a VLAN";
};

/// Of a bond, beside its options; those of `IFLA_BOND_AD_INFO` in mode 802.3ad only.
pub static BOND_PROPERTIES: &[Property] = properties! {
    "ad_aggregator": "number of the active aggregator";
    "ad_num_ports": "number of its ports";
    "ad_actor_key": "key of this side";
    "ad_partner_key": "key of the partner";
    "ad_partner_mac": "system address of the partner";
};

/// Of a bond's port, beside its options; what begins with `ad_` in mode 802.3ad only.
pub static PORT_PROPERTIES: &[Property] = properties! {
    "slave_state": "ACTIVE or BACKUP";
    "slave_mii_status": "UP, GOING_DOWN, DOWN or GOING_BACK";
    "link_failure_count": "number of link failures";
    "perm_hwaddr": "the address it had before it became a port";
    "ad_aggregator_id": "number of its aggregator";
    "ad_actor_oper_port_state": "bits of LACP: activity, timeout, aggregation, synchronization, collecting, distributing, defaulted, expired";
    "ad_partner_oper_port_state": "the same bits of the partner";
};

/// `IFLA_OPERSTATE`, as `ip link` prints it.
pub const OPERSTATES: [&str; 7] =
    ["UNKNOWN", "NOTPRESENT", "DOWN", "LOWERLAYERDOWN", "TESTING", "DORMANT", "UP"];

/// Bits of a port's LACP state, in their order (LACP_STATE_LACP_ACTIVITY and on, net/bond_3ad.h).
pub const LACP_STATES: [&str; 8] = [
    "activity",
    "timeout",
    "aggregation",
    "synchronization",
    "collecting",
    "distributing",
    "defaulted",
    "expired",
];

/// All options that a bond or port shows.
pub fn options() -> impl Iterator<Item = &'static OptionRow> {
    [&MODE].into_iter().chain(BOND_OPTIONS).chain(PORT_OPTIONS)
}

/// All words of `show`.
pub fn keys() -> impl Iterator<Item = &'static str> {
    let properties = LINK_PROPERTIES.iter().chain(BOND_PROPERTIES).chain(PORT_PROPERTIES);
    properties.map(|property| property.key).chain(options().map(|row| row.key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_word_means_one_thing() {
        let mut all: Vec<&str> = keys().collect();
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count);
    }
}
