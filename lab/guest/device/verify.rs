//! What was asked for against what is there: kernels ignore or adjust some of it without a word.
//!
//! Verified: kind, options of the kind, controller, peer, address, MTU, queue length, up, IP addresses, root
//! discipline. Not verified: routes and neighbours (the kernel refuses what it cannot do), what is in no topology.

use std::collections::BTreeMap;
use std::net::IpAddr;

use indexmap::IndexMap;
use netlink_packet_core::Nla;
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::link::{
    InfoBond, InfoBondPort, InfoBridge, InfoData, InfoIpVlan, InfoMacVlan, InfoPortData, InfoPortKind,
    InfoVlan, LinkAttribute, LinkFlags, LinkInfo, LinkMessage,
};
use netlink_packet_route::tc::{TcHandle, TcMessage};

use crate::agent::testbed::Testbed;
use crate::device::links::ipvlan;
use crate::device::option::Attributes;
use crate::device::{bond, option, tc};
use crate::syscall::rtnl::{Rtnl, RtnlError};
use bondlab_core::net::address::{Cidr, Mac};
use bondlab_core::net::link::{Link, LinkKind};
use bondlab_core::net::link_option::words::VirtualKind;
use bondlab_core::net::link_option::{BRIDGE_PORT_OPTIONS, LINK_OPTIONS, rows_of};
use bondlab_core::net::mode::VlanProtocol;
use bondlab_core::net::name::{DeviceRef, NsName, VlanId};
use bondlab_core::net::option::{Value, Wire};
use bondlab_core::net::qdisc::Qdisc;
use bondlab_core::plan::record::OpError;

/// Reads all links back and compares them with what was asked for.
///
/// # Errors
/// Every difference, by device and name; or no complete answer.
pub async fn verify(bed: &Testbed, links: &[Link]) -> Result<(), OpError> {
    let what = "read back what was made";
    let mut seen = Seen::default();
    for (ns, rtnl) in bed.sockets() {
        seen.read(ns, rtnl).await.map_err(|error| error.during(format!("{what} in {ns}")))?;
    }
    let differences: Vec<String> = links.iter().flat_map(|link| seen.differences(link, links)).collect();
    if differences.is_empty() {
        return Ok(());
    }
    bed.is_unsupported.set(differences.iter().all(|text| bond::is_unknown(text)));
    Err(OpError { what: what.into(), errno: None, text: Some(differences.join("; ")) })
}

/// What is there, by device.
#[derive(Debug, Default)]
struct Seen(IndexMap<DeviceRef, Got>);

/// A device as the kernel shows it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Got {
    index: u32,
    kind: String,
    data: Option<InfoData>,
    mac: Option<Mac>,
    /// What is shown of it as a bond's port.
    port_data: Vec<InfoBondPort>,
    /// The address a bond's port had before it joined (IFLA_BOND_SLAVE_PERM_HWADDR).
    mac_before_joining: Option<Mac>,
    /// Whether it is a team's port: most modes give it the team's address, and the kernel does not show its own
    /// (`team_port_set_team_dev_addr()`).
    is_of_team: bool,
    mtu: Option<u32>,
    /// What is shown of it that every link has, by attribute.
    common: Attributes,
    /// IFF_*.
    flags: u32,
    /// What is shown of its kind, by attribute.
    options: Attributes,
    /// What is shown of it as a bridge's port, by attribute.
    bridge_port: Attributes,
    txqueuelen: Option<u32>,
    up: bool,
    controller: Option<u32>,
    /// IFLA_LINK: the parent of a VLAN, the other end of a cable.
    link: Option<u32>,
    /// IFLA_LINK_NETNSID: that number is of another namespace.
    link_is_elsewhere: bool,
    addresses: Vec<Cidr>,
    /// Kind and options at the root.
    qdisc: Option<(String, Vec<u8>)>,
    /// Kind and options inside the root, where the lab put them, by class.
    children: BTreeMap<u16, (String, Vec<u8>)>,
}

