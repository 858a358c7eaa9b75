//! What `ip -s -s -d link` shows of a link, by the words that it has for it: keys of `show` in conditions.
//!
//! Options are rows of `bond_option` and `link_option`; here are the states beside them. Bits are shown as words with commas
//! between them.

use std::collections::BTreeSet;

use crate::net::bond_option::{BOND_OPTIONS, MODE, PORT_OPTIONS};
use crate::net::link_option;
use crate::net::option::{OptionRow, Wire};

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
    "promiscuity": "number of requests for promiscuous mode";
    "allmulti": "number of requests to accept all multicast; kernels before 6.2 do not show it";
    "num_tx_queues": "transmit queues";
    "num_rx_queues": "receive queues";
    "carrier_changes": "number of times its carrier was gained or lost";
    "carrier_up_count": "number of times it was gained";
    "carrier_down_count": "number of times it was lost";
    "parentdev": "the device of its bus, as `0000:00:03.0`; kernels before 5.14 do not show it";
    "parentbus": "that bus, as `pci`";
    "tso_max_size": "the largest TSO packet that its driver takes, in bytes (Linux 5.19)";
    "tso_max_segs": "maximum number of segments of such a packet";
    "max_pacing_offload_horizon": "how far ahead it can pace packets itself, in ns (Linux 6.13)";
    "netns_immutable": "1 if it cannot be moved to another namespace (Linux 6.15)";
    "headroom": "bytes that it needs before a packet (Linux 7.0)";
    "tailroom": "bytes that it needs behind a packet";
    "rx_otherhost_dropped": "packets of other hosts that IP dropped, since the device was made (Linux 5.19)";
    "macvlan_mode": "of a macvlan: private, vepa, bridge, passthru or source";
    "usedbcqueuelen": "of a macvlan: length of the queue that its parent has (Linux 5.11)";
    "ipvlan_mode": "of an ipvlan: l2, l3 or l3s";
    "ipvlan_flag": "of an ipvlan: bridge, private or vepa";
    "vlan_protocol": "of a VLAN: 802.1q or 802.1ad; of a bridge 802.1Q or 802.1ad";
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

/// Of a bridge, beside its options.
pub static BRIDGE_PROPERTIES: &[Property] = properties! {
    "vlan_filtering": "whether it filters by VLAN: true or false";
    "bridge_id": "its priority and address, as `8000.02:00:5e:00:53:01`";
    "root_id": "those of the root of the spanning tree";
    "root_port": "number of the port towards the root; 0 is none";
    "root_path_cost": "cost of the path to the root";
    "topology_change": "whether the topology is changing: true or false";
    "topology_change_detected": "whether it has detected that: true or false";
    "fdb_n_learned": "number of learned addresses (Linux 6.7)";
};

/// Of a port of a bridge, beside its options.
pub static BRIDGE_PORT_PROPERTIES: &[Property] = properties! {
    "state": "disabled, listening, learning, forwarding or blocking";
    "port_id": "its priority and number, as `0x8001`";
    "port_no": "its number, as `0x1`";
    "designated_root": "priority and address of the root, as `8000.02:00:5e:00:53:01`";
    "designated_bridge": "those of the designated bridge of its segment";
    "designated_port": "that bridge's port there, as a number";
    "designated_cost": "cost of the path to the root from there";
    "topology_change_ack": "whether a change of topology is acknowledged: true or false";
    "config_pending": "whether a BPDU is to be sent: true or false";
    "mcast_n_groups": "number of its multicast groups (Linux 6.3)";
    "mcast_eht_hosts_cnt": "number of hosts whose memberships are tracked (Linux 5.12)";
};

/// `BR_STATE_*`, include/uapi/linux/if_bridge.h.
pub const BRIDGE_PORT_STATES: &[(u32, &str)] =
    &[(0, "disabled"), (1, "listening"), (2, "learning"), (3, "forwarding"), (4, "blocking")];

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

/// Options of other links that `ip link` shows: what is set by other means than its messages is not there.
pub fn link_options() -> impl Iterator<Item = &'static OptionRow> {
    let all = link_option::tables().into_iter().flat_map(|(_, rows)| rows);
    all.filter(|row| !matches!(row.wire, Wire::SysFile(_) | Wire::Speed))
}

/// All tables of states, each with what it is of.
pub fn properties() -> [(&'static str, &'static [Property]); 5] {
    [
        ("every link", LINK_PROPERTIES),
        ("a bond", BOND_PROPERTIES),
        ("a port of a bond", PORT_PROPERTIES),
        ("a bridge", BRIDGE_PROPERTIES),
        ("a port of a bridge", BRIDGE_PORT_PROPERTIES),
    ]
}

/// All words of `show`. An option that several kinds of links have is one word.
pub fn keys() -> BTreeSet<&'static str> {
    let properties = properties().into_iter().flat_map(|(_, all)| all).map(|property| property.key);
    properties.chain(options().chain(link_options()).map(|row| row.key)).collect()
}

/// All that an option can show, where it is a word or a flag and means the same for each kind of link.
pub fn option_words(key: &str) -> Option<Vec<&'static str>> {
    // A state of the same word has words of its own.
    if properties().iter().any(|(_, all)| all.iter().any(|property| property.key == key)) {
        return None;
    }
    let mut rows = options().chain(link_options()).filter(|row| row.key == key).map(|row| words_of(row.wire));
    let first = rows.next()??;
    rows.all(|words| words.as_ref() == Some(&first)).then_some(first)
}

fn words_of(wire: Wire) -> Option<Vec<&'static str>> {
    match wire {
        Wire::Word8(words) | Wire::Word16(words) | Wire::Word16Be(words) | Wire::Word32(words) => {
            Some(words.iter().map(|(_, word)| *word).collect())
        }
        Wire::Flag
        | Wire::Flag32
        | Wire::VlanFlag(_)
        | Wire::Bit16(_)
        | Wire::BoolOption(_)
        | Wire::GreFlag(_)
        | Wire::Present
        | Wire::Interface { .. } => Some(vec!["true", "false"]),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_state_has_a_word_that_no_other_state_or_option_has() {
        let mut seen: BTreeSet<&str> = options().chain(link_options()).map(|row| row.key).collect();
        for (of, all) in properties() {
            for property in all {
                // Of a VLAN it is a state, of a bridge an option.
                let is_both = property.key == "vlan_protocol";
                assert!(seen.insert(property.key) || is_both, "{} of {of}", property.key);
            }
        }
    }

    #[test]
    fn words_of_an_option_are_known_where_all_kinds_of_links_agree() {
        assert_eq!(option_words("reorder_hdr"), Some(vec!["true", "false"]));
        assert_eq!(option_words("stp_mode"), Some(vec!["auto", "user", "kernel"]));
        assert_eq!(option_words("ageing_time"), None, "it is a number");
        assert_eq!(option_words("external"), Some(vec!["true", "false"]));
    }
}
