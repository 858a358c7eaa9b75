//! What is asked of a link and is not in the message that makes it: features, settings, flags, carrier, threaded NAPI, speed,
//! modes of teams, and associations of MACsec.

use std::io;

use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkMessage};

use crate::agent::testbed::{Testbed, netns_error};
use crate::device::addresses::mac_of;
use crate::device::tc::options::attribute;
use crate::device::{ethtool, links};
use crate::syscall::netlink::generic;
use crate::syscall::rtnl::errno_name;
use bondlab_core::net::link::Link;
use bondlab_core::net::link_extras::{Macsec, Team};
use bondlab_core::net::link_option::LINK_OPTIONS;
use bondlab_core::net::name::DeviceRef;
use bondlab_core::net::option::{Value, Wire};
use bondlab_core::plan::record::OpError;

// Keep in sync with include/uapi/linux/if_macsec.h.
const MACSEC_GENL_VERSION: u8 = 1;
const MACSEC_CMD_ADD_RXSC: u8 = 1;
const MACSEC_CMD_ADD_TXSA: u8 = 4;
const MACSEC_CMD_ADD_RXSA: u8 = 7;
const MACSEC_ATTR_IFINDEX: u16 = 1;
const MACSEC_ATTR_RXSC_CONFIG: u16 = 2;
const MACSEC_ATTR_SA_CONFIG: u16 = 3;
const MACSEC_RXSC_ATTR_SCI: u16 = 1;
const MACSEC_RXSC_ATTR_ACTIVE: u16 = 2;
const MACSEC_SA_ATTR_AN: u16 = 1;
const MACSEC_SA_ATTR_ACTIVE: u16 = 2;
const MACSEC_SA_ATTR_PN: u16 = 3;
const MACSEC_SA_ATTR_KEY: u16 = 4;
const MACSEC_SA_ATTR_KEYID: u16 = 5;
const MACSEC_KEYID_LEN: usize = 16;

// Keep in sync with include/uapi/linux/if_team.h.
const TEAM_GENL_VERSION: u8 = 1;
const TEAM_CMD_OPTIONS_SET: u8 = 1;
const TEAM_ATTR_TEAM_IFINDEX: u16 = 1;
const TEAM_ATTR_LIST_OPTION: u16 = 2;
const TEAM_ATTR_ITEM_OPTION: u16 = 1;
const TEAM_ATTR_OPTION_NAME: u16 = 1;
const TEAM_ATTR_OPTION_TYPE: u16 = 3;
const TEAM_ATTR_OPTION_DATA: u16 = 4;
/// `NLA_U32` and `NLA_STRING` of the kernel's enum (include/net/netlink.h), which go over the wire here.
const NLA_U32: u8 = 3;
const NLA_STRING: u8 = 5;

/// What a nested attribute is marked with.
const NESTED: u16 = 1 << 15;

/// Asks it of a link.
///
/// # Errors
/// The kernel's refusal, or what is read back is not as asked.
pub async fn configure(bed: &Testbed, link: &Link) -> Result<(), OpError> {
    let device = &link.device;
    let features: Vec<(String, bool)> =
        link.extras.features.iter().map(|(name, on)| (name.to_string(), *on)).collect();
    if !features.is_empty() {
        ethtool::set_features(bed, device, &features)?;
    }
    let namespace = bed.namespaces.get(&device.ns).map_err(|error| netns_error("use a namespace", &error))?;
    for sysctl in &link.extras.sysctls {
        let what = format!("set {} of {device}", sysctl.name);
        let file = sysctl.name.file(device.name.as_str());
        let set = namespace.set_link_sysctl(&file, &sysctl.value);
        set.map_err(|error| netns_error(&what, &error))?;
    }
    for (row, value) in link.extras.common.rows(LINK_OPTIONS) {
        let Value::Number(number) = value else { continue };
        match row.wire {
            Wire::Interface { flag, inverted } => {
                set_flag(bed, device, (row.key, flag), (number != 0) != inverted).await?
            }
            Wire::SysFile(name) => set_file(bed, device, name, number != 0)?,
            Wire::Speed => ethtool::set_speed(bed, device, u32::try_from(number).unwrap_or(u32::MAX))?,
            _ if row.key == "carrier" => set_carrier(bed, device, number != 0).await?,
            _ if row.key == "proto_down" => set_proto_down(bed, device, number != 0).await?,
            _ => {}
        }
    }
    match &link.extras.team {
        Some(team) => set_mode(bed, device, team).await,
        None => Ok(()),
    }
}

