//! Ports of a switch in the place of VFs: the tag of an access port, and a check of source addresses.

use netlink_packet_route::link::{
    AfSpecBridge, BridgeVlanInfo, BridgeVlanInfoFlags, LinkAttribute, LinkMessage,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use super::tc;
use super::testbed::Testbed;
use crate::link::{DeviceRef, VlanId};
use crate::record::OpError;
use crate::stand_in::SwitchPort;

/// What a bridge gives all its ports (`br_vlan_init()`).
const DEFAULT_PVID: u16 = 1;

/// Makes a port of a bridge do what a PF does for its VF.
///
/// # Errors
/// The kernel's refusal.
pub async fn set(bed: &Testbed, port: &SwitchPort) -> Result<(), OpError> {
    let SwitchPort { device, source, vlan, trunks } = port;
    if let Some(vlan) = vlan {
        let access = BridgeVlanInfoFlags::Pvid | BridgeVlanInfoFlags::Untagged;
        tag(bed, device, vlan.get(), access).await?;
        untag(bed, device, DEFAULT_PVID).await?;
        for trunk in trunks {
            carry(bed, trunk, *vlan).await?;
        }
    }
    match source {
        Some(mac) => tc::pass_source(bed, device, *mac).await,
        None => Ok(()),
    }
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
    let set = bed.rtnl(&port.ns)?.change(message, 0).await;
    set.map_err(|error| error.during(format!("take the VLAN {vid} from {port}")))
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
