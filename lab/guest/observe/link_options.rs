//! Options of links other than bonds, and states of bridges and their ports, as `ip -d link` shows them.

use netlink_packet_core::Nla;
use netlink_packet_route::link::{InfoPortData, LinkAttribute, LinkInfo, LinkMessage};

use crate::device::option::{self, Attributes};
use bondlab_core::net::link_option::{BRIDGE_PORT_OPTIONS, LINK_OPTIONS, rows_of};
use bondlab_core::net::link_show::BRIDGE_PORT_STATES;
use bondlab_core::net::mode::{IpvlanFlag, IpvlanMode, MacvlanMode};
use bondlab_core::net::option::{OptionRow, Value, Wire};

/// How a state is shown.
#[derive(Clone, Copy)]
enum Form {
    /// As an option that is sent in this way.
    Of(Wire),
    /// A number of whichever length.
    Number,
    /// `struct ifla_bridge_id`: priority and address.
    BridgeId,
    /// Two bytes in hexadecimal.
    Hex,
    /// A text that ends with a zero.
    Text,
}

/// Which attributes a state is in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Of {
    Link,
    Kind(&'static str),
    BridgePort,
}

/// Numbers are those of include/uapi/linux/if_link.h.
const STATES: &[(&str, Of, u16, Form)] = &[
    ("parentdev", Of::Link, 56, Form::Text),
    ("parentbus", Of::Link, 57, Form::Text),
    ("tso_max_size", Of::Link, 59, Form::Number),
    ("tso_max_segs", Of::Link, 60, Form::Number),
    ("max_pacing_offload_horizon", Of::Link, 66, Form::Number),
    ("netns_immutable", Of::Link, 67, Form::Number),
    ("headroom", Of::Link, 68, Form::Number),
    ("tailroom", Of::Link, 69, Form::Number),
    ("macvlan_mode", Of::Kind("macvlan"), 1, Form::Of(Wire::Word32(MacvlanMode::WORDS))),
    ("usedbcqueuelen", Of::Kind("macvlan"), 8, Form::Number),
    ("ipvlan_mode", Of::Kind("ipvlan"), 1, Form::Of(Wire::Word16(IpvlanMode::WORDS))),
    ("ipvlan_flag", Of::Kind("ipvlan"), 2, Form::Of(Wire::Word16(IpvlanFlag::WORDS))),
    ("vlan_filtering", Of::Kind("bridge"), 7, Form::Of(Wire::Flag)),
    ("root_id", Of::Kind("bridge"), 10, Form::BridgeId),
    ("bridge_id", Of::Kind("bridge"), 11, Form::BridgeId),
    ("root_port", Of::Kind("bridge"), 12, Form::Number),
    ("root_path_cost", Of::Kind("bridge"), 13, Form::Number),
    ("topology_change", Of::Kind("bridge"), 14, Form::Of(Wire::Flag)),
    ("topology_change_detected", Of::Kind("bridge"), 15, Form::Of(Wire::Flag)),
    ("fdb_n_learned", Of::Kind("bridge"), 48, Form::Number),
    ("state", Of::BridgePort, 1, Form::Of(Wire::Word8(BRIDGE_PORT_STATES))),
    ("designated_root", Of::BridgePort, 13, Form::BridgeId),
    ("designated_bridge", Of::BridgePort, 14, Form::BridgeId),
    ("designated_port", Of::BridgePort, 15, Form::Number),
    ("designated_cost", Of::BridgePort, 16, Form::Number),
    ("port_id", Of::BridgePort, 17, Form::Hex),
    ("port_no", Of::BridgePort, 18, Form::Hex),
    ("topology_change_ack", Of::BridgePort, 19, Form::Of(Wire::Flag)),
    ("config_pending", Of::BridgePort, 20, Form::Of(Wire::Flag)),
    ("mcast_eht_hosts_cnt", Of::BridgePort, 38, Form::Number),
    ("mcast_n_groups", Of::BridgePort, 41, Form::Number),
];