impl Seen {
    async fn read(&mut self, ns: &NsName, rtnl: &Rtnl) -> Result<(), RtnlError> {
        let mut here: IndexMap<u32, (DeviceRef, Got)> = IndexMap::new();
        for link in rtnl.links().await? {
            if let Some((name, got)) = got(&link) {
                let name = name.parse().map_err(|_| RtnlError::Unexpected(format!("name {name}")))?;
                here.insert(got.index, (DeviceRef { ns: ns.clone(), name }, got));
            }
        }
        for answer in rtnl.dump(RouteNetlinkMessage::GetAddress(AddressMessage::default())).await? {
            let RouteNetlinkMessage::NewAddress(message) = answer else { continue };
            if let (Some((_, got)), Some(cidr)) = (here.get_mut(&message.header.index), cidr(&message)) {
                got.addresses.push(cidr);
            }
        }
        for qdisc in tc::dump(rtnl).await? {
            let device = u32::try_from(qdisc.header.index).ok().and_then(|index| here.get_mut(&index));
            match (device, qdisc.header.parent) {
                (Some((_, got)), TcHandle::ROOT) => got.qdisc = root(&qdisc),
                (Some((_, got)), parent) => {
                    let child = tc::class_of(parent).zip(root(&qdisc));
                    got.children.extend(child);
                }
                _ => {}
            }
        }
        self.0.extend(here.into_values());
        Ok(())
    }

    fn name_of(&self, ns: &NsName, index: u32) -> String {
        let found = self.0.iter().find(|(device, got)| device.ns == *ns && got.index == index);
        found.map_or_else(|| format!("device {index}"), |(device, _)| device.name.to_string())
    }

    fn differences(&self, asked: &Link, all: &[Link]) -> Vec<String> {
        let device = &asked.device;
        let Some(got) = self.0.get(device) else {
            return vec![format!("{device}: is not there")];
        };
        let mut out = attribute_differences(asked, got);
        out.extend(self.kind_differences(asked, got, all));
        let controller = all.iter().find(|link| link.has_port(device));
        let shown = |index| self.name_of(&device.ns, index);
        let asked_controller = controller.map(|link| link.device.name.to_string());
        out.extend(difference("controller", asked_controller, got.controller.map(shown)));
        out.into_iter().map(|text| format!("{device}: {text}")).collect()
    }

    /// A parent's name, as [`shown_from`] writes it. A number says nothing about another namespace: there, only
    /// whether it is the one that was asked for.
    fn parent_of(&self, ns: &NsName, index: u32, is_elsewhere: bool, asked: &DeviceRef) -> String {
        match is_elsewhere {
            false => self.name_of(ns, index),
            true if asked.ns != *ns && self.0.get(asked).is_some_and(|got| got.index == index) => {
                asked.to_string()
            }
            true => format!("device {index} of another namespace"),
        }
    }

    /// Options of its kind, and what it says of its ports as a bridge.
    fn option_differences(&self, asked: &Link, got: &Got) -> Vec<String> {
        let ns = &asked.device.ns;
        let mut out = Vec::new();
        let rows = rows_of(asked.kind.word());
        out.extend(option::differences(&asked.extras.options.rows(rows), &got.options));
        for (port, settings) in &asked.extras.ports {
            let is = self.0.get(&DeviceRef::new(ns, port)).map(|got| &got.bridge_port);
            let wrong =
                option::differences(&settings.options.rows(BRIDGE_PORT_OPTIONS), is.unwrap_or(&Vec::new()));
            out.extend(wrong.into_iter().map(|text| format!("port {port}: {text}")));
        }
        out
    }

