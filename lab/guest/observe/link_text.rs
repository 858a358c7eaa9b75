//! What `ip -s -s -d link` shows of a link, by its words.

use netlink_packet_core::{Nla, NlaBuffer, NlasIterator};
use netlink_packet_route::link::{
    InfoBondPort, InfoData, InfoPortData, InfoVlan, LinkAttribute, LinkInfo, LinkMessage, State,
};

use crate::device::bond;
use crate::observe::{link_options, link_reports, states};
use bondlab_core::net::address::Mac;
use bondlab_core::net::bond_option::{MODE, PORT_OPTIONS};
use bondlab_core::net::link_show::{self, LACP_STATES};
use bondlab_core::net::name::DeviceRef;
use bondlab_core::net::option::{OptionRow, Wire};

const NONE: &str = "none";

/// Keep in sync with include/uapi/linux/if_link.h.
const IFLA_BOND_AD_INFO: u16 = 23;

const SLAVE_STATES: &[(u32, &str)] = &[(0, "ACTIVE"), (1, "BACKUP")];
const MII_STATES: &[(u32, &str)] = &[(0, "UP"), (1, "GOING_DOWN"), (2, "DOWN"), (3, "GOING_BACK")];

/// States of a port by word and number (`IFLA_BOND_SLAVE_*`).
const PORT_STATES: [(&str, u16, Wire); 5] = [
    ("slave_state", 1, Wire::Word8(SLAVE_STATES)),
    ("slave_mii_status", 2, Wire::Word8(MII_STATES)),
    ("link_failure_count", 3, Wire::U32),
    ("perm_hwaddr", 4, Wire::Mac),
    ("ad_aggregator_id", 6, Wire::U16),
];
/// Those whose bits have words.
const PORT_BITS: [(&str, u16); 2] = [("ad_actor_oper_port_state", 7), ("ad_partner_oper_port_state", 8)];
/// The same of the active aggregator (`IFLA_BOND_AD_INFO_*`).
const AD_INFO: [(&str, u16, Wire); 5] = [
    ("ad_aggregator", 1, Wire::U16),
    ("ad_num_ports", 2, Wire::U16),
    ("ad_actor_key", 3, Wire::U16),
    ("ad_partner_key", 4, Wire::U16),
    ("ad_partner_mac", 5, Wire::Mac),
];

/// What is shown of a device by a word; none where there is no such device, or it does not show that.
pub fn text(links: &[LinkMessage], device: &DeviceRef, what: &str) -> Option<String> {
    let link = links.iter().find(|link| states::name_of(link).as_ref() == Some(&device.name))?;
    let name_of = |index: u32| {
        let found = links.iter().find(|link| link.header.index == index).and_then(states::name_of);
        found.map_or_else(|| format!("device {index}"), |name| name.to_string())
    };
    let of_bond = link_show::options().find(|row| row.key == what);
    if let Some(text) = of_bond.and_then(|row| option(link, row, &name_of)) {
        return Some(text);
    }
    if let Some((_, number, wire)) = PORT_STATES.iter().find(|(word, ..)| *word == what) {
        return Some(bond::shown(*wire, &port_value(link, *number)?, name_of));
    }
    if let Some((_, number)) = PORT_BITS.iter().find(|(word, _)| *word == what) {
        // The partner's has two bytes; only the first has meaning.
        let bits = port_value(link, *number)?;
        let bits =
            if bits.len() == 2 { u16::from_ne_bytes([bits[0], bits[1]]) } else { (*bits.first()?).into() };
        let words = LACP_STATES.iter().enumerate().filter(|(bit, _)| bits & 1 << bit != 0);
        return Some(words.map(|(_, word)| *word).collect::<Vec<_>>().join(","));
    }
    if let Some((_, number, wire)) = AD_INFO.iter().find(|(word, ..)| *word == what) {
        return ad_info(link, *number).map(|bytes| bond::shown(*wire, &bytes, name_of));
    }
    match what {
        "flags" => Some(link_reports::flag_words(link.header.flags).join(",")),
        // These are not there when there is none.
        "controller" => Some(
            number(link, |it| match it {
                LinkAttribute::Controller(index) => Some(*index),
                _ => None,
            })
            .map_or_else(|| NONE.into(), name_of),
        ),
        "link" => Some(lower(link).map_or_else(|| NONE.into(), name_of)),
        _ => plain(link, what)
            .or_else(|| kind_text(link, what))
            .or_else(|| link_options::option(link, what))
            .or_else(|| link_options::state(link, what)),
    }
}

