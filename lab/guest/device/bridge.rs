//! Bridges: what they say of their ports, VLANs of ports and of themselves, entries of forwarding databases.

use std::collections::BTreeMap;

use netlink_packet_core::{NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL};
use netlink_packet_route::link::{
    AfSpecBridge, BridgeFlag, BridgeVlanInfo, BridgeVlanInfoFlags, InfoBridgePort, InfoPortData,
    InfoPortKind, LinkAttribute, LinkInfo, LinkMessage,
};
use netlink_packet_route::neighbour::{NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use nix::sys::socket::SockProtocol;

use crate::agent::testbed::{Testbed, netns_error};
use crate::device::addresses::mac_from;
use crate::device::tc::options::attribute;
use crate::device::{links, option};
use crate::syscall::netlink;
use crate::syscall::rtnl::errno_name;
use bondlab_core::net::link_extras::{BridgePort, FdbEntry, PortVlan};
use bondlab_core::net::link_option::BRIDGE_PORT_OPTIONS;
use bondlab_core::net::name::DeviceRef;
use bondlab_core::plan::record::OpError;

// Keep in sync with include/uapi/linux/rtnetlink.h, if_link.h, if_bridge.h.
const RTM_GETLINK: u16 = 18;
const AF_BRIDGE: u8 = 7;
const IFINFOMSG_BYTES: usize = 16;
const IFLA_AF_SPEC: u16 = 26;
const IFLA_EXT_MASK: u16 = 29;
const IFLA_BRIDGE_VLAN_INFO: u16 = 2;
const RTEXT_FILTER_BRVLAN_COMPRESSED: u32 = 4;

/// NUD_NOARP and NUD_REACHABLE: what `bridge fdb add ... static` sends.
const STATIC: u16 = 0x40 | 0x02;

/// What a bridge says of a port.
///
/// # Errors
/// The kernel's refusal, or the port has other VLANs then.
pub async fn set_port(bed: &Testbed, port: &DeviceRef, settings: &BridgePort) -> Result<(), OpError> {
    let asked = settings.options.rows(BRIDGE_PORT_OPTIONS);
    if !asked.is_empty() {
        let what = format!(
            "set {} of the bridge port {port}",
            settings.options.words(BRIDGE_PORT_OPTIONS).join(" ")
        );
        let data = option::nlas(option::encode(&asked)).map(InfoBridgePort::Other).collect();
        let infos = vec![
            LinkInfo::PortKind(InfoPortKind::Bridge),
            LinkInfo::PortData(InfoPortData::BridgePort(data)),
        ];
        links::set(bed, port, what, |message| message.attributes.push(LinkAttribute::LinkInfo(infos)))
            .await?;
    }
    match &settings.vlans {
        Some(vlans) => set_vlans(bed, port, vlans, false).await,
        None => Ok(()),
    }
}

/// Gives a port, or a bridge itself, these VLANs and no others.
///
/// # Errors
/// The kernel's refusal, or it has others then.
pub async fn set_vlans(
    bed: &Testbed,
    device: &DeviceRef,
    vlans: &[PortVlan],
    is_bridge: bool,
) -> Result<(), OpError> {
    let wanted: BTreeMap<u16, BridgeVlanInfoFlags> =
        vlans.iter().flat_map(|vlan| vlan.ids().map(|id| (id, flags(*vlan)))).collect();
    for (id, _) in vlans_of(bed, device)
        .await?
        .unwrap_or_default()
        .into_iter()
        .filter(|(id, _)| !wanted.contains_key(id))
    {
        let what = format!("take the VLAN {id} from {device}");
        let info = vec![BridgeVlanInfo { flags: BridgeVlanInfoFlags::empty(), vid: id }];
        let message = about(bed.index(device).await?, info, is_bridge);
        let taken = bed.rtnl(&device.ns)?.change(RouteNetlinkMessage::DelLink(message), 0).await;
        taken.map_err(|error| error.during(what))?;
    }
    for vlan in vlans {
        let what = format!("give {device} the VLAN {vlan}");
        let one = |vid, more| BridgeVlanInfo { flags: flags(*vlan) | more, vid };
        let (first, last) = (vlan.id.get(), vlan.to.get());
        let infos = if first == last {
            vec![one(first, BridgeVlanInfoFlags::empty())]
        } else {
            vec![one(first, BridgeVlanInfoFlags::RangeBegin), one(last, BridgeVlanInfoFlags::RangeEnd)]
        };
        let message = about(bed.index(device).await?, infos, is_bridge);
        let given = bed.rtnl(&device.ns)?.change(RouteNetlinkMessage::SetLink(message), 0).await;
        given.map_err(|error| error.during(what))?;
    }
    let is = vlans_of(bed, device).await?.unwrap_or_default();
    if is == wanted {
        return Ok(());
    }
    let text = format!("asked {}, is {}", shown(&wanted), shown(&is));
    Err(OpError { what: format!("read back the VLANs of {device}"), errno: None, text: Some(text) })
}

fn flags(vlan: PortVlan) -> BridgeVlanInfoFlags {
    let mut flags = BridgeVlanInfoFlags::empty();
    flags.set(BridgeVlanInfoFlags::Pvid, vlan.pvid);
    flags.set(BridgeVlanInfoFlags::Untagged, vlan.untagged);
    flags
}

fn shown(vlans: &BTreeMap<u16, BridgeVlanInfoFlags>) -> String {
    let one = |(id, flags): (&u16, &BridgeVlanInfoFlags)| {
        let pvid = if flags.contains(BridgeVlanInfoFlags::Pvid) { " pvid" } else { "" };
        let untagged = if flags.contains(BridgeVlanInfoFlags::Untagged) { " untagged" } else { "" };
        format!("{id}{pvid}{untagged}")
    };
    if vlans.is_empty() { "none".into() } else { vlans.iter().map(one).collect::<Vec<_>>().join(", ") }
}

/// `br_setlink()` and `br_dellink()`; a bridge itself is meant with BRIDGE_FLAGS_SELF and BRIDGE_VLAN_INFO_BRENTRY.
fn about(index: u32, infos: Vec<BridgeVlanInfo>, is_bridge: bool) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.header.interface_family = AddressFamily::Bridge;
    message.header.index = index;
    let mut spec = Vec::new();
    if is_bridge {
        spec.push(AfSpecBridge::Flags(BridgeFlag::LowerDev));
    }
    spec.extend(infos.into_iter().map(|mut info| {
        info.flags.set(BridgeVlanInfoFlags::Brentry, is_bridge);
        AfSpecBridge::VlanInfo(info)
    }));
    message.attributes.push(LinkAttribute::AfSpecBridge(spec));
    message
}