    fn kind_differences(&self, asked: &Link, got: &Got, all: &[Link]) -> Vec<String> {
        let ns = &asked.device.ns;
        let name_of = |index| self.name_of(ns, index);
        let mut out = Vec::new();
        let kind = Some(got.kind.clone()).filter(|kind| !kind.is_empty());
        out.extend(difference("kind", asked.kind.info_kind().map(str::to_owned), kind));
        if let Some(parent) = asked.kind.parent() {
            let is = got.link.map(|index| self.parent_of(ns, index, got.link_is_elsewhere, parent));
            // A tunnel shows the device that it leaves by as an option, and IFLA_LINK only for some kinds.
            if !matches!(&asked.kind, LinkKind::Virtual(link) if link.kind != VirtualKind::Macsec) {
                out.extend(difference("parent", Some(shown_from(ns, parent)), is));
            }
        }
        out.extend(self.option_differences(asked, got));
        match (&asked.kind, &got.data) {
            // What a PF says of a VF was read back when it was said.
            (kind, _) if kind.has_no_options() => {}
            // The other end may have a name of chance: then it cannot be asked for by name.
            (LinkKind::Veth { peer }, _) if all.iter().all(|link| link.device != *peer) => {
                if got.link.is_none() {
                    out.push("is connected to nothing".into());
                }
            }
            (LinkKind::Veth { peer }, _) => {
                let index = self.0.get(peer).map(|peer| peer.index);
                if index.is_none() || index != got.link {
                    out.push(format!("is not connected to {peer}"));
                }
            }
            (LinkKind::Bond(bond), Some(InfoData::Bond(data))) => {
                out.extend(bond::differences(&bond.values(), data, name_of));
                for (port, options) in &bond.port_options {
                    let data = self.0.get(&DeviceRef::new(ns, port)).map(|got| got.port_data.as_slice());
                    let wrong = bond::differences(&options.values(), data.unwrap_or_default(), name_of);
                    out.extend(wrong.into_iter().map(|text| format!("port {port}: {text}")));
                }
            }
            (LinkKind::Vlan { id, protocol, .. }, Some(InfoData::Vlan(data))) => {
                out.extend(vlan_differences(*id, *protocol, data));
            }
            (LinkKind::Ipvlan { mode, flag, .. }, Some(data @ InfoData::IpVlan(_))) => {
                out.extend(ipvlan_difference(&ipvlan(*mode, *flag), data));
            }
            (LinkKind::Macvlan { mode, .. }, Some(InfoData::MacVlan(data))) => {
                let is = data.iter().find_map(|attribute| match attribute {
                    InfoMacVlan::Mode(mode) => Some(mode.to_string()),
                    _ => None,
                });
                out.extend(difference("mode", Some(mode.to_string()), is));
            }
            (LinkKind::Bridge { vlan_filtering, .. }, Some(InfoData::Bridge(data))) => {
                // Without CONFIG_BRIDGE_VLAN_FILTERING it is not shown, and off.
                let is = data.contains(&InfoBridge::VlanFiltering(true));
                out.extend(difference(
                    "vlan_filtering",
                    Some(vlan_filtering.to_string()),
                    Some(is.to_string()),
                ));
            }
            // Compared above, by their rows.
            (LinkKind::Virtual(_), Some(_)) => {}
            _ => out.push("the kernel does not show its options".into()),
        }
        out
    }
}

/// A device's name, with its namespace where that is not `ns`.
fn shown_from(ns: &NsName, device: &DeviceRef) -> String {
    if device.ns == *ns { device.name.to_string() } else { device.to_string() }
}

fn vlan_differences(id: VlanId, protocol: VlanProtocol, data: &[InfoVlan]) -> Vec<String> {
    let (mut got_id, mut got_protocol) = (None, None);
    for attribute in data {
        match attribute {
            InfoVlan::Id(id) => got_id = Some(id.to_string()),
            InfoVlan::Protocol(protocol) => got_protocol = Some(protocol.to_string()),
            _ => {}
        }
    }
    let id = difference("vlan id", Some(id.get().to_string()), got_id);
    id.into_iter().chain(difference("vlan protocol", Some(protocol.to_string()), got_protocol)).collect()
}

fn ipvlan_difference(asked: &InfoData, is: &InfoData) -> Option<String> {
    let shown = |data: &InfoData| {
        let InfoData::IpVlan(attributes) = data else { return None };
        let shown = attributes.iter().filter_map(|attribute| match attribute {
            InfoIpVlan::Mode(mode) => Some(format!("mode {mode}")),
            InfoIpVlan::Flags(flags) => Some(format!("flags {}", flags.bits())),
            _ => None,
        });
        Some(shown.collect::<Vec<_>>().join(", "))
    };
    difference("ipvlan", shown(asked), shown(is))
}

