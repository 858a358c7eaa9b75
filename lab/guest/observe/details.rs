//! Further fields of neighbours, VLANs of bridges, and entries of forwarding and multicast databases, as `ip -d neighbour`,
//! `bridge -s -d vlan`, `bridge -d fdb` and `bridge -d mdb` show them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use netlink_packet_core::{NLM_F_DUMP, Nla};
use netlink_packet_route::neighbour::NeighbourMessage;
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use nix::sys::socket::SockProtocol;

use crate::agent::testbed::{Testbed, netns_error};
use crate::device::tc::options::attribute;
use crate::device::{addresses, mdb, option};
use crate::observe::shown::index_now;
use crate::syscall::netlink;
use crate::syscall::rtnl::errno_name;
use bondlab_core::net::address::Mac;
use bondlab_core::net::name::DeviceRef;
use bondlab_core::plan::record::OpError;
use bondlab_core::topology::observation::Shown;

const NONE: &str = "none";

// Keep in sync with include/uapi/linux/neighbour.h.
const NDA_DST: u16 = 1;
const NDA_LLADDR: u16 = 2;
const NDA_PROBES: u16 = 4;
const NDA_VLAN: u16 = 5;
const NDA_PORT: u16 = 6;
const NDA_VNI: u16 = 7;
const NDA_SRC_VNI: u16 = 11;
const NDA_PROTOCOL: u16 = 12;
const NDA_FLAGS_EXT: u16 = 15;
const NTF_EXT_LOCKED: u32 = 1 << 1;
/// `NTF_*` in the words of ip(8).
const FLAGS: [(u8, &str); 5] =
    [(0x08, "proxy"), (0x10, "extern_learn"), (0x20, "offload"), (0x40, "sticky"), (0x80, "router")];
/// `NTF_EXT_*`.
const FLAGS_EXT: [(u32, &str); 3] = [(1, "managed"), (1 << 1, "locked"), (1 << 2, "extern_valid")];
/// `RTPROT_*`, include/uapi/linux/rtnetlink.h.
const PROTOCOLS: [&str; 5] = ["unspec", "redirect", "kernel", "boot", "static"];

// Keep in sync with include/uapi/linux/rtnetlink.h and if_bridge.h.
const RTM_GETVLAN: u16 = 114;
const AF_BRIDGE: u8 = 7;
/// `struct br_vlan_msg`: family, reserved, ifindex.
const VLAN_HEADER_BYTES: usize = 8;
const BRIDGE_VLANDB_DUMP_FLAGS: u16 = 1;
const BRIDGE_VLANDB_DUMPF_STATS: u32 = 1;
const BRIDGE_VLANDB_ENTRY: u16 = 1;
const BRIDGE_VLANDB_ENTRY_INFO: u16 = 1;
const BRIDGE_VLANDB_ENTRY_RANGE: u16 = 2;
const BRIDGE_VLANDB_ENTRY_STATE: u16 = 3;
const BRIDGE_VLANDB_ENTRY_STATS: u16 = 5;
const PORT_STATES: [&str; 5] = ["disabled", "listening", "learning", "forwarding", "blocking"];

/// A field of an entry; `none` where there is no such entry or the kernel does not show it. None without the device.
///
/// # Errors
/// No complete answer.
pub async fn read(bed: &Testbed, of: &Shown, field: &str) -> Result<Option<String>, OpError> {
    let Some(device) = of.device() else { return Ok(None) };
    let Some(index) = index_now(bed, device).await? else { return Ok(None) };
    let text = match of {
        Shown::Neighbour { to, .. } => {
            let family = if to.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
            let all = dump(bed, device, family).await?;
            let is_it =
                |it: &&NeighbourMessage| it.header.ifindex == index && address(it, NDA_DST) == Some(*to);
            all.iter().find(is_it).and_then(|it| neighbour_field(it, field))
        }
        Shown::Fdb { mac, .. } => {
            let Ok(mac) = addresses::mac_from(bed, mac).await else { return Ok(None) };
            let all = dump(bed, device, AddressFamily::Bridge).await?;
            let is_it = |it: &&NeighbourMessage| {
                it.header.ifindex == index && value(it, NDA_LLADDR).is_some_and(|bytes| bytes == mac.0)
            };
            let mut fields: Vec<String> =
                all.iter().filter(is_it).filter_map(|it| fdb_field(it, field)).collect();
            fields.dedup();
            (!fields.is_empty()).then(|| fields.join(","))
        }
        Shown::Mdb { group, .. } => Some(mdb::field(bed, device, *group, field).await?),
        Shown::BridgeVlan { id, .. } => {
            let answers = vlans(bed, device)?;
            let entries = answers.iter().filter(|answer| index_of(answer) == Some(index));
            entries
                .filter_map(|answer| vlan_entry(answer, id.get()))
                .find_map(|entry| vlan_field(&entry, field))
        }
        _ => None,
    };
    Ok(Some(text.unwrap_or_else(|| NONE.into())))
}

