//! Links: make them, join them to a controller, set them up and down. Exactly what was asked, nothing else.

use std::os::fd::{AsRawFd, BorrowedFd, RawFd};

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{
    InfoBridge, InfoData, InfoIpVlan, InfoKind, InfoMacVlan, InfoVeth, InfoVlan, IpVlanFlags, LinkAttribute,
    LinkFlags, LinkInfo, LinkMessage, LinkXdp, MacVlanMode, VlanProtocol,
};

use crate::agent::testbed::{Testbed, netns_error};
use crate::device::{bond, configure, gadget, netdevsim, option, tap};
use crate::syscall::rtnl::{Rtnl, RtnlError};
use bondlab_core::net::address::Mac;
use bondlab_core::net::link::{Link, LinkKind, Virtual};
use bondlab_core::net::link_option::words::VirtualKind;
use bondlab_core::net::link_option::{LINK_OPTIONS, rows_of};
use bondlab_core::net::mode::{IpvlanFlag, IpvlanMode};
use bondlab_core::net::name::DeviceRef;
use bondlab_core::plan::record::OpError;

/// `lo` is the first device of every namespace (LOOPBACK_IFINDEX, include/net/flow.h).
pub(crate) const LOOPBACK_IFINDEX: u32 = 1;

/// Makes a link, down. A cable is made with both ends, the far one directly in its namespace; a tap is there as long as
/// its descriptor, which `bed` holds.
///
/// # Errors
/// The kernel's refusal, or a link it stands on is not there.
pub async fn create(bed: &mut Testbed, link: &Link, peer: Option<&Link>) -> Result<(), OpError> {
    match (&link.kind, peer) {
        (LinkKind::Gadget { .. }, Some(peer)) => return gadget::create(bed, link, peer).await,
        (LinkKind::Netdevsim(_), peer) => return netdevsim::create(bed, link, peer).await,
        (LinkKind::Tun(tun), _) => return tap::create(bed, link, tun).await,
        _ => {}
    }
    let what = format!("create {} {}", link.kind.word(), link.device);
    let mut message = attributes(link);
    let mut infos = vec![LinkInfo::Kind(InfoKind::from(link.kind.word()))];
    let options = option::encode(&link.extras.options.rows(rows_of(link.kind.word())));
    match &link.kind {
        LinkKind::Dummy | LinkKind::Gadget { .. } | LinkKind::GadgetHost { .. } | LinkKind::Tun(_) => {}
        LinkKind::Netdevsim(_) | LinkKind::Nic(_) | LinkKind::Pf(_) | LinkKind::Vf { .. } => {
            let text = "hardware is adopted, not made".into();
            return Err(OpError { what, errno: None, text: Some(text) });
        }
        LinkKind::Veth { peer: end } => {
            let Some(peer) = peer.filter(|peer| peer.device == *end) else {
                let text = format!("the plan does not have the other end, {end}");
                return Err(OpError { what, errno: None, text: Some(text) });
            };
            let namespace = bed.namespaces.get(&end.ns).map_err(|error| netns_error(&what, &error))?;
            infos.push(LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(far_end(peer, namespace.raw_fd())))));
        }
        LinkKind::Bond(bond) => {
            let data = bond::attributes(bed, &link.device.ns, &bond.values()).await?;
            infos.push(LinkInfo::Data(InfoData::Bond(data)));
        }
        LinkKind::Vlan { id, protocol, .. } => {
            let protocol = VlanProtocol::from(protocol.number());
            let mut data = vec![InfoVlan::Id(id.get()), InfoVlan::Protocol(protocol)];
            data.extend(option::nlas(options).map(InfoVlan::Other));
            infos.push(LinkInfo::Data(InfoData::Vlan(data)));
        }
        LinkKind::Ipvlan { mode, flag, .. } => infos.push(LinkInfo::Data(ipvlan(*mode, *flag))),
        LinkKind::Macvlan { mode, .. } => {
            let mut data = vec![InfoMacVlan::Mode(MacVlanMode::from(mode.number()))];
            data.extend(option::nlas(options).map(InfoMacVlan::Other));
            infos.push(LinkInfo::Data(InfoData::MacVlan(data)));
        }
        LinkKind::Bridge { vlan_filtering, .. } => {
            // Not sent when false: a kernel without CONFIG_BRIDGE_VLAN_FILTERING has no such attribute.
            let filtering = vlan_filtering.then_some(InfoBridge::VlanFiltering(true));
            let data: Vec<_> =
                filtering.into_iter().chain(option::nlas(options).map(InfoBridge::Other)).collect();
            if !data.is_empty() {
                infos.push(LinkInfo::Data(InfoData::Bridge(data)));
            }
        }
        LinkKind::Virtual(virtual_link) => {
            let data = option::nested(&virtual_options(bed, virtual_link, options).await?);
            infos.extend((!data.is_empty()).then_some(LinkInfo::Data(InfoData::Other(data))));
        }
    }
    message.attributes.push(LinkAttribute::LinkInfo(infos));
    match link.kind.parent() {
        Some(parent) if parent.ns != link.device.ns => make_on(bed, link, parent, message, what).await,
        parent => {
            if let Some(parent) = parent {
                message.attributes.push(LinkAttribute::Link(bed.index(parent).await?));
            }
            let made = make(bed.rtnl(&link.device.ns)?, message, &what).await;
            made.map_err(|error| match &link.kind {
                LinkKind::Bond(bond) => bond::refused(bed, &bond.values(), error),
                _ => error,
            })?;
            // A team takes no port before it has a mode.
            configure::set_team_mode(bed, link).await
        }
    }
}

