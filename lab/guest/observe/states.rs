//! The state of links, as rtnetlink shows it.

use netlink_packet_route::link::{
    BondAdInfo, BondMode, BondPortState, InfoBond, InfoBondPort, InfoData, InfoPortData, LinkAttribute,
    LinkFlags, LinkInfo, LinkMessage, MiiStatus,
};

use crate::agent::testbed::Testbed;
use crate::device::links::LOOPBACK_IFINDEX;
use crate::syscall::rtnl::RtnlError;
use bondlab_core::net::address::Mac;
use bondlab_core::net::link_state::{LinkState, LinkStates};
use bondlab_core::net::name::{DeviceRef, IfName, NsName};
use bondlab_core::plan::record::OpError;

/// Reads all links of all namespaces, `lo` left out.
///
/// # Errors
/// No complete answer.
pub async fn read(bed: &Testbed) -> Result<LinkStates, OpError> {
    let mut all = LinkStates::new();
    for (ns, rtnl) in bed.sockets() {
        let failed = |error: RtnlError| error.during(format!("read the state of the links of {ns}"));
        all.extend(of(ns, &rtnl.links().await.map_err(failed)?));
    }
    Ok(all)
}

/// The state of all links of one namespace, `lo` left out.
pub fn of(ns: &NsName, links: &[LinkMessage]) -> LinkStates {
    let own = links.iter().filter(|link| link.header.index != LOOPBACK_IFINDEX);
    own.filter_map(|link| Some((DeviceRef::new(ns, &name_of(link)?), state(link, links)))).collect()
}

/// The name of a link.
pub fn name_of(link: &LinkMessage) -> Option<IfName> {
    link.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::IfName(name) => name.parse().ok(),
        _ => None,
    })
}

fn state(link: &LinkMessage, all: &[LinkMessage]) -> LinkState {
    let flags = link.header.flags;
    let mut state = LinkState {
        up: flags.contains(LinkFlags::Up),
        carrier: flags.contains(LinkFlags::LowerUp),
        ..LinkState::default()
    };
    // With a namespace beside it the number is of a device there (rtnl_fill_link_netnsid()).
    let is_here = !link.attributes.iter().any(|it| matches!(it, LinkAttribute::LinkNetNsId(_)));
    let named = |index: u32| all.iter().find(|link| link.header.index == index).and_then(name_of);
    for attribute in &link.attributes {
        match attribute {
            LinkAttribute::Link(index) if is_here && *index != link.header.index => {
                state.lower = named(*index);
            }
            LinkAttribute::Address(bytes) => state.mac = <[u8; 6]>::try_from(&bytes[..]).ok().map(Mac),
            LinkAttribute::Mtu(mtu) => state.mtu = *mtu,
            LinkAttribute::Controller(index) => {
                state.controller = named(*index);
            }
            LinkAttribute::LinkInfo(infos) => infos.iter().for_each(|info| bonding(info, &mut state)),
            _ => {}
        }
    }
    state
}

/// What only a bond or its port has.
fn bonding(info: &LinkInfo, state: &mut LinkState) {
    match info {
        LinkInfo::Kind(kind) => state.kind = kind.to_string(),
        LinkInfo::PortData(InfoPortData::BondPort(port)) => {
            state.is_active = port.contains(&InfoBondPort::BondPortState(BondPortState::Active));
            state.is_link_up = port.contains(&InfoBondPort::MiiStatus(MiiStatus::Up));
        }
        LinkInfo::Data(InfoData::Bond(bond)) => {
            state.is_broadcast = bond.contains(&InfoBond::Mode(BondMode::Broadcast));
            let aggregators = bond.iter().filter_map(|attribute| match attribute {
                InfoBond::AdInfo(info) => Some(info),
                _ => None,
            });
            for info in aggregators.flatten() {
                match info {
                    BondAdInfo::NumPorts(ports) => state.aggregator_ports = *ports,
                    BondAdInfo::PartnerMac(mac) => state.has_partner = *mac != [0; 6],
                    _ => {}
                }
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(index: u32, name: &str, attributes: Vec<LinkAttribute>) -> LinkMessage {
        let mut link = LinkMessage::default();
        link.header.index = index;
        link.attributes = attributes;
        link.attributes.push(LinkAttribute::IfName(name.into()));
        link
    }

    #[test]
    fn a_bond_and_its_port_are_read() {
        let ad_info = InfoBond::AdInfo(vec![BondAdInfo::NumPorts(2), BondAdInfo::PartnerMac([2; 6])]);
        let active = InfoBondPort::BondPortState(BondPortState::Active);
        let mut port = link(
            3,
            "p0",
            vec![
                LinkAttribute::Controller(2),
                LinkAttribute::Mtu(1500),
                LinkAttribute::Address(vec![4; 6]),
                LinkAttribute::LinkInfo(vec![LinkInfo::PortData(InfoPortData::BondPort(vec![active]))]),
            ],
        );
        port.header.flags = LinkFlags::Up | LinkFlags::LowerUp;
        let bond_info = LinkInfo::Data(InfoData::Bond(vec![ad_info]));
        let bond = link(2, "bond0", vec![LinkAttribute::LinkInfo(vec![bond_info])]);
        let ns: NsName = "node".parse().unwrap();
        let found = of(&ns, &[link(1, "lo", vec![]), bond, port]);
        assert_eq!(found.len(), 2);
        let expected = LinkState {
            up: true,
            carrier: true,
            mtu: 1500,
            mac: Some(Mac([4; 6])),
            controller: Some("bond0".parse().unwrap()),
            is_active: true,
            ..LinkState::default()
        };
        assert_eq!(found[&"node:p0".parse::<DeviceRef>().unwrap()], expected);
        let bond = &found[&"node:bond0".parse::<DeviceRef>().unwrap()];
        assert_eq!((bond.aggregator_ports, bond.has_partner, bond.up), (2, true, false));
    }
}