/// Whether the address of a forwarding database is one that a locked port has learned (NTF_EXT_LOCKED).
pub(crate) fn is_locked(it: &NeighbourMessage) -> bool {
    number(it, NDA_FLAGS_EXT).is_some_and(|flags| flags & NTF_EXT_LOCKED != 0)
}

async fn dump(
    bed: &Testbed,
    device: &DeviceRef,
    family: AddressFamily,
) -> Result<Vec<NeighbourMessage>, OpError> {
    let mut message = NeighbourMessage::default();
    message.header.family = family;
    let dumped = bed.rtnl(&device.ns)?.dump(RouteNetlinkMessage::GetNeighbour(message)).await;
    let all = dumped.map_err(|error| error.during(format!("read the neighbours of {device}")))?;
    let messages = all.into_iter().filter_map(|answer| match answer {
        RouteNetlinkMessage::NewNeighbour(it) => Some(it),
        _ => None,
    });
    Ok(messages.collect())
}

fn value(it: &NeighbourMessage, wanted: u16) -> Option<Vec<u8>> {
    let found = it.attributes.iter().find(|attribute| attribute.kind() == wanted)?;
    let mut bytes = vec![0; found.value_len()];
    found.emit_value(&mut bytes);
    Some(bytes)
}

fn number(it: &NeighbourMessage, wanted: u16) -> Option<u32> {
    Some(match value(it, wanted)?[..] {
        [one] => one.into(),
        [a, b] => u16::from_ne_bytes([a, b]).into(),
        [a, b, c, d] => u32::from_ne_bytes([a, b, c, d]),
        _ => return None,
    })
}

fn address(it: &NeighbourMessage, wanted: u16) -> Option<IpAddr> {
    let bytes = value(it, wanted)?;
    let v4 = <[u8; 4]>::try_from(&bytes[..]).map(|bytes| Ipv4Addr::from(bytes).into());
    v4.ok().or_else(|| <[u8; 16]>::try_from(&bytes[..]).ok().map(|bytes| Ipv6Addr::from(bytes).into()))
}

fn neighbour_field(it: &NeighbourMessage, field: &str) -> Option<String> {
    match field {
        "lladdr" => value(it, NDA_LLADDR)?.try_into().ok().map(|bytes| Mac(bytes).to_string()),
        "flags" => {
            let flags = it.header.flags.bits();
            let flags = FLAGS.iter().filter(|(bit, _)| flags & bit != 0).map(|(_, word)| *word);
            let more = number(it, NDA_FLAGS_EXT).unwrap_or(0);
            let more = FLAGS_EXT.iter().filter(|(bit, _)| more & bit != 0).map(|(_, word)| *word);
            let words: Vec<&str> = flags.chain(more).collect();
            (!words.is_empty()).then(|| words.join(","))
        }
        "proto" => {
            let protocol = number(it, NDA_PROTOCOL)?;
            let word = PROTOCOLS.get(usize::try_from(protocol).ok()?);
            Some(word.map_or_else(|| protocol.to_string(), |word| (*word).to_owned()))
        }
        "probes" => number(it, NDA_PROBES).map(|probes| probes.to_string()),
        _ => None,
    }
}