/// Options of a link of that sort, and the device that a tunnel leaves by.
async fn virtual_options(
    bed: &Testbed,
    link: &Virtual,
    mut options: option::Attributes,
) -> Result<option::Attributes, OpError> {
    if let (Some(number), Some(parent)) = (parent_attribute(link.kind), &link.parent) {
        options.push((number, bed.index(parent).await?.to_ne_bytes().into()));
    }
    Ok(options)
}

/// The attribute by which a tunnel names the device that it stands on; others have IFLA_LINK.
fn parent_attribute(kind: VirtualKind) -> Option<u16> {
    // IFLA_VXLAN_LINK, IFLA_GRE_LINK: keep in sync with include/uapi/linux/if_link.h and if_tunnel.h.
    match kind {
        VirtualKind::Vxlan => Some(3),
        VirtualKind::Gre | VirtualKind::Gretap => Some(1),
        _ => None,
    }
}

/// The attributes of an ipvlan.
pub(crate) fn ipvlan(mode: IpvlanMode, flag: IpvlanFlag) -> InfoData {
    let flags = IpVlanFlags::from_bits_retain(flag.number());
    InfoData::IpVlan(vec![InfoIpVlan::Mode(mode.number().into()), InfoIpVlan::Flags(flags)])
}

async fn make(rtnl: &Rtnl, message: LinkMessage, what: &str) -> Result<(), OpError> {
    let made = rtnl.change(RouteNetlinkMessage::NewLink(message), NLM_F_CREATE | NLM_F_EXCL).await;
    made.map_err(|error| error.during(what))
}

/// Makes a link on a parent in another namespace. IFLA_LINK is a number of the namespace that is asked, and so, up to
/// 6.13, is the name that NLM_F_EXCL keeps from being taken twice (`__rtnl_newlink()`): a pod's `eth0` could not be
/// made beside the node's. It is made under an unused name, and gets its own where it is.
async fn make_on(
    bed: &Testbed,
    link: &Link,
    parent: &DeviceRef,
    mut message: LinkMessage,
    what: String,
) -> Result<(), OpError> {
    const NAME_ON_THE_WAY: &str = "lab-on-its-way";
    let device = &link.device;
    let namespace = bed.namespaces.get(&device.ns).map_err(|error| netns_error(&what, &error))?;
    message.attributes.retain(|attribute| !matches!(attribute, LinkAttribute::IfName(_)));
    message.attributes.extend([
        LinkAttribute::IfName(NAME_ON_THE_WAY.into()),
        LinkAttribute::Link(bed.index(parent).await?),
        LinkAttribute::NetNsFd(namespace.raw_fd()),
    ]);
    make(bed.rtnl(&parent.ns)?, message, &what).await?;
    let rtnl = bed.rtnl(&device.ns)?;
    let on_its_way = NAME_ON_THE_WAY.parse().expect("an interface name");
    let made = rtnl.link(&on_its_way).await.map_err(|error| error.during(&what))?;
    let mut rename = LinkMessage::default();
    rename.header.index = made.header.index;
    rename.attributes.push(LinkAttribute::IfName(device.name.as_str().into()));
    let renamed = rtnl.change(RouteNetlinkMessage::NewLink(rename), 0).await;
    renamed.map_err(|error| error.during(what))
}

/// What every kind of link may be asked for.
fn attributes(link: &Link) -> LinkMessage {
    let mut message = LinkMessage::default();
    let attributes = &mut message.attributes;
    attributes.push(LinkAttribute::IfName(link.device.name.as_str().into()));
    attributes.extend(link.mac.map(|mac| LinkAttribute::Address(mac.0.into())));
    attributes.extend(link.mtu.map(LinkAttribute::Mtu));
    attributes.extend(link.txqueuelen.map(LinkAttribute::TxQueueLen));
    attributes.extend(option::nlas(option::encode(&at_creation(link))).map(LinkAttribute::Other));
    message
}

