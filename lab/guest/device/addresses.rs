//! Addresses, routes, rules and neighbours.

use std::net::IpAddr;

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE};
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage};
use netlink_packet_route::link::LinkAttribute;
use netlink_packet_route::neighbour::{NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState};
use netlink_packet_route::route::{
    RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteMetric, RouteProtocol, RouteScope, RouteType,
};
use netlink_packet_route::rule::{RuleAction, RuleAttribute, RuleMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use crate::agent::testbed::Testbed;
use bondlab_core::net::address::{Cidr, Mac, MacSource};
use bondlab_core::net::link::Link;
use bondlab_core::net::name::{DeviceRef, NsName};
use bondlab_core::net::route::{Neighbour, Route, RouteKind, Rule};
use bondlab_core::plan::record::OpError;

/// Gives a device its addresses.
///
/// # Errors
/// The kernel's refusal of one of them.
pub async fn add_all(bed: &Testbed, link: &Link) -> Result<(), OpError> {
    for cidr in &link.addresses {
        add(bed, &link.device, cidr).await?;
    }
    Ok(())
}

async fn message_of(bed: &Testbed, device: &DeviceRef, cidr: &Cidr) -> Result<AddressMessage, OpError> {
    let mut message = AddressMessage::default();
    message.header.family = family(cidr.address);
    message.header.prefix_len = cidr.prefix;
    message.header.index = bed.index(device).await?;
    message.attributes.push(AddressAttribute::Local(cidr.address));
    message.attributes.push(AddressAttribute::Address(cidr.address));
    Ok(message)
}

/// Takes an address away from a device.
///
/// # Errors
/// The kernel's refusal.
pub async fn delete(bed: &Testbed, device: &DeviceRef, cidr: &Cidr) -> Result<(), OpError> {
    let message = message_of(bed, device, cidr).await?;
    let deleted = bed.rtnl(&device.ns)?.change(RouteNetlinkMessage::DelAddress(message), 0).await;
    deleted.map_err(|error| error.during(format!("delete address {cidr} of {device}")))
}

/// Gives a device an address.
///
/// # Errors
/// The kernel's refusal.
pub async fn add(bed: &Testbed, device: &DeviceRef, cidr: &Cidr) -> Result<(), OpError> {
    let mut message = message_of(bed, device, cidr).await?;
    if cidr.address.is_ipv6() {
        // Usable at once; the probes of duplicate address detection would be frames of the kernel's own.
        message.header.flags |= AddressHeaderFlags::Nodad;
        message.attributes.push(AddressAttribute::Flags(AddressFlags::Nodad));
    }
    let request = RouteNetlinkMessage::NewAddress(message);
    let added = bed.rtnl(&device.ns)?.change(request, NLM_F_CREATE | NLM_F_EXCL).await;
    added.map_err(|error| error.during(format!("add address {cidr} to {device}")))
}

/// Adds a route to the main table. Nothing is guessed: a route without next hop is on-link.
///
/// # Errors
/// The kernel's refusal.
pub async fn add_route(bed: &Testbed, ns: &NsName, route: &Route) -> Result<(), OpError> {
    put_route(bed, ns, route, NLM_F_CREATE | NLM_F_EXCL).await
}

/// Adds a route as plugins do (`RouteAddEcmp()` of vishvananda/netlink): before one that leads to the same, not instead.
///
/// # Errors
/// The kernel's refusal.
pub async fn prepend_route(bed: &Testbed, ns: &NsName, route: &Route) -> Result<(), OpError> {
    put_route(bed, ns, route, NLM_F_CREATE).await
}

/// Takes a route out of the main table.
///
/// # Errors
/// The kernel's refusal.
pub async fn delete_route(bed: &Testbed, ns: &NsName, route: &Route) -> Result<(), OpError> {
    let mut message = route_message(bed, ns, route).await?;
    // By network and device alone: `fib_table_delete()` and `ip6_route_del()` take any protocol and scope.
    message.header.protocol = RouteProtocol::Unspec;
    message.header.scope = RouteScope::NoWhere;
    let deleted = bed.rtnl(ns)?.change(RouteNetlinkMessage::DelRoute(message), 0).await;
    deleted.map_err(|error| error.during(format!("delete route {route} in {ns}")))
}

async fn put_route(bed: &Testbed, ns: &NsName, route: &Route, flags: u16) -> Result<(), OpError> {
    let message = route_message(bed, ns, route).await?;
    let request = RouteNetlinkMessage::NewRoute(message);
    let added = bed.rtnl(ns)?.change(request, flags).await;
    added.map_err(|error| {
        let to = route.to.map_or_else(|| "default".into(), |to| to.to_string());
        error.during(format!("add route {to} in {ns}"))
    })
}

async fn route_message(bed: &Testbed, ns: &NsName, route: &Route) -> Result<RouteMessage, OpError> {
    let ipv6 = match (&route.to, &route.via) {
        (Some(to), _) => to.address.is_ipv6(),
        (None, via) => via.is_some_and(|via| via.is_ipv6()),
    };
    let mut message = RouteMessage::default();
    let header = &mut message.header;
    header.address_family = if ipv6 { AddressFamily::Inet6 } else { AddressFamily::Inet };
    let extras = &route.extras;
    let kind = extras.kind.unwrap_or(RouteKind::Unicast);
    // A table over 255 is in an attribute, and RT_TABLE_UNSPEC here.
    header.table = extras.table.map_or(RouteHeader::RT_TABLE_MAIN, |table| u8::try_from(table).unwrap_or(0));
    header.protocol = RouteProtocol::Static;
    header.kind = RouteType::from(kind.number());
    let is_universal = route.via.is_some() || ipv6 || kind != RouteKind::Unicast;
    header.scope = if is_universal { RouteScope::Universe } else { RouteScope::Link };
    header.flags.set(RouteFlags::Onlink, extras.onlink);
    message.attributes.extend(extras.table.map(RouteAttribute::Table));
    message.attributes.extend(extras.metric.map(RouteAttribute::Priority));
    message.attributes.extend(extras.src.map(|src| RouteAttribute::PrefSource(src.into())));
    message.attributes.extend(extras.mtu.map(|mtu| RouteAttribute::Metrics(vec![RouteMetric::Mtu(mtu)])));
    let header = &mut message.header;
    if let Some(to) = &route.to {
        header.destination_prefix_length = to.prefix;
        message.attributes.push(RouteAttribute::Destination(to.address.into()));
    }
    message.attributes.extend(route.via.map(|via| RouteAttribute::Gateway(via.into())));
    if let Some(dev) = &route.dev {
        let index = bed.index(&DeviceRef::new(ns, dev)).await?;
        message.attributes.push(RouteAttribute::Oif(index));
    }
    Ok(message)
}

/// Adds a rule that chooses a routing table.
///
/// # Errors
/// The kernel's refusal.
pub async fn add_rule(bed: &Testbed, ns: &NsName, rule: &Rule) -> Result<(), OpError> {
    let mut message = RuleMessage::default();
    message.header.family = if rule.ipv6 { AddressFamily::Inet6 } else { AddressFamily::Inet };
    message.header.action = if rule.table.is_some() { RuleAction::ToTable } else { RuleAction::Unreachable };
    // A table over 255 is in an attribute alone, and RT_TABLE_UNSPEC here.
    message.header.table = rule.table.map_or(0, |table| u8::try_from(table).unwrap_or(0));
    if let Some(from) = &rule.from {
        message.header.src_len = from.prefix;
        message.attributes.push(RuleAttribute::Source(from.address));
    }
    if let Some(to) = &rule.to {
        message.header.dst_len = to.prefix;
        message.attributes.push(RuleAttribute::Destination(to.address));
    }
    let attributes = &mut message.attributes;
    attributes.push(RuleAttribute::Priority(rule.priority));
    attributes.extend(rule.table.map(RuleAttribute::Table));
    attributes.extend(rule.iif.as_ref().map(|name| RuleAttribute::Iifname(name.to_string())));
    attributes.extend(rule.oif.as_ref().map(|name| RuleAttribute::Oifname(name.to_string())));
    attributes.extend(rule.fwmark.map(RuleAttribute::FwMark));
    let request = RouteNetlinkMessage::NewRule(message);
    let added = bed.rtnl(ns)?.change(request, NLM_F_CREATE | NLM_F_EXCL).await;
    added.map_err(|error| error.during(format!("add rule {rule} in {ns}")))
}

/// Adds a neighbour.
///
/// # Errors
/// The kernel's refusal, or the device whose address is wanted has none.
pub async fn add_neighbour(bed: &Testbed, ns: &NsName, neighbour: &Neighbour) -> Result<(), OpError> {
    let mut message = NeighbourMessage::default();
    let mut shown = String::from("proxy");
    if let Some(source) = &neighbour.mac {
        let mac = mac_from(bed, source).await?;
        shown = format!("at {mac}");
        message.attributes.push(NeighbourAttribute::LinkLayerAddress(mac.0.into()));
    }
    message.header.family = family(neighbour.to);
    message.header.ifindex = bed.index(&DeviceRef::new(ns, &neighbour.dev)).await?;
    message.header.state = NeighbourState::from(neighbour.state.number());
    message.header.flags.set(NeighbourFlags::Proxy, neighbour.proxy);
    message.attributes.push(NeighbourAttribute::Destination(neighbour.to.into()));
    let request = RouteNetlinkMessage::NewNeighbour(message);
    let added = bed.rtnl(ns)?.change(request, NLM_F_CREATE | NLM_F_REPLACE).await;
    added.map_err(|error| {
        error.during(format!("add neighbour {} {shown} on {ns}:{}", neighbour.to, neighbour.dev))
    })
}

/// Takes a neighbour away.
///
/// # Errors
/// The kernel's refusal.
pub async fn delete_neighbour(bed: &Testbed, ns: &NsName, neighbour: &Neighbour) -> Result<(), OpError> {
    let mut message = NeighbourMessage::default();
    message.header.family = family(neighbour.to);
    message.header.ifindex = bed.index(&DeviceRef::new(ns, &neighbour.dev)).await?;
    message.attributes.push(NeighbourAttribute::Destination(neighbour.to.into()));
    let deleted = bed.rtnl(ns)?.change(RouteNetlinkMessage::DelNeighbour(message), 0).await;
    deleted.map_err(|error| {
        error.during(format!("delete neighbour {} dev {} in {ns}", neighbour.to, neighbour.dev))
    })
}

/// An Ethernet address that is written out, or that a device has now.
///
/// # Errors
/// The device is gone, or has none.
pub async fn mac_from(bed: &Testbed, source: &MacSource) -> Result<Mac, OpError> {
    match source {
        MacSource::Literal(mac) => Ok(*mac),
        MacSource::Of(device) => mac_of(bed, device).await,
    }
}

/// The Ethernet address a device has now.
///
/// # Errors
/// There is no such device, or it has none.
pub async fn mac_of(bed: &Testbed, device: &DeviceRef) -> Result<Mac, OpError> {
    let what = format!("read the address of {device}");
    let found = bed.rtnl(&device.ns)?.link(&device.name).await;
    let link = found.map_err(|error| error.during(&what))?;
    let mac = link.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::Address(bytes) => <[u8; 6]>::try_from(bytes.as_slice()).ok(),
        _ => None,
    });
    mac.map(Mac).ok_or_else(|| OpError { what, errno: None, text: Some("it has no Ethernet address".into()) })
}

fn family(address: IpAddr) -> AddressFamily {
    if address.is_ipv6() { AddressFamily::Inet6 } else { AddressFamily::Inet }
}
