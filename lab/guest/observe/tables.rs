//! Addresses and routes, as rtnetlink shows them.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use netlink_packet_route::address::AddressMessage;
use netlink_packet_route::link::{LinkAttribute, LinkMessage};
use netlink_packet_route::route::{RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteType};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use crate::agent::testbed::Testbed;
use crate::device::verify;
use crate::syscall::rtnl::{Rtnl, RtnlError};
use bondlab_core::net::address::Cidr;
use bondlab_core::net::ip_address;
use bondlab_core::net::ip_address::IpAddrOutput;
use bondlab_core::net::name::{DeviceRef, IfName, NsName};
use bondlab_core::net::route::Route;
use bondlab_core::plan::record::{OpError, Tables};

/// Reads the addresses of all devices and the IPv4 routes of all namespaces.
///
/// # Errors
/// No complete answer.
pub async fn read(bed: &Testbed) -> Result<Tables, OpError> {
    let mut tables = Tables::default();
    for (ns, rtnl) in bed.sockets() {
        let read = read_one(ns, rtnl, &mut tables).await;
        read.map_err(|error| error.during(format!("read addresses and routes of {ns}")))?;
    }
    Ok(tables)
}

async fn read_one(ns: &NsName, rtnl: &Rtnl, tables: &mut Tables) -> Result<(), RtnlError> {
    let mut names: BTreeMap<u32, IfName> = BTreeMap::new();
    let links = rtnl.links().await?;
    for link in &links {
        let name = link.attributes.iter().find_map(|attribute| match attribute {
            LinkAttribute::IfName(name) => name.parse().ok(),
            _ => None,
        });
        names.extend(name.map(|name| (link.header.index, name)));
    }
    for answer in rtnl.dump(RouteNetlinkMessage::GetAddress(AddressMessage::default())).await? {
        let RouteNetlinkMessage::NewAddress(message) = answer else { continue };
        if let (Some(name), Some(cidr)) = (names.get(&message.header.index), verify::cidr(&message)) {
            tables.addresses.entry(DeviceRef::new(ns, name)).or_default().push(cidr);
        }
    }
    let mut message = RouteMessage::default();
    message.header.address_family = AddressFamily::Inet;
    let mut routes = Vec::new();
    for answer in rtnl.dump(RouteNetlinkMessage::GetRoute(message)).await? {
        let RouteNetlinkMessage::NewRoute(message) = answer else { continue };
        let header = &message.header;
        if header.table == RouteHeader::RT_TABLE_MAIN && header.kind == RouteType::Unicast {
            routes.push(route(&message, &names));
        }
    }
    tables.routes.insert(ns.clone(), routes);
    let addresses = |name: &str| {
        let here =
            tables.addresses.iter().find(|(device, _)| device.ns == *ns && device.name.as_str() == name);
        here.map(|(_, all)| all.iter().filter(|cidr| cidr.address.is_ipv4()).copied().collect())
    };
    let all = links.iter().map(|link| {
        let device = shown(link, &names);
        IpAddrOutput { inet: addresses(&device.name).unwrap_or_default(), ..device }
    });
    let all = all.collect();
    tables.shown.insert(ns.clone(), all);
    Ok(())
}

/// As print_linkinfo() of iproute2 prints a device.
fn shown(link: &LinkMessage, names: &BTreeMap<u32, IfName>) -> IpAddrOutput {
    let name_of = |index: &u32| names.get(index).map(ToString::to_string);
    let mut shown = IpAddrOutput {
        flags: ip_address::printed_flags(link.header.flags.bits()),
        ..IpAddrOutput::default()
    };
    let (mut below, mut is_elsewhere) = (None, false);
    for attribute in &link.attributes {
        match attribute {
            LinkAttribute::IfName(name) => shown.name.clone_from(name),
            LinkAttribute::Link(index) if *index != 0 => below = Some(index),
            LinkAttribute::LinkNetNsId(_) => is_elsewhere = true,
            LinkAttribute::Mtu(mtu) => shown.mtu = *mtu,
            LinkAttribute::Qdisc(kind) => shown.qdisc.clone_from(kind),
            LinkAttribute::Controller(index) => shown.controller = name_of(index),
            LinkAttribute::OperState(state) => shown.state = state.to_string(),
            LinkAttribute::TxQueueLen(len) => shown.qlen = Some(*len),
            LinkAttribute::Address(bytes) => {
                let bytes: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
                shown.mac = bytes.join(":");
            }
            _ => {}
        }
    }
    shown.on = below.map(|index| name_of(index).filter(|_| !is_elsewhere).unwrap_or_else(|| "if".into()));
    shown
}

fn route(message: &RouteMessage, names: &BTreeMap<u32, IfName>) -> Route {
    let prefix = message.header.destination_prefix_length;
    let mut route = Route::new(None, None, None);
    let v4 = |address: &RouteAddress| match address {
        RouteAddress::Inet(address) => Some(IpAddr::V4(*address)),
        _ => None,
    };
    if prefix > 0 {
        // A route to 0.0.0.0/5 has no destination attribute: all its bytes are zero (fib_dump_info()).
        route.to = Some(Cidr { address: Ipv4Addr::UNSPECIFIED.into(), prefix });
    }
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Destination(to) => {
                route.to = v4(to).filter(|_| prefix > 0).map(|address| Cidr { address, prefix });
            }
            RouteAttribute::Gateway(via) => route.via = v4(via),
            RouteAttribute::Oif(index) => route.dev = names.get(index).cloned(),
            _ => {}
        }
    }
    route
}
