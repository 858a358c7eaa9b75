//! What a step asks of the kernel: one message, and what is there afterwards.

use std::net::IpAddr;

use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkMessage};

use crate::agent::testbed::{Testbed, netns_error};
use crate::device::{addresses, bond, ethtool, mdb, nic, tc};
use crate::observe::states;
use crate::traffic::membership;
use bondlab_core::net::bond::BondChange;
use bondlab_core::net::name::DeviceRef;
use bondlab_core::plan::record::OpError;
use bondlab_core::topology::request::{ControllerRequest, LinkRequest, Request};

/// Asks for it, and reads it back.
///
/// # Errors
/// The kernel's refusal, or what is not as asked.
pub async fn perform(bed: &Testbed, request: &Request) -> Result<(), OpError> {
    match request {
        Request::Link { device, asked } => {
            let mac = match &asked.mac {
                // The device may be the one whose address is meant, and be gone from there afterwards.
                Some(source) => Some(addresses::mac_from(bed, source).await?),
                None => None,
            };
            change(bed, device, asked, mac).await?;
            read_back(bed, device, asked, mac).await
        }
        Request::Features { device, features } => ethtool::set_features(bed, device, features),
        Request::Plug { device, action } => tc::ask_plug(bed, device, *action).await,
        Request::Address { device, cidr, is_added: true } => addresses::add(bed, device, cidr).await,
        Request::Address { device, cidr, is_added: false } => addresses::delete(bed, device, cidr).await,
        Request::Multicast { device, entry, is_added: true } => mdb::add(bed, device, entry).await,
        Request::Multicast { device, entry, is_added: false } => mdb::delete(bed, device, entry).await,
        Request::Membership { device, group, joins: true } => join(bed, device, *group).await,
        Request::Membership { device, group, joins: false } => {
            bed.members.borrow_mut().remove(&(device.clone(), *group));
            Ok(())
        }
        Request::Route { ns, route, is_added: true } => addresses::add_route(bed, ns, route).await,
        Request::Route { ns, route, is_added: false } => addresses::delete_route(bed, ns, route).await,
        Request::Neighbour { ns, neighbour, is_added: true } => {
            addresses::add_neighbour(bed, ns, neighbour).await
        }
        Request::Neighbour { ns, neighbour, is_added: false } => {
            addresses::delete_neighbour(bed, ns, neighbour).await
        }
    }
}

async fn join(bed: &Testbed, device: &DeviceRef, group: IpAddr) -> Result<(), OpError> {
    let what = format!("join {group} by {device}");
    let index = bed.index(device).await?;
    let joined = bed.namespaces.enter(&device.ns, || membership::join(group, index));
    let joined = joined.map_err(|error| netns_error(&what, &error))?;
    let socket = joined.map_err(|error| nic::file_error(&what, &error))?;
    bed.members.borrow_mut().insert((device.clone(), group), socket);
    Ok(())
}

type Address = Option<bondlab_core::net::address::Mac>;

/// One RTM_NEWLINK message without NLM_F_CREATE, as `ip link set` sends it.
async fn change(bed: &Testbed, device: &DeviceRef, asked: &LinkRequest, mac: Address) -> Result<(), OpError> {
    let what = format!("set {device} {asked}");
    let mut message = LinkMessage::default();
    message.header.index = bed.index(device).await?;
    if let Some(up) = asked.up {
        message.header.flags.set(LinkFlags::Up, up);
        message.header.change_mask |= LinkFlags::Up;
    }
    let attributes = &mut message.attributes;
    attributes.extend(asked.mtu.map(LinkAttribute::Mtu));
    attributes.extend(mac.map(|mac| LinkAttribute::Address(mac.0.into())));
    attributes.extend(asked.txqueuelen.map(LinkAttribute::TxQueueLen));
    match &asked.controller {
        Some(ControllerRequest::Nobody) => attributes.push(LinkAttribute::Controller(0)),
        Some(ControllerRequest::Of(name)) => {
            let index = bed.index(&DeviceRef::new(&device.ns, name)).await?;
            attributes.push(LinkAttribute::Controller(index));
        }
        None => {}
    }
    attributes.extend(asked.name.as_ref().map(|name| LinkAttribute::IfName(name.as_str().into())));
    if let Some(ns) = &asked.ns {
        let namespace = bed.namespaces.get(ns).map_err(|error| netns_error(&what, &error))?;
        attributes.push(LinkAttribute::NetNsFd(namespace.raw_fd()));
    }
    if let Some(change) = &asked.change {
        attributes.push(LinkAttribute::LinkInfo(bond::infos_of(bed, device, change).await?));
    }
    let changed = bed.rtnl(&device.ns)?.change(RouteNetlinkMessage::NewLink(message), 0).await;
    // Also of a request that was refused: the kernel carries out what stands before what it refuses (`do_setlink()`).
    if asked.name.is_some() || asked.ns.is_some() {
        let moved = asked.moved(device);
        bed.rtnl(&device.ns)?.forget(&device.name);
        bed.rtnl(&moved.ns)?.forget(&moved.name);
    }
    changed.map_err(|error| {
        let of_bond = asked.change.as_ref().map(BondChange::values).unwrap_or_default();
        bond::refused(bed, &of_bond, error.during(what))
    })
}

async fn read_back(
    bed: &Testbed,
    device: &DeviceRef,
    asked: &LinkRequest,
    mac: Address,
) -> Result<(), OpError> {
    let moved = asked.moved(device);
    if let Some(change) = &asked.change {
        bond::read_back(bed, &moved, change).await?;
    }
    let what = format!("read back {asked} of {device}");
    let wrong = |text: String| OpError { what: what.clone(), errno: None, text: Some(text) };
    let links = bed.rtnl(&moved.ns)?.links().await.map_err(|error| error.during(&what))?;
    let of_ns = states::of(&moved.ns, &links);
    let Some(is) = of_ns.get(&moved) else { return Err(wrong(format!("{moved} is not there"))) };
    let mut out = Vec::new();
    let mut compare = |word: &str, asked: Option<String>, is: String| {
        if let Some(asked) = asked.filter(|asked| *asked != is) {
            out.push(format!("{word} asked {asked}, is {is}"));
        }
    };
    compare("up", asked.up.map(|up| up.to_string()), is.up.to_string());
    compare("mtu", asked.mtu.map(|mtu| mtu.to_string()), is.mtu.to_string());
    let shown = |mac: Address| mac.map(|mac| mac.to_string());
    // A bond gives a port that joins its own address.
    if asked.controller.is_none() {
        compare("address", shown(mac), shown(is.mac).unwrap_or_else(|| "none".into()));
    }
    let controller = asked.controller.as_ref().map(|controller| match controller {
        ControllerRequest::Nobody => "none".into(),
        ControllerRequest::Of(name) => name.to_string(),
    });
    compare("controller", controller, is.controller.as_ref().map_or("none".into(), ToString::to_string));
    let queue = links.iter().filter(|link| states::name_of(link).as_ref() == Some(&moved.name));
    let queue = queue.flat_map(|link| &link.attributes).find_map(|attribute| match attribute {
        LinkAttribute::TxQueueLen(len) => Some(len.to_string()),
        _ => None,
    });
    compare("txqueuelen", asked.txqueuelen.map(|len| len.to_string()), queue.unwrap_or_default());
    if out.is_empty() { Ok(()) } else { Err(wrong(format!("{moved}: {}", out.join("; ")))) }
}