/// What every kind of link has.
fn attribute_differences(asked: &Link, got: &Got) -> Vec<String> {
    let mut out = Vec::new();
    let text = |number: Option<u32>| number.map(|number| number.to_string());
    if let Some(mac) = asked.mac.filter(|_| !got.is_of_team) {
        // A bond gives its ports its own address; each keeps the one it was made with as its permanent one.
        let is = got.mac_before_joining.or(got.mac);
        out.extend(difference("mac", Some(mac.to_string()), is.map(|mac| mac.to_string())));
    }
    if asked.mtu.is_some() {
        out.extend(difference("mtu", text(asked.mtu), text(got.mtu)));
    }
    if asked.txqueuelen.is_some() {
        out.extend(difference("txqueuelen", text(asked.txqueuelen), text(got.txqueuelen)));
    }
    out.extend(option::differences(&asked.extras.common.rows(LINK_OPTIONS), &got.common));
    out.extend(flag_differences(asked, got.flags));
    let state = |up| Some(String::from(if up { "up" } else { "down" }));
    out.extend(difference("state", state(asked.up), state(got.up)));
    for cidr in asked.addresses.iter().filter(|cidr| !got.addresses.contains(cidr)) {
        out.push(format!("address {cidr} is not there"));
    }
    if let Some(qdisc) = &asked.qdisc {
        out.extend(qdisc_differences(qdisc, got.qdisc.as_ref()));
        let children = qdisc.children().into_iter();
        out.extend(children.flat_map(|(class, child)| qdisc_differences(child, got.children.get(&class))));
    }
    out
}

/// Flags of the device that are asked for.
fn flag_differences(asked: &Link, flags: u32) -> Vec<String> {
    let mut out = Vec::new();
    for (row, value) in asked.extras.common.rows(LINK_OPTIONS) {
        if let (Wire::Interface { flag, inverted }, Value::Number(number)) = (row.wire, value) {
            let is = (flags & flag != 0) != inverted;
            let wanted = (number != 0).to_string();
            out.extend(difference(row.key, Some(wanted), Some(is.to_string())));
        }
    }
    out
}

fn qdisc_differences(asked: &Qdisc, got: Option<&(String, Vec<u8>)>) -> Vec<String> {
    let is = got.map(|(kind, _)| kind.clone());
    match (difference("qdisc", Some(asked.kind().into()), is), got) {
        (None, Some((_, options))) => tc::options::differences(asked, options),
        (wrong, _) => wrong.into_iter().collect(),
    }
}

fn difference(what: &str, asked: Option<String>, is: Option<String>) -> Option<String> {
    let shown = |value: Option<String>| value.unwrap_or_else(|| "none".into());
    (asked != is).then(|| format!("{what} asked {}, is {}", shown(asked), shown(is)))
}

/// A device's name and state out of a link message.
fn got(link: &LinkMessage) -> Option<(&str, Got)> {
    let mac = |bytes: &[u8]| <[u8; 6]>::try_from(bytes).ok().map(Mac);
    let mut name = None;
    let mut got = Got { index: link.header.index, ..Got::default() };
    got.up = link.header.flags.contains(LinkFlags::Up);
    got.flags = link.header.flags.bits();
    got.common = option::of_message(&link.attributes, LINK_OPTIONS);
    let mut infos = None;
    for attribute in &link.attributes {
        match attribute {
            LinkAttribute::IfName(text) => name = Some(text.as_str()),
            LinkAttribute::Address(bytes) => got.mac = mac(bytes),
            LinkAttribute::Mtu(mtu) => got.mtu = Some(*mtu),
            LinkAttribute::TxQueueLen(len) => got.txqueuelen = Some(*len),
            LinkAttribute::Controller(index) => got.controller = Some(*index),
            LinkAttribute::Link(index) => got.link = Some(*index),
            LinkAttribute::LinkNetNsId(_) => got.link_is_elsewhere = true,
            LinkAttribute::LinkInfo(list) => infos = Some(list),
            _ => {}
        }
    }
    for info in infos.into_iter().flatten() {
        match info {
            LinkInfo::Kind(kind) => got.kind = kind.to_string(),
            LinkInfo::Data(data) => {
                got.options = option::of_bytes(&value(data));
                got.data = Some(data.clone());
            }
            LinkInfo::PortKind(kind) => got.is_of_team = *kind == InfoPortKind::Team,
            LinkInfo::PortData(InfoPortData::BridgePort(port)) => {
                got.bridge_port = option::of_message(port, BRIDGE_PORT_OPTIONS);
            }
            LinkInfo::PortData(InfoPortData::BondPort(port)) => {
                got.port_data.clone_from(port);
                got.mac_before_joining = port.iter().find_map(|attribute| match attribute {
                    InfoBondPort::PermHwaddr(bytes) => mac(bytes),
                    _ => None,
                });
            }
            _ => {}
        }
    }
    name.map(|name| (name, got))
}