/// What is shown of an option, in this order: one of its kind, one of every link, one of a bridge's port.
pub fn option(link: &LinkMessage, key: &str) -> Option<String> {
    let row_of = |rows: &'static [OptionRow]| rows.iter().find(|row| row.key == key);
    let kind = kind(link).unwrap_or_default();
    if let Some(row) = row_of(rows_of(&kind)) {
        return shown(&kind_data(link), row);
    }
    if let Some(row) = row_of(LINK_OPTIONS) {
        if let Wire::Interface { flag, inverted } = row.wire {
            let is_set = link.header.flags.bits() & flag != 0;
            return Some((is_set != inverted).to_string());
        }
        return shown(&option::of_message(&link.attributes, LINK_OPTIONS), row);
    }
    shown(&bridge_port(link)?, row_of(BRIDGE_PORT_OPTIONS)?)
}

fn shown(got: &Attributes, row: &OptionRow) -> Option<String> {
    let found = got.iter().find(|(number, _)| *number == row.number);
    match found {
        Some((_, bytes)) => Some(option::shown(row.wire, bytes)),
        // vlan_fill_info() leaves the flags away where none is set, and a flag without content is not there.
        None if matches!(row.wire, Wire::VlanFlag(_) | Wire::Present) && !got.is_empty() => {
            Some(row.wire.shown(&Value::Number(0)))
        }
        None => None,
    }
}

/// What is shown of a state.
pub fn state(link: &LinkMessage, key: &str) -> Option<String> {
    if key == "rx_otherhost_dropped" {
        return other_hosts(link);
    }
    let (_, of, number, form) = STATES.iter().find(|(word, ..)| *word == key)?;
    let bytes = match of {
        Of::Link => value_of(&link.attributes, *number)?,
        Of::Kind(word) if kind(link).as_deref() == Some(*word) => {
            kind_data(link).into_iter().find(|(known, _)| known == number)?.1
        }
        Of::Kind(_) => return None,
        Of::BridgePort => bridge_port(link)?.into_iter().find(|(known, _)| known == number)?.1,
    };
    Some(match form {
        Form::Of(wire) => option::shown(*wire, &bytes),
        Form::Number => number_of(&bytes)?.to_string(),
        Form::Hex => format!("{:#x}", number_of(&bytes)?),
        Form::BridgeId => {
            let [a, b, address @ ..] = &bytes[..] else { return None };
            let address: Vec<String> = address.iter().map(|byte| format!("{byte:02x}")).collect();
            format!("{a:02x}{b:02x}.{}", address.join(":"))
        }
        Form::Text => String::from_utf8_lossy(&bytes).trim_end_matches('\0').to_owned(),
    })
}

/// The last field of `struct rtnl_link_stats64`, which kernels before 5.19 do not have.
fn other_hosts(link: &LinkMessage) -> Option<String> {
    const IFLA_STATS64: u16 = 23;
    const OFFSET: usize = 24 * 8;
    let stats = value_of(&link.attributes, IFLA_STATS64)?;
    let field = stats.get(OFFSET..OFFSET + 8)?;
    number_of(field).map(|number| number.to_string())
}

fn number_of(bytes: &[u8]) -> Option<u64> {
    Some(match bytes {
        [one] => u64::from(*one),
        [a, b] => u16::from_ne_bytes([*a, *b]).into(),
        [a, b, c, d] => u32::from_ne_bytes([*a, *b, *c, *d]).into(),
        _ => u64::from_ne_bytes(bytes.try_into().ok()?),
    })
}

fn infos(link: &LinkMessage) -> impl Iterator<Item = &LinkInfo> {
    let lists = link.attributes.iter().filter_map(|attribute| match attribute {
        LinkAttribute::LinkInfo(infos) => Some(infos),
        _ => None,
    });
    lists.flatten()
}

fn kind(link: &LinkMessage) -> Option<String> {
    infos(link).find_map(|info| match info {
        LinkInfo::Kind(kind) => Some(kind.to_string()),
        _ => None,
    })
}

fn kind_data(link: &LinkMessage) -> Attributes {
    let data = infos(link).find_map(|info| match info {
        LinkInfo::Data(data) => Some(option::of_bytes(&bytes_of(data))),
        _ => None,
    });
    data.unwrap_or_default()
}