async fn set_flag(
    bed: &Testbed,
    device: &DeviceRef,
    (key, flag): (&str, u32),
    on: bool,
) -> Result<(), OpError> {
    let what = format!("set {key} of {device}");
    let flags = LinkFlags::from_bits_retain(flag);
    links::set(bed, device, what, |message| {
        message.header.flags.set(flags, on);
        message.header.change_mask |= flags;
    })
    .await
}

async fn set_carrier(bed: &Testbed, device: &DeviceRef, on: bool) -> Result<(), OpError> {
    let what = format!("set carrier of {device} {}", if on { "on" } else { "off" });
    links::set(bed, device, what, |message: &mut LinkMessage| {
        message.attributes.push(LinkAttribute::Carrier(u8::from(on)));
    })
    .await
}

async fn set_proto_down(bed: &Testbed, device: &DeviceRef, on: bool) -> Result<(), OpError> {
    let what = format!("set proto_down of {device} {}", if on { "on" } else { "off" });
    links::set(bed, device, what, |message: &mut LinkMessage| {
        message.attributes.push(LinkAttribute::ProtoDown(u8::from(on)));
    })
    .await
}

fn set_file(bed: &Testbed, device: &DeviceRef, name: &str, on: bool) -> Result<(), OpError> {
    let what = format!("set {name} of {device}");
    let namespace = bed.namespaces.get(&device.ns).map_err(|error| netns_error(&what, &error))?;
    let file = format!("{}/{name}", device.name);
    let value = if on { "1" } else { "0" };
    namespace.write_sys_class_net(&file, value).map_err(|error| netns_error(&what, &error))?;
    let is = namespace.read_sys_class_net(&file).map_err(|error| netns_error(&what, &error))?;
    if is.trim() == value {
        return Ok(());
    }
    let text = format!("asked {value}, is {}", is.trim());
    Err(OpError { what, errno: None, text: Some(text) })
}

/// Makes an association of a MACsec device in each direction. Packet numbers start at 1.
///
/// # Errors
/// The kernel's refusal: ENOENT where it does not have the cipher.
pub async fn secure(bed: &Testbed, device: &DeviceRef, macsec: &Macsec) -> Result<(), OpError> {
    let index = bed.index(device).await?;
    let peer = mac_of(bed, &macsec.peer).await?;
    let sci = [&peer.0[..], &macsec.peer_port.to_be_bytes()].concat();
    let own_sa = bed_sa(bed, device).await?;
    let device_attribute = attribute(MACSEC_ATTR_IFINDEX, &index.to_ne_bytes());
    let channel = attribute(
        MACSEC_ATTR_RXSC_CONFIG | NESTED,
        &[attribute(MACSEC_RXSC_ATTR_SCI, &sci), attribute(MACSEC_RXSC_ATTR_ACTIVE, &[1])].concat(),
    );
    let receive = [device_attribute.clone(), channel.clone(), association(macsec, macsec.peer_sa)].concat();
    let send = [device_attribute.clone(), association(macsec, own_sa)].concat();
    let steps = [
        ("make the receive channel", MACSEC_CMD_ADD_RXSC, [device_attribute, channel].concat()),
        ("make the receive association", MACSEC_CMD_ADD_RXSA, receive),
        ("make the transmit association", MACSEC_CMD_ADD_TXSA, send),
    ];
    for (verb, command, attributes) in steps {
        let what = format!("{verb} of {device}");
        ask(bed, device, what, || generic("macsec", command, MACSEC_GENL_VERSION, &attributes))?;
    }
    Ok(())
}

/// The association that the device sends with (IFLA_MACSEC_ENCODING_SA), as the kernel has it.
async fn bed_sa(bed: &Testbed, device: &DeviceRef) -> Result<u8, OpError> {
    use netlink_packet_route::link::{InfoData, InfoMacSec, LinkInfo};
    let found = bed.rtnl(&device.ns)?.link(&device.name).await;
    let link = found.map_err(|error| error.during(format!("read the association of {device}")))?;
    let infos = link.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::LinkInfo(infos) => Some(infos),
        _ => None,
    });
    let sa = infos.into_iter().flatten().find_map(|info| match info {
        LinkInfo::Data(InfoData::MacSec(data)) => data.iter().find_map(|attribute| match attribute {
            InfoMacSec::EncodingSa(sa) => Some(*sa),
            _ => None,
        }),
        _ => None,
    });
    Ok(sa.unwrap_or(0))
}