fn fdb_field(it: &NeighbourMessage, field: &str) -> Option<String> {
    match field {
        "vlan" => number(it, NDA_VLAN).map(|vlan| vlan.to_string()),
        "dst" => address(it, NDA_DST).map(|address| address.to_string()),
        // In the order of the network.
        "port" => match value(it, NDA_PORT)?[..] {
            [a, b] => Some(u16::from_be_bytes([a, b]).to_string()),
            _ => None,
        },
        "vni" => number(it, NDA_VNI).map(|vni| vni.to_string()),
        "src_vni" => number(it, NDA_SRC_VNI).map(|vni| vni.to_string()),
        _ => None,
    }
}

/// All VLANs of bridges and their ports in a namespace, each with its statistics (`br_vlan_rtm_dump()`).
fn vlans(bed: &Testbed, device: &DeviceRef) -> Result<Vec<Vec<u8>>, OpError> {
    let what = format!("read the VLANs of {device}");
    let mut request = vec![0; VLAN_HEADER_BYTES];
    request[0] = AF_BRIDGE;
    request.extend(attribute(BRIDGE_VLANDB_DUMP_FLAGS, &BRIDGE_VLANDB_DUMPF_STATS.to_ne_bytes()));
    let get = || netlink::request(SockProtocol::NetlinkRoute, RTM_GETVLAN, NLM_F_DUMP, &request);
    let dumped = bed.namespaces.enter(&device.ns, get).map_err(|error| netns_error(&what, &error))?;
    dumped.map_err(|error| OpError {
        what,
        errno: error.raw_os_error().map(errno_name),
        text: error.raw_os_error().is_none().then(|| error.to_string()),
    })
}

fn index_of(answer: &[u8]) -> Option<u32> {
    Some(u32::from_ne_bytes(answer.get(4..VLAN_HEADER_BYTES)?.try_into().ok()?))
}

/// The attributes of one VLAN, or of the range that it is in.
fn vlan_entry(answer: &[u8], id: u16) -> Option<option::Attributes> {
    let entries = option::of_bytes(answer.get(VLAN_HEADER_BYTES..)?).into_iter();
    let entries =
        entries.filter(|(kind, _)| *kind == BRIDGE_VLANDB_ENTRY).map(|(_, bytes)| option::of_bytes(&bytes));
    let half = |bytes: &[u8], at: usize| Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?));
    let of = |entry: &option::Attributes, wanted: u16| {
        entry.iter().find(|(kind, _)| *kind == wanted).map(|(_, bytes)| bytes.clone())
    };
    entries.into_iter().find(|entry| {
        // struct bridge_vlan_info: flags, vid.
        let first = of(entry, BRIDGE_VLANDB_ENTRY_INFO).and_then(|info| half(&info, 2));
        let last = of(entry, BRIDGE_VLANDB_ENTRY_RANGE).and_then(|range| half(&range, 0));
        first.is_some_and(|first| (first..=last.unwrap_or(first)).contains(&id))
    })
}