fn option(link: &LinkMessage, row: &OptionRow, name_of: &impl Fn(u32) -> String) -> Option<String> {
    let is_port = PORT_OPTIONS.iter().any(|port| port.key == row.key);
    let bytes =
        if is_port { port_value(link, row.number) } else { value_of(bond::bond_data(link), row.number) };
    match bytes {
        Some(bytes) => Some(bond::shown(row.wire, &bytes, name_of)),
        // A bond without a primary or an active port sends none.
        None if row.wire == Wire::Port && value_of(bond::bond_data(link), MODE.number).is_some() => {
            Some(NONE.into())
        }
        None => None,
    }
}

fn value_of(attributes: &[impl Nla], number: u16) -> Option<Vec<u8>> {
    let found = attributes.iter().find(|attribute| attribute.kind() == number)?;
    let mut bytes = vec![0; found.value_len()];
    found.emit_value(&mut bytes);
    Some(bytes)
}

fn port_value(link: &LinkMessage, number: u16) -> Option<Vec<u8>> {
    let port: &[InfoBondPort] = bond::port_data(link);
    value_of(port, number)
}

fn ad_info(link: &LinkMessage, number: u16) -> Option<Vec<u8>> {
    let nested = value_of(bond::bond_data(link), IFLA_BOND_AD_INFO)?;
    let all = NlasIterator::new(nested.as_slice()).filter_map(Result::ok);
    all.into_iter().find(|item: &NlaBuffer<&[u8]>| item.kind() == number).map(|item| item.value().to_vec())
}

fn lower(link: &LinkMessage) -> Option<u32> {
    let is_elsewhere = link.attributes.iter().any(|it| matches!(it, LinkAttribute::LinkNetNsId(_)));
    let index = number(link, |it| match it {
        LinkAttribute::Link(index) => Some(*index),
        _ => None,
    });
    index.filter(|index| !is_elsewhere && *index != link.header.index)
}

fn number(link: &LinkMessage, read: impl Fn(&LinkAttribute) -> Option<u32>) -> Option<u32> {
    link.attributes.iter().find_map(read).filter(|index| *index != 0)
}

/// What every link may have.
fn plain(link: &LinkMessage, what: &str) -> Option<String> {
    let mac = |bytes: &[u8]| <[u8; 6]>::try_from(bytes).ok().map(|bytes| Mac(bytes).to_string());
    let read = |attribute: &LinkAttribute| match (what, attribute) {
        ("operstate", LinkAttribute::OperState(state)) => Some(state_word(*state)),
        ("address", LinkAttribute::Address(bytes)) | ("permaddr", LinkAttribute::PermAddress(bytes)) => {
            mac(bytes)
        }
        ("qdisc", LinkAttribute::Qdisc(kind)) => Some(kind.clone()),
        ("mtu", LinkAttribute::Mtu(it))
        | ("min_mtu", LinkAttribute::MinMtu(it))
        | ("max_mtu", LinkAttribute::MaxMtu(it))
        | ("txqueuelen", LinkAttribute::TxQueueLen(it))
        | ("promiscuity", LinkAttribute::Promiscuity(it))
        | ("allmulti", LinkAttribute::AllMulticast(it))
        | ("num_tx_queues", LinkAttribute::NumTxQueues(it))
        | ("num_rx_queues", LinkAttribute::NumRxQueues(it))
        | ("carrier_changes", LinkAttribute::CarrierChanges(it))
        | ("carrier_up_count", LinkAttribute::CarrierUpCount(it))
        | ("carrier_down_count", LinkAttribute::CarrierDownCount(it)) => Some(it.to_string()),
        _ => None,
    };
    link.attributes.iter().find_map(read)
}

fn state_word(state: State) -> String {
    state.to_string()
}

/// What only some kinds have.
fn kind_text(link: &LinkMessage, what: &str) -> Option<String> {
    let infos = link.attributes.iter().filter_map(|attribute| match attribute {
        LinkAttribute::LinkInfo(infos) => Some(infos),
        _ => None,
    });
    infos.flatten().find_map(|info| match (what, info) {
        ("kind", LinkInfo::Kind(kind)) => Some(kind.to_string()),
        ("vlan_id" | "vlan_protocol", LinkInfo::Data(InfoData::Vlan(data))) => {
            data.iter().find_map(|attribute| match (what, attribute) {
                ("vlan_id", InfoVlan::Id(id)) => Some(id.to_string()),
                ("vlan_protocol", InfoVlan::Protocol(protocol)) => Some(protocol.to_string().to_lowercase()),
                _ => None,
            })
        }
        // What is shown of a port stands in another attribute.
        (_, LinkInfo::PortData(InfoPortData::BondPort(_))) | (_, _) => None,
    })
}

#[cfg(test)]
mod tests {
    use netlink_packet_core::DefaultNla;
    use netlink_packet_route::link::{InfoBond, InfoKind, LinkFlags, VlanProtocol};

    use super::*;