/// The value of an attribute as the kernel wrote it.
fn value(nla: &impl Nla) -> Vec<u8> {
    let mut bytes = vec![0; nla.value_len()];
    nla.emit_value(&mut bytes);
    bytes
}

/// The active port of a bond, by number; 0 and `None` are no port.
pub(crate) fn active_port(link: &LinkMessage) -> Option<u32> {
    let (_, got) = got(link)?;
    let Some(InfoData::Bond(data)) = got.data else { return None };
    data.iter().find_map(|attribute| match attribute {
        InfoBond::ActivePort(index) if *index != 0 => Some(*index),
        _ => None,
    })
}

/// The mode of a bond, by number; `None` for another kind of link.
pub(crate) fn bond_mode(link: &LinkMessage) -> Option<u8> {
    let (_, got) = got(link)?;
    let Some(InfoData::Bond(data)) = got.data else { return None };
    data.iter().find_map(|attribute| match attribute {
        InfoBond::Mode(mode) => Some(u8::from(*mode)),
        _ => None,
    })
}

pub(crate) fn cidr(message: &AddressMessage) -> Option<Cidr> {
    let find = |wanted: fn(&AddressAttribute) -> Option<IpAddr>| message.attributes.iter().find_map(wanted);
    // IPv4 has its own address in IFA_LOCAL; IPv6 has that only with a peer (inet6_fill_ifaddr()).
    let local = find(|attribute| match attribute {
        AddressAttribute::Local(address) => Some(*address),
        _ => None,
    });
    let address = find(|attribute| match attribute {
        AddressAttribute::Address(address) => Some(*address),
        _ => None,
    });
    Some(Cidr { address: local.or(address)?, prefix: message.header.prefix_len })
}

fn root(qdisc: &TcMessage) -> Option<(String, Vec<u8>)> {
    Some((tc::kind(qdisc)?.to_owned(), tc::options_of(qdisc)))
}

#[cfg(test)]
mod tests {
    use netlink_packet_route::link::{self, BondLacpRate, BondMode};

    use super::*;
    use bondlab_core::topology::Topology;

    const TOPOLOGY: &str = r#"
        [ns.node.dummy.d0]
        mtu = 9000
        txqueuelen = 10
        [ns.node.bond.bond0]
        mode = "802.3ad"
        lacp_rate = "fast"
        ports = ["d0"]
        qdisc = { kind = "pfifo", limit = 5 }
        [ns.node.vlan."bond0.70"]
        parent = "bond0"
        id = 70
        addresses = ["192.0.2.1/24"]
        [ns.node.veth.eth0]
        peer = "far:eth0"
        up = false
        [ns.far.veth.eth0]
        peer = "node:eth0"
    "#;

    fn links() -> Vec<Link> {
        let topology = Topology::parse("t", "t.toml", TOPOLOGY).unwrap_or_else(|errors| panic!("{errors}"));
        topology.links.into_values().collect()
    }

    /// A kernel that did all that was asked.
    fn as_asked() -> Seen {
        let links = links();
        let index = |device: &str| {
            let place = links.iter().position(|link| link.device.to_string() == device).unwrap();
            Some(place as u32 + 2)
        };
        let data = |link: &Link| match &link.kind {
            LinkKind::Bond(_) => {
                let fast = [InfoBond::Mode(BondMode::Ieee8023Ad), InfoBond::AdLacpRate(BondLacpRate::Fast)];
                Some(InfoData::Bond(fast.into()))
            }
            LinkKind::Vlan { id, .. } => Some(InfoData::Vlan(vec![
                InfoVlan::Id(id.get()),
                InfoVlan::Protocol(link::VlanProtocol::Ieee8021Q),
            ])),
            _ => None,
        };
        let got = |link: &Link| {
            let device = link.device.to_string();
            let got = Got {
                index: index(&device).unwrap(),
                kind: link.kind.word().into(),
                data: data(link),
                mac: link.mac,
                port_data: Vec::new(),
                mac_before_joining: None,
                is_of_team: false,
                mtu: link.mtu.or(Some(1500)),
                common: Vec::new(),
                flags: 0,
                options: Vec::new(),
                bridge_port: Vec::new(),
                txqueuelen: link.txqueuelen.or(Some(1000)),
                up: link.up,
                controller: index("node:bond0").filter(|_| device == "node:d0"),
                link: match device.as_str() {
                    "node:eth0" => index("far:eth0"),
                    "far:eth0" => index("node:eth0"),
                    "node:bond0.70" => index("node:bond0"),
                    _ => None,
                },
                link_is_elsewhere: false,
                addresses: link.addresses.clone(),
                qdisc: link.qdisc.as_ref().map(|q| (q.kind().into(), tc::options::encode(q).unwrap())),
                children: BTreeMap::new(),
            };
            (link.device.clone(), got)
        };
        Seen(links.iter().map(got).collect())
    }

