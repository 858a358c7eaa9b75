//! What a picture shows: namespaces, and links with what each is made on. A part of the document.

use serde::{Deserialize, Serialize};

use crate::net::link::{Link, LinkKind};
use crate::net::mode::VlanProtocol;
use crate::net::name::DeviceRef;
use crate::report::plural::s;
use crate::topology::Topology;

/// The links of a topology as it was run, those that attaching pods brings included.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Structure {
    /// In the order of the file.
    pub namespaces: Vec<String>,
    /// Those below before those above.
    pub links: Vec<LinkDocument>,
}

/// One link.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkDocument {
    /// `namespace:device`.
    pub device: String,
    /// The word of the topology file: `veth`, `bond`, `vlan`.
    pub kind: String,
    /// What tells it from others of its kind: a mode, a VLAN id, a driver. Empty where nothing does.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
    /// The links it stands on: its ports, its parent, its PF.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub below: Vec<String>,
    /// The other end of its cable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<String>,
    /// With prefix lengths.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<String>,
    /// Whether it is made by a step or a mitigation, and not with the topology.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub later: bool,
}

impl Structure {
    /// The structure of a topology.
    pub fn of(topology: &Topology) -> Self {
        let attached = topology.attachments.devices.values().map(|link| (link, true));
        let links = topology.links.values().map(|link| (link, link.later)).chain(attached);
        Self {
            namespaces: topology.namespaces.keys().map(ToString::to_string).collect(),
            links: links.map(|(link, later)| LinkDocument { later, ..LinkDocument::of(link) }).collect(),
        }
    }

    /// The numbers of each link and of one that it stands on.
    pub fn stacked(&self) -> Vec<(usize, usize)> {
        let lowers = |(upper, link): (usize, &LinkDocument)| {
            let lowers: Vec<usize> = link.below.iter().filter_map(|name| self.number(name)).collect();
            lowers.into_iter().map(move |lower| (upper, lower))
        };
        self.links.iter().enumerate().flat_map(lowers).collect()
    }

    /// The numbers of both ends of each cable, once, whichever end names the other.
    pub fn cables(&self) -> Vec<(usize, usize)> {
        let mut cables = Vec::new();
        for (one, link) in self.links.iter().enumerate() {
            let Some(other) = link.peer.as_ref().and_then(|name| self.number(name)) else { continue };
            let cable = (one.min(other), one.max(other));
            if one != other && !cables.contains(&cable) {
                cables.push(cable);
            }
        }
        cables
    }

    fn number(&self, device: &str) -> Option<usize> {
        self.links.iter().position(|link| link.device == device)
    }
}

impl LinkDocument {
    /// What a picture shows of a link.
    pub fn of(link: &Link) -> Self {
        let pf = match &link.kind {
            LinkKind::Vf { of, .. } => Some(of.clone()),
            _ => None,
        };
        Self {
            device: link.device.to_string(),
            kind: link.kind.word().into(),
            detail: detail(&link.kind),
            below: link.below().into_iter().chain(pf).map(|device| device.to_string()).collect(),
            peer: peer(&link.kind).map(ToString::to_string),
            addresses: link.addresses.iter().map(ToString::to_string).collect(),
            later: link.later,
        }
    }

    /// Its namespace; empty where it names none.
    pub fn namespace(&self) -> &str {
        self.device.split_once(':').map_or("", |(ns, _)| ns)
    }

    /// Its name within the namespace.
    pub fn name(&self) -> &str {
        self.device.split_once(':').map_or(&self.device, |(_, name)| name)
    }

    /// Its kind with the detail: `bond active-backup`.
    pub fn what(&self) -> String {
        if self.detail.is_empty() { self.kind.clone() } else { format!("{} {}", self.kind, self.detail) }
    }
}

fn peer(kind: &LinkKind) -> Option<&DeviceRef> {
    match kind {
        LinkKind::Veth { peer } | LinkKind::Gadget { peer } | LinkKind::GadgetHost { peer } => Some(peer),
        LinkKind::Nic(nic) | LinkKind::Pf(nic) => Some(&nic.peer),
        LinkKind::Netdevsim(device) => device.peer.as_ref(),
        LinkKind::Tun(tun) => tun.peer.as_ref(),
        _ => None,
    }
}

fn vfs(count: usize) -> String {
    format!("{count} VF{}", s(count))
}

fn detail(kind: &LinkKind) -> String {
    match kind {
        LinkKind::Bond(bond) => bond.mode.to_string(),
        LinkKind::Vlan { id, protocol: VlanProtocol::Ieee8021Q, .. } => id.get().to_string(),
        LinkKind::Vlan { id, protocol, .. } => format!("{} {protocol}", id.get()),
        LinkKind::Ipvlan { mode, flag, .. } => format!("{mode} {flag}"),
        LinkKind::Macvlan { mode, .. } => mode.to_string(),
        LinkKind::Bridge { vlan_filtering: true, .. } => "vlan_filtering".into(),
        LinkKind::Tun(tun) if tun.backpressure => "backpressure".into(),
        LinkKind::Nic(nic) => nic.driver.to_string(),
        LinkKind::Pf(nic) => format!("{}, {}", nic.driver, vfs(nic.vfs.len())),
        LinkKind::Netdevsim(device) if !device.vfs.is_empty() => vfs(device.vfs.len()),
        LinkKind::Vf { index, .. } => index.to_string(),
        _ => String::new(),
    }
}