    fn link(index: u32, name: &str, attributes: Vec<LinkAttribute>) -> LinkMessage {
        let mut link = LinkMessage::default();
        link.header.index = index;
        link.attributes = attributes;
        link.attributes.push(LinkAttribute::IfName(name.into()));
        link
    }

    fn links() -> Vec<LinkMessage> {
        let raw = |number: u16, bytes: &[u8]| DefaultNla::new(number, bytes.to_vec());
        let port = [
            raw(1, &[1]),
            raw(2, &[2]),
            raw(3, &7_u32.to_ne_bytes()),
            raw(4, &[2, 0, 0, 0, 0, 9]),
            raw(6, &3_u16.to_ne_bytes()),
            raw(7, &[0b0000_0101]),
            raw(8, &0b0011_1101_u16.to_ne_bytes()),
            raw(9, &(-5_i32).to_ne_bytes()),
        ];
        let port = port.into_iter().map(InfoBondPort::Other).collect();
        let ad = [(1_u16, 4_u16), (2, 2), (3, 15), (4, 17)].iter().flat_map(|(number, value)| {
            [6_u16.to_ne_bytes(), number.to_ne_bytes(), value.to_ne_bytes(), [0; 2]].concat()
        });
        let ad = raw(IFLA_BOND_AD_INFO, &ad.collect::<Vec<u8>>());
        let bond = vec![
            InfoBond::Other(raw(1, &[4])),
            InfoBond::Other(raw(3, &100_u32.to_ne_bytes())),
            InfoBond::Other(raw(11, &3_u32.to_ne_bytes())),
            InfoBond::Other(ad),
        ];
        let vlan = vec![InfoVlan::Id(70), InfoVlan::Protocol(VlanProtocol::Ieee8021Ad)];
        let mut port = link(
            3,
            "p0",
            vec![
                LinkAttribute::Controller(2),
                LinkAttribute::OperState(State::Up),
                LinkAttribute::Mtu(1500),
                LinkAttribute::CarrierDownCount(6),
                LinkAttribute::LinkInfo(vec![LinkInfo::PortData(InfoPortData::BondPort(port))]),
            ],
        );
        port.header.flags = LinkFlags::Up | LinkFlags::Port;
        vec![
            link(
                2,
                "bond0",
                vec![LinkAttribute::LinkInfo(vec![
                    LinkInfo::Kind(InfoKind::Bond),
                    LinkInfo::Data(InfoData::Bond(bond)),
                ])],
            ),
            port,
            link(
                4,
                "v",
                vec![
                    LinkAttribute::Link(2),
                    LinkAttribute::LinkInfo(vec![LinkInfo::Data(InfoData::Vlan(vlan))]),
                ],
            ),
        ]
    }

    #[rstest::rstest]
    #[case("bond0", "miimon", Some("100"))]
    #[case("bond0", "mode", Some("802.3ad"))]
    #[case("bond0", "primary", Some("p0"))]
    #[case("bond0", "active_slave", Some("none"))]
    #[case("bond0", "lacp_rate", None)]
    #[case("bond0", "ad_partner_key", Some("17"))]
    #[case("bond0", "ad_num_ports", Some("2"))]
    #[case("bond0", "kind", Some("bond"))]
    #[case("bond0", "controller", Some("none"))]
    #[case("p0", "controller", Some("bond0"))]
    #[case("p0", "operstate", Some("UP"))]
    #[case("p0", "mtu", Some("1500"))]
    #[case("p0", "carrier_down_count", Some("6"))]
    #[case("p0", "flags", Some("UP,SLAVE"))]
    #[case("p0", "slave_state", Some("BACKUP"))]
    #[case("p0", "slave_mii_status", Some("DOWN"))]
    #[case("p0", "link_failure_count", Some("7"))]
    #[case("p0", "perm_hwaddr", Some("02:00:00:00:00:09"))]
    #[case("p0", "ad_aggregator_id", Some("3"))]
    #[case("p0", "ad_actor_oper_port_state", Some("activity,aggregation"))]
    #[case(
        "p0",
        "ad_partner_oper_port_state",
        Some("activity,aggregation,synchronization,collecting,distributing")
    )]
    #[case("p0", "prio", Some("-5"))]
    #[case("p0", "miimon", None)]
    #[case("p0", "primary", None)]
    #[case("v", "vlan_id", Some("70"))]
    #[case("v", "vlan_protocol", Some("802.1ad"))]
    #[case("v", "link", Some("bond0"))]
    #[case("v", "arp", Some("true"))]
    #[case("gone", "mtu", None)]
    fn a_link_is_shown_by_its_words(#[case] name: &str, #[case] what: &str, #[case] expected: Option<&str>) {
        let device = format!("node:{name}").parse().unwrap();
        assert_eq!(text(&links(), &device, what).as_deref(), expected);
    }
}