/// Asks of a link that no netlink message made what such a message asks of others beside address, MTU and queue.
///
/// # Errors
/// The kernel's refusal.
pub async fn set_options(bed: &Testbed, link: &Link) -> Result<(), OpError> {
    let asked = at_creation(link);
    if asked.is_empty() {
        return Ok(());
    }
    let what = format!("set options of {}", link.device);
    let options = option::nlas(option::encode(&asked)).map(LinkAttribute::Other);
    set(bed, &link.device, what, |message| message.attributes.extend(options)).await
}

/// What `do_setlink()` heeds, and `rtnl_create_link()` does not.
const SET_LATER: [&str; 2] = ["carrier", "proto_down"];

/// Options of every link that are in the message; carrier and proto_down are not heard there.
fn at_creation(link: &Link) -> Vec<bond::Asked> {
    let all = link.extras.common.rows(LINK_OPTIONS).into_iter();
    all.filter(|(row, _)| row.wire.is_of_message() && !SET_LATER.contains(&row.key)).collect()
}

fn far_end(peer: &Link, namespace: RawFd) -> LinkMessage {
    let mut message = attributes(peer);
    message.attributes.push(LinkAttribute::NetNsFd(namespace));
    message
}

/// Makes a device a port of a controller.
///
/// # Errors
/// The kernel's refusal.
pub async fn join(bed: &Testbed, port: &DeviceRef, controller: &DeviceRef) -> Result<(), OpError> {
    let index = bed.index(controller).await?;
    let what = format!("join {port} to {controller}");
    set(bed, port, what, |message| message.attributes.push(LinkAttribute::Controller(index))).await
}

/// Takes a port out of its controller.
///
/// # Errors
/// The kernel's refusal.
pub async fn leave(bed: &Testbed, port: &DeviceRef) -> Result<(), OpError> {
    let what = format!("take {port} out of its controller");
    set(bed, port, what, |message| message.attributes.push(LinkAttribute::Controller(0))).await
}

/// Who runs an XDP program: XDP_FLAGS_DRV_MODE and XDP_FLAGS_SKB_MODE, include/uapi/linux/if_link.h.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum XdpMode {
    /// The device's driver.
    Driver,
    /// The kernel, after the driver (`do_xdp_generic()`).
    Generic,
}

/// Puts an XDP program on a device, or takes the one that is there away.
///
/// # Errors
/// The kernel's refusal.
pub async fn set_xdp(
    bed: &Testbed,
    device: &DeviceRef,
    program: Option<BorrowedFd<'_>>,
    mode: XdpMode,
) -> Result<(), OpError> {
    const NO_PROGRAM: RawFd = -1;
    let flags = match mode {
        XdpMode::Driver => 1 << 2,
        XdpMode::Generic => 1 << 1,
    };
    let what =
        format!("{} XDP program of {device}", if program.is_some() { "set the" } else { "remove the" });
    let fd = program.map_or(NO_PROGRAM, |program| program.as_raw_fd());
    let xdp = vec![LinkXdp::Fd(fd), LinkXdp::Flags(flags)];
    set(bed, device, what, |message| message.attributes.push(LinkAttribute::Xdp(xdp))).await
}

/// Moves a link to another namespace under another name. The kernel takes its addresses and routes away, and what stood
/// on it (`dev_change_net_namespace()`).
///
/// # Errors
/// The kernel's refusal: the name is taken there, or the driver's devices stay where they are.
pub async fn move_to(bed: &Testbed, from: &DeviceRef, to: &DeviceRef) -> Result<(), OpError> {
    let what = format!("move {from} to {to}");
    let namespace = bed.namespaces.get(&to.ns).map_err(|error| netns_error(&what, &error))?.raw_fd();
    set(bed, from, what, |message| {
        message.attributes.push(LinkAttribute::NetNsFd(namespace));
        if from.name != to.name {
            message.attributes.push(LinkAttribute::IfName(to.name.as_str().into()));
        }
    })
    .await?;
    bed.rtnl(&from.ns)?.forget(&from.name);
    bed.rtnl(&to.ns)?.forget(&to.name);
    Ok(())
}

/// Deletes a link.
///
/// # Errors
/// The kernel's refusal.
pub async fn delete(bed: &Testbed, device: &DeviceRef) -> Result<(), OpError> {
    let mut message = LinkMessage::default();
    message.header.index = bed.index(device).await?;
    let request = RouteNetlinkMessage::DelLink(message);
    // What was made on it goes with it, in whatever namespace.
    bed.sockets().for_each(|(_, rtnl)| rtnl.forget_all());
    let deleted = bed.rtnl(&device.ns)?.change(request, 0).await;
    deleted.map_err(|error| error.during(format!("delete {device}")))
}