/// The VLANs of a port or bridge, with the flags that can be asked for; `None` if it is neither. Kernels up to 6.0 show a port without VLANs by an
/// attribute without content, which netlink-packet-route does not take. As ranges: 4094 VLANs one by one are longer than an answer may be.
///
/// # Errors
/// There is no such device, or no complete answer.
pub(crate) async fn vlans_of(
    bed: &Testbed,
    device: &DeviceRef,
) -> Result<Option<BTreeMap<u16, BridgeVlanInfoFlags>>, OpError> {
    let what = format!("read the VLANs of {device}");
    let index = bed.index(device).await?;
    let mut request = vec![0; IFINFOMSG_BYTES];
    request[0] = AF_BRIDGE;
    request.extend(attribute(IFLA_EXT_MASK, &RTEXT_FILTER_BRVLAN_COMPRESSED.to_ne_bytes()));
    let dumped = bed
        .namespaces
        .enter(&device.ns, || netlink::request(SockProtocol::NetlinkRoute, RTM_GETLINK, NLM_F_DUMP, &request))
        .map_err(|error| netns_error(&what, &error))?;
    let answers = dumped.map_err(|error| OpError {
        what,
        errno: error.raw_os_error().map(errno_name),
        text: error.raw_os_error().is_none().then(|| error.to_string()),
    })?;
    let of_device: Vec<_> = answers.iter().filter_map(|answer| vlans_in(answer, index)).collect();
    Ok((!of_device.is_empty()).then(|| of_device.into_iter().flatten().collect()))
}

