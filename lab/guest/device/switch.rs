//! Ports of a switch in the place of a NIC's: the tag of an access port, a check of source addresses, and what a bridge
//! keeps to itself.

use netlink_packet_core::{NLM_F_CREATE, NLM_F_REPLACE};
use netlink_packet_route::link::{
    AfSpecBridge, BridgeVlanInfo, BridgeVlanInfoFlags, InfoBridgePort, InfoPortData, InfoPortKind,
    LinkAttribute, LinkInfo, LinkMessage,
};
use netlink_packet_route::neighbour::{NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use crate::agent::guard::Guard;
use crate::agent::testbed::Testbed;
use crate::device::{addresses, links, tc};
use crate::fault::partner;
use bondlab_core::net::address::Mac;
use bondlab_core::net::name::{DeviceRef, VlanId};
use bondlab_core::net::switch_port::SwitchPort;
use bondlab_core::plan::record::OpError;

/// What a bridge gives all its ports (`br_vlan_init()`).
const DEFAULT_PVID: u16 = 1;

/// 01-80-C2-00-00-00 to -0F but -01, PAUSE, which the kernel lets no bridge pass (BR_GROUPFWD_MACPAUSE). What a port may
/// set is more than what a bridge accepts (BR_GROUPFWD_RESTRICTED): LACP's -02 too, since Linux 4.15, commit 5af48b59f35c.
const ALL_GROUP_ADDRESSES: u16 = !(1 << 1);

/// Makes a port of a bridge do what a NIC does for its cable, its PF and its VFs.
///
/// # Errors
/// The kernel's refusal.
pub async fn set(bed: &mut Testbed, port: &SwitchPort) -> Result<(), OpError> {
    let SwitchPort { device, source, vlan, trunks, lacp_sinks, .. } = port;
    for device in lacp_sinks {
        take(bed, device).await?;
    }
    forward_as_a_nic(bed, port).await?;
    if let Some(vlan) = vlan {
        let access = BridgeVlanInfoFlags::Pvid | BridgeVlanInfoFlags::Untagged;
        tag(bed, device, vlan.get(), access).await?;
        untag(bed, device, DEFAULT_PVID).await?;
        for trunk in trunks {
            carry(bed, trunk, *vlan).await?;
        }
    }
    // After the port's VLANs: the address is known in each of them (`br_fdb_add()`).
    if let Some(mac) = address(bed, port).await? {
        know(bed, device, mac).await?;
    }
    match source {
        Some(mac) => tc::pass_source(bed, device, *mac).await,
        None => Ok(()),
    }
}

/// A bridge's own device has a copy of what goes to a group address, and so has a PF: LACPDUs would count as dropped there,
/// for which a NIC has no receiver, and a PF has one by chance.
async fn take(bed: &mut Testbed, device: &DeviceRef) -> Result<(), OpError> {
    let sink = partner::sink(bed, device).await?;
    bed.held.insert(format!("LACPDUs at {device}"), Guard::Descriptor(sink));
    Ok(())
}

/// `bridge link set dev PORT group_fwd_mask MASK learning L flood F`: frames that 802.1D keeps on one cable are multicast like
/// any other, and a frame for an address goes to who has it.
async fn forward_as_a_nic(bed: &Testbed, port: &SwitchPort) -> Result<(), OpError> {
    let mut message = LinkMessage::default();
    message.header.index = bed.index(&port.device).await?;
    let settings = InfoPortData::BridgePort(vec![
        InfoBridgePort::GroupFwdMask(ALL_GROUP_ADDRESSES),
        InfoBridgePort::Learning(port.learns()),
        InfoBridgePort::UnicastFlood(port.takes_unknown()),
    ]);
    let info = vec![LinkInfo::PortKind(InfoPortKind::Bridge), LinkInfo::PortData(settings)];
    message.attributes.push(LinkAttribute::LinkInfo(info));
    let set = bed.rtnl(&port.device.ns)?.change(RouteNetlinkMessage::NewLink(message), 0).await;
    set.map_err(|error| error.during(format!("have {} forward as a NIC does", port.device)))
}

/// What a NIC knows of a VF, or of the PF, before it has sent: what the PF has set, else what it has.
async fn address(bed: &Testbed, port: &SwitchPort) -> Result<Option<Mac>, OpError> {
    match (port.address, &port.end) {
        (Some(mac), _) => Ok(Some(mac)),
        (None, Some(end)) if links::exists(bed, end).await? => Ok(Some(addresses::mac_of(bed, end).await?)),
        _ => Ok(None),
    }
}

/// `bridge fdb replace MAC dev PORT master static`.
async fn know(bed: &Testbed, port: &DeviceRef, mac: Mac) -> Result<(), OpError> {
    let mut message = NeighbourMessage::default();
    message.header.family = AddressFamily::Bridge;
    message.header.ifindex = bed.index(port).await?;
    message.header.state = NeighbourState::Noarp;
    message.header.flags = NeighbourFlags::Controller;
    message.attributes.push(NeighbourAttribute::LinkLayerAddress(mac.0.into()));
    let request = RouteNetlinkMessage::NewNeighbour(message);
    let known = bed.rtnl(&port.ns)?.change(request, NLM_F_CREATE | NLM_F_REPLACE).await;
    known.map_err(|error| error.during(format!("have frames for {mac} go to {port}")))
}

async fn carry(bed: &Testbed, trunk: &DeviceRef, vlan: VlanId) -> Result<(), OpError> {
    tag(bed, trunk, vlan.get(), BridgeVlanInfoFlags::empty()).await
}

async fn tag(bed: &Testbed, port: &DeviceRef, vid: u16, flags: BridgeVlanInfoFlags) -> Result<(), OpError> {
    let message = RouteNetlinkMessage::SetLink(about(bed.index(port).await?, vid, flags));
    let set = bed.rtnl(&port.ns)?.change(message, 0).await;
    set.map_err(|error| error.during(format!("give {port} the VLAN {vid}")))
}

async fn untag(bed: &Testbed, port: &DeviceRef, vid: u16) -> Result<(), OpError> {
    let message =
        RouteNetlinkMessage::DelLink(about(bed.index(port).await?, vid, BridgeVlanInfoFlags::empty()));
    match bed.rtnl(&port.ns)?.change(message, 0).await {
        // A pod that is attached again tells it again.
        Err(error) if error.errno() == Some(libc::ENOENT) => Ok(()),
        set => set.map_err(|error| error.during(format!("take the VLAN {vid} from {port}"))),
    }
}

/// `bridge vlan add/del vid VID dev PORT` (`br_setlink()`, `br_dellink()`).
fn about(index: u32, vid: u16, flags: BridgeVlanInfoFlags) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.header.interface_family = AddressFamily::Bridge;
    message.header.index = index;
    let info = AfSpecBridge::VlanInfo(BridgeVlanInfo { flags, vid });
    message.attributes.push(LinkAttribute::AfSpecBridge(vec![info]));
    message
}