fn bridge_port(link: &LinkMessage) -> Option<Attributes> {
    infos(link).find_map(|info| match info {
        LinkInfo::PortData(InfoPortData::BridgePort(port)) => {
            Some(port.iter().map(|one| (one.kind(), bytes_of(one))).collect())
        }
        _ => None,
    })
}

fn bytes_of(nla: &impl Nla) -> Vec<u8> {
    let mut bytes = vec![0; nla.value_len()];
    nla.emit_value(&mut bytes);
    bytes
}

fn value_of(attributes: &[impl Nla], number: u16) -> Option<Vec<u8>> {
    attributes.iter().find(|attribute| attribute.kind() == number).map(bytes_of)
}

#[cfg(test)]
mod tests {
    use netlink_packet_core::DefaultNla;
    use netlink_packet_route::link::{InfoBridgePort, InfoData, InfoKind, LinkFlags};

    use super::*;
    use crate::device::tc::options::attribute;
    use bondlab_core::net::link_show;

    fn bridge() -> LinkMessage {
        let mut link = LinkMessage::default();
        let id = [0x80, 0, 2, 0, 0x5e, 0, 0x53, 1];
        let data = [
            attribute(4, &30_000_u32.to_ne_bytes()),
            attribute(5, &1_u32.to_ne_bytes()),
            attribute(7, &[1]),
            attribute(11, &id),
            attribute(12, &2_u16.to_ne_bytes()),
        ];
        let infos = vec![LinkInfo::Kind(InfoKind::Bridge), LinkInfo::Data(InfoData::Other(data.concat()))];
        link.attributes = vec![LinkAttribute::LinkInfo(infos), LinkAttribute::Group(5)];
        link.header.flags = LinkFlags::Multicast;
        link
    }

    fn port() -> LinkMessage {
        let raw = |number: u16, bytes: &[u8]| InfoBridgePort::Other(DefaultNla::new(number, bytes.to_vec()));
        let data = vec![
            raw(1, &[3]),
            raw(2, &32_u16.to_ne_bytes()),
            raw(8, &[0]),
            raw(17, &0x8001_u16.to_ne_bytes()),
        ];
        let mut link = LinkMessage::default();
        link.attributes =
            vec![LinkAttribute::LinkInfo(vec![LinkInfo::PortData(InfoPortData::BridgePort(data))])];
        link
    }

    #[rstest::rstest]
    #[case("ageing_time", Some("30000"))]
    #[case("stp_state", Some("true"))]
    #[case("vlan_filtering", Some("true"))]
    #[case("bridge_id", Some("8000.02:00:5e:00:53:01"))]
    #[case("root_port", Some("2"))]
    #[case("group", Some("5"))]
    #[case("multicast", Some("true"))]
    #[case("promisc", Some("false"))]
    #[case("stp_mode", None)]
    #[case("state", None)]
    fn a_bridge_shows_its_options_and_states(#[case] key: &str, #[case] expected: Option<&str>) {
        let text = option(&bridge(), key).or_else(|| state(&bridge(), key));
        assert_eq!(text.as_deref(), expected);
    }

    #[rstest::rstest]
    #[case("state", Some("forwarding"))]
    #[case("priority", Some("32"))]
    #[case("learning", Some("false"))]
    #[case("port_id", Some("0x8001"))]
    #[case("hairpin", None)]
    #[case("bridge_id", None)]
    fn a_port_of_a_bridge_shows_its_options_and_states(#[case] key: &str, #[case] expected: Option<&str>) {
        let text = option(&port(), key).or_else(|| state(&port(), key));
        assert_eq!(text.as_deref(), expected);
    }

    #[test]
    fn every_state_of_bridges_and_their_ports_has_an_attribute() {
        let tables = link_show::BRIDGE_PROPERTIES.iter().chain(link_show::BRIDGE_PORT_PROPERTIES);
        for property in tables {
            assert!(STATES.iter().any(|(word, ..)| *word == property.key), "{}", property.key);
        }
    }
}