fn vlan_field(entry: &option::Attributes, field: &str) -> Option<String> {
    let of = |all: &option::Attributes, wanted: u16| {
        all.iter().find(|(kind, _)| *kind == wanted).map(|(_, bytes)| bytes.clone())
    };
    let plain = |wanted: u16| {
        Some(match of(entry, wanted)?[..] {
            [one] => u32::from(one),
            [a, b, c, d] => u32::from_ne_bytes([a, b, c, d]),
            _ => return None,
        })
    };
    // BRIDGE_VLANDB_STATS_*.
    let counter = |wanted: u16| {
        let bytes = of(&option::of_bytes(&of(entry, BRIDGE_VLANDB_ENTRY_STATS)?), wanted)?;
        Some(u64::from_ne_bytes(bytes.try_into().ok()?).to_string())
    };
    match field {
        "state" => {
            let state = plain(BRIDGE_VLANDB_ENTRY_STATE)?;
            PORT_STATES.get(usize::try_from(state).ok()?).map(|word| (*word).to_owned())
        }
        "rx_bytes" => counter(1),
        "rx_packets" => counter(2),
        "tx_bytes" => counter(3),
        "tx_packets" => counter(4),
        "mcast_router" => plain(6).map(|number| number.to_string()),
        "mcast_n_groups" => plain(7).map(|number| number.to_string()),
        "mcast_max_groups" => plain(8).map(|number| number.to_string()),
        "neigh_suppress" => plain(9).map(|is| (is != 0).to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use netlink_packet_core::Parseable as _;

    use super::*;

    fn message(flags: u8, attributes: &[Vec<u8>]) -> NeighbourMessage {
        // struct ndmsg: family, padding, ifindex, state, flags, type.
        let mut bytes = vec![2, 0, 0, 0, 7, 0, 0, 0, 2, 0, flags, 1];
        bytes.extend(attributes.concat());
        NeighbourMessage::parse(&bytes).unwrap()
    }

    #[test]
    fn a_neighbour_shows_its_fields() {
        let it = message(
            0x90,
            &[
                attribute(NDA_DST, &[192, 0, 2, 1]),
                attribute(NDA_LLADDR, &[2, 0, 0, 0, 0, 9]),
                attribute(NDA_PROBES, &3_u32.to_ne_bytes()),
                attribute(NDA_PROTOCOL, &[4]),
                attribute(NDA_FLAGS_EXT, &1_u32.to_ne_bytes()),
            ],
        );
        let fields = ["lladdr", "flags", "proto", "probes"].map(|field| neighbour_field(&it, field).unwrap());
        assert_eq!(fields, ["02:00:00:00:00:09", "extern_learn,router,managed", "static", "3"]);
        assert_eq!(address(&it, NDA_DST), Some("192.0.2.1".parse().unwrap()));
        assert!(!is_locked(&it));
        assert_eq!(neighbour_field(&message(0, &[]), "flags"), None);
    }

    #[test]
    fn an_entry_of_a_forwarding_database_shows_its_fields() {
        let it = message(
            0,
            &[
                attribute(NDA_DST, &[192, 0, 2, 1]),
                attribute(NDA_VLAN, &10_u16.to_ne_bytes()),
                attribute(NDA_PORT, &4789_u16.to_be_bytes()),
                attribute(NDA_FLAGS_EXT, &2_u32.to_ne_bytes()),
            ],
        );
        let fields = ["vlan", "dst", "port", "vni"].map(|field| fdb_field(&it, field).unwrap_or_default());
        assert_eq!(fields, ["10", "192.0.2.1", "4789", ""]);
        assert!(is_locked(&it));
    }

    #[test]
    fn a_vlan_in_a_range_shows_its_state_and_counters() {
        let stats = [attribute(1, &900_u64.to_ne_bytes()), attribute(2, &9_u64.to_ne_bytes())].concat();
        let entry = [
            attribute(BRIDGE_VLANDB_ENTRY_INFO, &[0, 0, 10, 0]),
            attribute(BRIDGE_VLANDB_ENTRY_RANGE, &12_u16.to_ne_bytes()),
            attribute(BRIDGE_VLANDB_ENTRY_STATE, &[3]),
            attribute(BRIDGE_VLANDB_ENTRY_STATS, &stats),
        ];
        let mut answer = vec![AF_BRIDGE, 0, 0, 0, 7, 0, 0, 0];
        answer.extend(attribute(BRIDGE_VLANDB_ENTRY, &entry.concat()));
        assert_eq!(index_of(&answer), Some(7));
        for (id, expected) in [(9, None), (10, Some("forwarding")), (12, Some("forwarding")), (13, None)] {
            let found = vlan_entry(&answer, id);
            assert_eq!(found.and_then(|entry| vlan_field(&entry, "state")).as_deref(), expected, "{id}");
        }
        let entry = vlan_entry(&answer, 11).unwrap();
        assert_eq!(vlan_field(&entry, "rx_packets").as_deref(), Some("9"));
        assert_eq!(vlan_field(&entry, "tx_packets"), None);
        assert!(vlan_entry(&answer[..20], 10).is_none(), "a message that is cut");
    }
}
