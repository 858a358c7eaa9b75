//! DHCP servers, resolved and checked.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use indexmap::IndexMap;

use crate::net::address::Cidr;
use crate::net::dhcp::Server;
use crate::net::link::Link;
use crate::net::name::DeviceRef;
use crate::topology::check::Checker;
use crate::topology::cni::{Ipam, Network};
use crate::topology::file::{At, DhcpTable, TopologyFile};

/// An hour: longer than any run.
const LEASE_S_DEFAULT: u32 = 3600;
/// A lease has to outlast a run, for the lab's client does not renew it.
const LEASE_S_MIN: u32 = 600;

/// Resolves all servers, by network.
pub fn resolve(
    file: &TopologyFile,
    networks: &IndexMap<String, Network>,
    links: &IndexMap<DeviceRef, Link>,
    checker: &mut Checker<'_>,
) -> BTreeMap<String, Server> {
    let mut servers = BTreeMap::new();
    for (name, table) in &file.dhcp {
        serves_a_network(name, networks, checker);
        checker.device(&table.device);
        let lease_s = table.lease_s.as_ref().map_or(LEASE_S_DEFAULT, |lease_s| lease_s.value);
        if let Some(at) = table.lease_s.as_ref().filter(|lease_s| lease_s.value < LEASE_S_MIN) {
            let hint = format!("give at least {LEASE_S_MIN}");
            checker.problem(&at.span, "a lease that could end within the run is not renewed", hint);
        }
        let Some((address, network)) = own_address(table, links, checker) else { continue };
        let server = Server {
            network: name.value.clone(),
            device: table.device.value.clone(),
            address,
            prefix: network.prefix,
            first: table.first.value,
            last: table.last.value,
            router: table.router.as_ref().map(|router| router.value),
            lease_s,
        };
        let addresses = [Some(&table.first), Some(&table.last), table.router.as_ref()];
        for at in addresses.into_iter().flatten() {
            if !network.contains(at.value.into()) {
                let message = format!("{} is not in the network of {}", at.value, table.device.value);
                checker.problem(&at.span, message, format!("choose one of {network}"));
            }
        }
        if server.first > server.last {
            checker.problem(&table.first.span, "the first address is above the last", "swap the two");
        }
        servers.insert(name.value.clone(), server);
    }
    servers
}

fn serves_a_network(name: &At<String>, networks: &IndexMap<String, Network>, checker: &mut Checker<'_>) {
    match networks.get(&name.value) {
        Some(network) if network.ipam == Some(Ipam::Dhcp) => {}
        Some(_) => {
            let message = format!("network `{}` takes no addresses from DHCP", name.value);
            checker.problem(&name.span, message, "give it ipam = { type = \"dhcp\" }");
        }
        None if checker.lost.name(&name.value) => {}
        None => {
            let known: Vec<String> = networks.keys().cloned().collect();
            checker.dangling(&name.span, "network", &name.value, &known);
        }
    }
}

/// The server's address is its device's, and so is the network.
fn own_address(
    table: &DhcpTable,
    links: &IndexMap<DeviceRef, Link>,
    checker: &mut Checker<'_>,
) -> Option<(Ipv4Addr, Cidr)> {
    let link = links.get(&table.device.value)?;
    let ipv4 = link.addresses.iter().find_map(|cidr| match cidr.address {
        IpAddr::V4(address) => Some((address, *cidr)),
        IpAddr::V6(_) => None,
    });
    if ipv4.is_none() && !checker.lost_of(&table.device.value, "addresses") {
        let message = format!("{} has no IPv4 address to answer from", table.device.value);
        checker.problem(&table.device.span, message, "give it one in `addresses`");
    }
    ipv4
}