    /// What is found when `device` is not as asked but changed by `change`.
    fn check(device: &str, change: impl FnOnce(&mut Got)) -> Vec<String> {
        let mut seen = as_asked();
        let device: DeviceRef = device.parse().unwrap();
        change(seen.0.get_mut(&device).unwrap());
        let links = links();
        links.iter().flat_map(|link| seen.differences(link, &links)).collect()
    }

    #[test]
    fn what_is_as_asked_has_no_difference() {
        assert_eq!(check("node:d0", |_| {}), [""; 0]);
        // A bond's port shows the bond's address, and its own as the permanent one.
        let joined = check("node:d0", |got| {
            got.mac_before_joining = got.mac.replace(Mac([2; 6]));
        });
        assert_eq!(joined, [""; 0]);
    }

    #[test]
    fn every_difference_is_named() {
        let rate = |got: &mut Got| {
            let slow = [InfoBond::Mode(BondMode::Ieee8023Ad), InfoBond::AdLacpRate(BondLacpRate::Slow)];
            got.data = Some(InfoData::Bond(slow.into()));
        };
        let unknown = |got: &mut Got| {
            got.data = Some(InfoData::Bond(vec![InfoBond::Mode(BondMode::Ieee8023Ad)]));
        };
        for (found, expected) in [
            (check("node:bond0", rate), "node:bond0: lacp_rate asked fast, is slow"),
            (
                check("node:bond0", unknown),
                "node:bond0: lacp_rate asked fast, but this kernel does not know it",
            ),
            (check("node:bond0", |got| got.data = None), "node:bond0: the kernel does not show its options"),
            (check("node:bond0", |got| got.qdisc = None), "node:bond0: qdisc asked pfifo, is none"),
            (
                check("node:bond0", |got| got.qdisc = Some(("pfifo".into(), vec![6, 0, 0, 0]))),
                "node:bond0: qdisc limit asked 5, is 6",
            ),
            (check("node:d0", |got| got.mtu = Some(1500)), "node:d0: mtu asked 9000, is 1500"),
            (check("node:d0", |got| got.txqueuelen = None), "node:d0: txqueuelen asked 10, is none"),
            (check("node:d0", |got| got.controller = None), "node:d0: controller asked bond0, is none"),
            (check("node:d0", |got| got.kind = "ifb".into()), "node:d0: kind asked dummy, is ifb"),
            (
                check("node:d0", |got| got.mac = Some(Mac([2; 6]))),
                "node:d0: mac asked 02:00:5e:00:00:02, is 02:02:02:02:02:02",
            ),
            (check("node:bond0.70", |got| got.link = None), "node:bond0.70: parent asked bond0, is none"),
            (
                check("node:bond0.70", |got| got.data = Some(InfoData::Vlan(vec![InfoVlan::Id(71)]))),
                "node:bond0.70: vlan id asked 70, is 71",
            ),
            (
                check("node:bond0.70", |got| got.addresses.clear()),
                "node:bond0.70: address 192.0.2.1/24 is not there",
            ),
            (check("node:eth0", |got| got.up = true), "node:eth0: state asked down, is up"),
            (check("node:eth0", |got| got.link = Some(99)), "node:eth0: is not connected to far:eth0"),
        ] {
            assert_eq!(found.first().map(String::as_str), Some(expected));
        }
    }

    #[test]
    fn a_link_that_is_not_there_is_a_difference() {
        let mut seen = as_asked();
        seen.0.shift_remove(&"node:d0".parse::<DeviceRef>().unwrap());
        let links = links();
        let found: Vec<_> = links.iter().flat_map(|link| seen.differences(link, &links)).collect();
        assert_eq!(found, ["node:d0: is not there"]);
    }
}