fn association(macsec: &Macsec, number: u8) -> Vec<u8> {
    let inside = [
        attribute(MACSEC_SA_ATTR_AN, &[number]),
        attribute(MACSEC_SA_ATTR_ACTIVE, &[1]),
        attribute(MACSEC_SA_ATTR_PN, &1_u32.to_ne_bytes()),
        attribute(MACSEC_SA_ATTR_KEYID, &[0; MACSEC_KEYID_LEN]),
        attribute(MACSEC_SA_ATTR_KEY, &macsec.key.0),
    ];
    attribute(MACSEC_ATTR_SA_CONFIG | NESTED, &inside.concat())
}

/// The kernel looks at a team's mode before it takes a port (`team_port_add()`), and a mode at its port.
async fn set_mode(bed: &Testbed, device: &DeviceRef, team: &Team) -> Result<(), OpError> {
    let index = bed.index(device).await?;
    if let Some(port) = &team.active_port {
        let port = bed.index(&DeviceRef::new(&device.ns, port)).await?;
        let what = format!("set the active port of {device}");
        return set_option(bed, device, what, index, ("activeport", NLA_U32, &port.to_ne_bytes()));
    }
    Ok(())
}

/// Sets the mode of a team that has no port yet.
///
/// # Errors
/// The kernel's refusal.
pub async fn set_team_mode(bed: &Testbed, link: &Link) -> Result<(), OpError> {
    let Some(team) = &link.extras.team else { return Ok(()) };
    let index = bed.index(&link.device).await?;
    let what = format!("set the mode of {} to {}", link.device, team.mode);
    let word = [team.mode.word().as_bytes(), &[0]].concat();
    set_option(bed, &link.device, what, index, ("mode", NLA_STRING, &word))
}

/// Tries a mode at the team that was made to try the kind (`try-team`), in the calling thread's namespace.
///
/// # Errors
/// The kernel does not have that mode.
pub fn try_team_mode(mode: &str) -> io::Result<()> {
    let index = nix::net::if_::if_nametoindex("try-team")?;
    let word = [mode.as_bytes(), &[0]].concat();
    let attributes = option_attributes(index, ("mode", NLA_STRING, &word));
    set_team_option(&attributes).map(|_| ())
}

fn set_option(
    bed: &Testbed,
    device: &DeviceRef,
    what: String,
    index: u32,
    option: (&str, u8, &[u8]),
) -> Result<(), OpError> {
    let attributes = option_attributes(index, option);
    ask(bed, device, what, || set_team_option(&attributes))
}

/// The kernel sets an option and then tells the listeners; ESRCH is that there is none (`nlmsg_multicast()`).
fn set_team_option(attributes: &[u8]) -> io::Result<Vec<Vec<u8>>> {
    match generic("team", TEAM_CMD_OPTIONS_SET, TEAM_GENL_VERSION, attributes) {
        Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Ok(Vec::new()),
        answer => answer,
    }
}

fn option_attributes(index: u32, (name, kind, data): (&str, u8, &[u8])) -> Vec<u8> {
    let option = [
        attribute(TEAM_ATTR_OPTION_NAME, &[name.as_bytes(), &[0]].concat()),
        attribute(TEAM_ATTR_OPTION_TYPE, &[kind]),
        attribute(TEAM_ATTR_OPTION_DATA, data),
    ];
    let item = attribute(TEAM_ATTR_ITEM_OPTION | NESTED, &option.concat());
    [
        attribute(TEAM_ATTR_TEAM_IFINDEX, &index.to_ne_bytes()),
        attribute(TEAM_ATTR_LIST_OPTION | NESTED, &item),
    ]
    .concat()
}

fn ask(
    bed: &Testbed,
    device: &DeviceRef,
    what: String,
    request: impl FnOnce() -> io::Result<Vec<Vec<u8>>> + Send,
) -> Result<(), OpError> {
    let answered = bed.namespaces.enter(&device.ns, request).map_err(|error| netns_error(&what, &error))?;
    answered.map(|_| ()).map_err(|error| OpError {
        what,
        errno: error.raw_os_error().map(errno_name),
        text: error.raw_os_error().is_none().then(|| error.to_string()),
    })
}
