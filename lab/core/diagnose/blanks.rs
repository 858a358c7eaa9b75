//! What a command's blanks are filled with: the VLAN's number, a neighbour's address, another VLAN, as far as the text shows them.

use std::net::IpAddr;

use crate::diagnose::observed::Devices;
use crate::import::model::{Kind, Link, Model};
use crate::net::name::IfName;

/// What stands where the text does not show the VLAN's number.
const ID: &str = "ID";
/// What stands where it shows no address of the other end.
const NEIGHBOUR: &str = "NEIGHBOUR";

/// Words for the blanks of commands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blanks {
    /// The number of the VLAN by which frames are lost.
    pub id: String,
    /// An address that its sender can reach.
    pub neighbour: String,
    /// One that untagged frames of the bond reach.
    pub untagged: String,
    /// Another VLAN of the bond, and an address that it can reach.
    pub other: Option<(String, String)>,
}

impl Blanks {
    /// By what the text shows.
    pub fn new(model: &Model, devices: &Devices) -> Self {
        let name = |name: &Option<String>| name.as_ref().and_then(|name| name.parse::<IfName>().ok());
        let (vlan, bond) = (name(&devices.vlan), name(&devices.bond));
        let id = vlan.as_ref().and_then(|vlan| model.links.get(vlan)?.vlan_id);
        let of = |device: Option<&IfName>| {
            let address = device.and_then(|device| {
                in_network_of(model, device).into_iter().find_map(|name| neighbour(model, &name))
            });
            address.map_or_else(|| NEIGHBOUR.to_owned(), |address| address.to_string())
        };
        let is_other = |name: &IfName, kind: Kind, parent: Option<&IfName>| {
            kind == Kind::Vlan && parent.is_some() && parent == bond.as_ref() && Some(name) != vlan.as_ref()
        };
        let other = model.links.iter().find(|(name, link)| is_other(name, link.kind, link.parent.as_ref()));
        Self {
            id: id.map_or_else(|| ID.to_owned(), |id| id.to_string()),
            neighbour: of(vlan.as_ref().or(bond.as_ref())),
            untagged: of(bond.as_ref()),
            other: other.map(|(name, _)| (name.to_string(), of(Some(name)))),
        }
    }
}

/// Devices whose addresses are of one network with a device's: itself, what stands on it and is no VLAN (a pod's interface, a bridge that
/// it is a port of), and for a VLAN the same VLAN elsewhere on the machine.
fn in_network_of(model: &Model, device: &IfName) -> Vec<IfName> {
    let mut all = vec![device.clone()];
    let id = model.links.get(device).and_then(|link| link.vlan_id);
    let is_same = |link: &Link| link.kind == Kind::Vlan && id.is_some() && link.vlan_id == id;
    let elsewhere = model.links.iter().filter(|(name, link)| is_same(link) && *name != device);
    all.extend(elsewhere.map(|(name, _)| name.clone()));
    let mut at = 0;
    while let Some(lower) = all.get(at).cloned() {
        let is_above = |link: &Link| link.parent.as_ref() == Some(&lower) && link.kind != Kind::Vlan;
        let above = model.links.iter().filter(|(_, link)| is_above(link)).map(|(name, _)| name.clone());
        let owner = model.links.get(&lower).and_then(|link| link.controller.clone());
        let owner =
            owner.filter(|owner| model.links.get(owner).is_some_and(|owner| owner.kind == Kind::Bridge));
        let more: Vec<IfName> = above.chain(owner).filter(|name| !all.contains(name)).collect();
        all.extend(more);
        at += 1;
    }
    all
}

/// An address behind a device: a next hop or a neighbour in one of its networks.
fn neighbour(model: &Model, device: &IfName) -> Option<IpAddr> {
    let link = model.links.get(device)?;
    let is_near = |address: &IpAddr| {
        let is_own = |own: &crate::net::address::Cidr| own.address == *address;
        !link.addresses.iter().any(is_own)
            && link.addresses.iter().any(|own| own.prefix < 32 && own.contains(*address))
    };
    // Its ping is one of IPv4.
    let hops = model.routes.iter().filter_map(|route| route.via).filter(IpAddr::is_ipv4);
    let known = model.neighbours.iter().map(|entry| entry.address).filter(IpAddr::is_ipv4);
    let by_route = model.routes.iter().filter(|route| route.dev.as_ref() == Some(device));
    let by_device = model.neighbours.iter().filter(|entry| entry.dev == *device).map(|entry| entry.address);
    let by_device = by_route.filter_map(|route| route.via).chain(by_device).find(IpAddr::is_ipv4);
    hops.chain(known).find(is_near).or(by_device)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnose::observed;
    use crate::import::{Known, Source, machine};

    fn blanks(text: &str) -> Blanks {
        let source = Source { name: "report".into(), text: text.into() };
        let (model, ..) = machine(&[source], &Known { kernels: &[], causes: &[] }).expect("it shows links");
        Blanks::new(&model, &observed::devices(&model))
    }

    const LINKS: &str = "\
2: eth0: <BROADCAST,MULTICAST,SLAVE,UP,LOWER_UP> mtu 1500 qdisc fq_codel master bond0 state UP
3: bond0: <BROADCAST,MULTICAST,MASTER,UP,LOWER_UP> mtu 1500 qdisc noqueue state UP
    inet 192.168.1.40/24 scope global bond0
4: bond0.312@bond0: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 qdisc noqueue state UP
    inet 192.168.31.40/24 scope global bond0.312
    TX: bytes  packets  errors  dropped carrier collsns
    100        1        0       9000    0       0
5: bond0.80@bond0: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 qdisc noqueue state UP
    inet 192.168.80.40/24 scope global bond0.80
";

    #[test]
    fn numbers_and_addresses_of_the_text_are_filled_in() {
        let routes = "default via 192.168.1.254 dev bond0\n192.168.31.9 dev bond0.312 lladdr b4:96:91:00:00:09 REACHABLE\n\
                      192.168.80.7 dev bond0.80 lladdr b4:96:91:00:00:07 STALE\n";
        let blanks = blanks(&format!("{LINKS}\n{routes}"));
        assert_eq!((&blanks.id[..], &blanks.neighbour[..]), ("312", "192.168.31.9"));
        assert_eq!(blanks.untagged, "192.168.1.254");
        assert_eq!(blanks.other, Some(("bond0.80".into(), "192.168.80.7".into())));
    }

    #[test]
    fn a_pod_s_gateway_is_a_neighbour_of_the_vlan_below() {
        let text = "\
2: eth0: <BROADCAST,MULTICAST,SLAVE,UP,LOWER_UP> mtu 1500 qdisc fq_codel master bond0 state UP
3: bond0: <BROADCAST,MULTICAST,MASTER,UP,LOWER_UP> mtu 1500 qdisc noqueue state UP
4: bond0.312@bond0: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 qdisc noqueue state UP
5: net1@bond0.312: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 qdisc noqueue state UNKNOWN
    ipvlan mode l2 bridge
    inet 192.168.31.40/24 scope global net1
192.168.31.9 dev net1 FAILED
";
        let blanks = blanks(text);
        assert_eq!((&blanks.id[..], &blanks.neighbour[..]), ("312", "192.168.31.9"));
        assert_eq!(blanks.untagged, "NEIGHBOUR");
    }

    #[test]
    fn what_the_text_does_not_show_stays_a_blank() {
        let blanks = blanks(LINKS);
        assert_eq!((&blanks.id[..], &blanks.neighbour[..]), ("312", "NEIGHBOUR"));
        assert_eq!(blanks.untagged, "NEIGHBOUR");
    }
}