/// Whether there is such a device now.
///
/// # Errors
/// No answer.
pub async fn exists(bed: &Testbed, device: &DeviceRef) -> Result<bool, OpError> {
    const ENODEV: i32 = libc::ENODEV;
    match bed.rtnl(&device.ns)?.link(&device.name).await {
        Ok(_) => Ok(true),
        Err(RtnlError::Refused { errno: ENODEV, .. }) => Ok(false),
        Err(error) => Err(error.during(format!("look for {device}"))),
    }
}

/// Sets a link up.
///
/// # Errors
/// The kernel's refusal.
pub async fn set_up(bed: &Testbed, device: &DeviceRef) -> Result<(), OpError> {
    set(bed, device, format!("set {device} up"), |message| set_flag(message, true)).await
}

/// Sets a link down. The kernel drops the routes and neighbours that use it (`fib_netdev_event()`,
/// `neigh_ifdown()`); setting it up again does not bring back what was added by hand.
///
/// # Errors
/// The kernel's refusal.
pub async fn set_down(bed: &Testbed, device: &DeviceRef) -> Result<(), OpError> {
    set(bed, device, format!("set {device} down"), |message| set_flag(message, false)).await
}

/// As [`set_down`], by a socket and number.
///
/// # Errors
/// The kernel's refusal.
pub async fn set_index_down(rtnl: &Rtnl, index: u32) -> Result<(), RtnlError> {
    let mut message = LinkMessage::default();
    message.header.index = index;
    set_flag(&mut message, false);
    rtnl.change(RouteNetlinkMessage::NewLink(message), 0).await
}

/// Gives a link another Ethernet address.
///
/// # Errors
/// The kernel's refusal.
pub async fn set_mac(bed: &Testbed, device: &DeviceRef, mac: Mac) -> Result<(), OpError> {
    let what = format!("set the address of {device} to {mac}");
    set(bed, device, what, |message| message.attributes.push(LinkAttribute::Address(mac.0.into()))).await
}

/// Gives a link another MTU, in bytes.
///
/// # Errors
/// The kernel's refusal.
pub async fn set_mtu(bed: &Testbed, device: &DeviceRef, mtu: u32) -> Result<(), OpError> {
    let what = format!("set the mtu of {device} to {mtu}");
    set(bed, device, what, |message| message.attributes.push(LinkAttribute::Mtu(mtu))).await
}

/// Gives a link another transmit queue length, in packets.
///
/// # Errors
/// The kernel's refusal.
pub async fn set_txqueuelen(bed: &Testbed, device: &DeviceRef, len: u32) -> Result<(), OpError> {
    let what = format!("set the txqueuelen of {device} to {len}");
    set(bed, device, what, |message| message.attributes.push(LinkAttribute::TxQueueLen(len))).await
}

/// Sets `lo` up, so that a namespace can talk to itself.
pub(crate) async fn set_loopback_up(rtnl: &Rtnl) -> Result<(), RtnlError> {
    let mut message = LinkMessage::default();
    message.header.index = LOOPBACK_IFINDEX;
    set_flag(&mut message, true);
    rtnl.change(RouteNetlinkMessage::NewLink(message), 0).await
}

/// Sets every device of a namespace down, those made last first: what stands on others goes before them.
///
/// # Errors
/// The kernel's refusal.
pub(crate) async fn set_all_down(rtnl: &Rtnl) -> Result<(), RtnlError> {
    for link in rtnl.links().await?.iter().rev() {
        if link.header.flags.contains(LinkFlags::Up) {
            match set_index_down(rtnl, link.header.index).await {
                // It went with another one.
                Err(error) if error.errno() == Some(libc::ENODEV) => {}
                set => set?,
            }
        }
    }
    Ok(())
}

fn set_flag(message: &mut LinkMessage, up: bool) {
    message.header.flags.set(LinkFlags::Up, up);
    message.header.change_mask |= LinkFlags::Up;
}

pub(crate) async fn set(
    bed: &Testbed,
    device: &DeviceRef,
    what: String,
    fill: impl FnOnce(&mut LinkMessage),
) -> Result<(), OpError> {
    let mut message = LinkMessage::default();
    message.header.index = bed.index(device).await?;
    fill(&mut message);
    // RTM_NEWLINK without NLM_F_CREATE changes what is there (`__rtnl_newlink()`).
    let request = RouteNetlinkMessage::NewLink(message);
    bed.rtnl(&device.ns)?.change(request, 0).await.map_err(|error| error.during(what))
}