/// The VLANs in one answer, where it is about device number `index`.
fn vlans_in(answer: &[u8], index: u32) -> Option<Vec<(u16, BridgeVlanInfoFlags)>> {
    let number = |bytes: &[u8], at: usize| Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?));
    let (header, attributes) = (answer.get(..IFINFOMSG_BYTES)?, answer.get(IFINFOMSG_BYTES..)?);
    if header[4..8] != index.to_ne_bytes() {
        return None;
    }
    let specs = option::of_bytes(attributes).into_iter().filter(|(kind, _)| *kind == IFLA_AF_SPEC);
    let infos = specs.flat_map(|(_, spec)| option::of_bytes(&spec));
    let infos = infos.filter(|(kind, _)| *kind == IFLA_BRIDGE_VLAN_INFO);
    // struct bridge_vlan_info: flags, vid.
    let asked = BridgeVlanInfoFlags::Pvid | BridgeVlanInfoFlags::Untagged;
    let (mut first, mut all) = (None, Vec::new());
    for (_, info) in infos {
        let (Some(flags), Some(vid)) = (number(&info, 0), number(&info, 2)) else { continue };
        let flags = BridgeVlanInfoFlags::from_bits_retain(flags);
        // `br_fill_ifvlaninfo_range()` sends the first and the last of a range.
        if flags.contains(BridgeVlanInfoFlags::RangeBegin) {
            first = Some(vid);
        } else if flags.contains(BridgeVlanInfoFlags::RangeEnd) {
            all.extend((first.take().unwrap_or(vid)..=vid).map(|id| (id, flags & asked)));
        } else {
            all.push((vid, flags & asked));
        }
    }
    Some(all)
}

/// Adds an entry to a forwarding database.
///
/// # Errors
/// The kernel's refusal, or the device whose address is meant has none.
pub async fn add_entry(bed: &Testbed, device: &DeviceRef, entry: &FdbEntry) -> Result<(), OpError> {
    let mac = mac_from(bed, &entry.mac).await?;
    let mut message = NeighbourMessage::default();
    message.header.family = AddressFamily::Bridge;
    message.header.ifindex = bed.index(device).await?;
    message.header.flags = if entry.of_controller { NeighbourFlags::Controller } else { NeighbourFlags::Own };
    message.header.state = match (entry.dynamic, entry.of_controller || entry.dst.is_some()) {
        (true, _) => NeighbourState::Reachable,
        (false, true) => NeighbourState::Other(STATIC),
        // Of a bridge itself: frames to it are for this machine.
        (false, false) => NeighbourState::Permanent,
    };
    message.attributes.push(NeighbourAttribute::LinkLayerAddress(mac.0.into()));
    message.attributes.extend(entry.dst.map(|dst| NeighbourAttribute::Destination(dst.into())));
    message.attributes.extend(entry.vlan.map(|vlan| NeighbourAttribute::Vlan(vlan.get())));
    let request = RouteNetlinkMessage::NewNeighbour(message);
    // A VXLAN has several ends for one address (`bridge fdb append`): NLM_F_APPEND is not needed for the first.
    let added = bed.rtnl(&device.ns)?.change(request, NLM_F_CREATE | NLM_F_EXCL).await;
    added.map_err(|error| error.during(format!("add {entry} to the forwarding database of {device}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(index: u32, spec: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; IFINFOMSG_BYTES];
        bytes[4..8].copy_from_slice(&index.to_ne_bytes());
        bytes.extend(attribute(IFLA_AF_SPEC, spec));
        bytes
    }

    #[test]
    fn vlans_are_read_with_their_flags() {
        let info = |flags: u16, vid: u16| {
            attribute(IFLA_BRIDGE_VLAN_INFO, &[flags.to_ne_bytes(), vid.to_ne_bytes()].concat())
        };
        // PVID, UNTAGGED and BRENTRY.
        let bytes = answer(7, &[info(2 | 4 | 32, 10), info(0, 20)].concat());
        let vlans: BTreeMap<_, _> = vlans_in(&bytes, 7).into_iter().flatten().collect();
        assert_eq!(shown(&vlans), "10 pvid untagged, 20");
        // RANGE_BEGIN and RANGE_END.
        let bytes = answer(7, &[info(8 | 4, 2), info(16 | 4, 4), info(0, 9)].concat());
        let vlans: BTreeMap<_, _> = vlans_in(&bytes, 7).into_iter().flatten().collect();
        assert_eq!(shown(&vlans), "2 untagged, 3 untagged, 4 untagged, 9");
        assert!(vlans_in(&bytes, 8).is_none(), "it is another device");
        assert_eq!(vlans_in(&answer(7, &[]), 7), Some(Vec::new()), "a port without VLANs");
        assert!(vlans_in(&[0; 4], 0).is_none(), "a message that is cut");
    }
}
