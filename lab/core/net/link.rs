//! A link: what it is, and what every link has.

use serde::{Deserialize, Serialize};

use crate::net::address::{Cidr, Mac};
use crate::net::bond::Bond;
use crate::net::link_extras::Extras;
use crate::net::link_option::words::VirtualKind;
use crate::net::mode::{IpvlanFlag, IpvlanMode, MacvlanMode, VlanProtocol};
use crate::net::name::{DeviceRef, IfName, VlanId};
use crate::net::nic::{Netdevsim, Nic};
use crate::net::option::Value;
use crate::net::qdisc::Qdisc;

/// One link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// Its namespace and name.
    pub device: DeviceRef,
    /// What it is.
    pub kind: LinkKind,
    /// Ethernet address, where it does not come from the link below.
    pub mac: Option<Mac>,
    /// Largest packet in bytes; `None` leaves the kernel's choice.
    pub mtu: Option<u32>,
    /// In packets; `None` leaves the kernel's choice.
    pub txqueuelen: Option<u32>,
    /// Whether it is set up.
    pub up: bool,
    /// Whether it is not made with the topology, but by a mitigation.
    pub later: bool,
    /// Addresses.
    pub addresses: Vec<Cidr>,
    /// Queueing discipline at the root; `None` leaves the kernel's choice.
    pub qdisc: Option<Qdisc>,
    /// What else is asked of it.
    #[serde(default, skip_serializing_if = "Extras::is_empty")]
    pub extras: Box<Extras>,
}

impl Link {
    /// A link of which nothing is asked but that it is up.
    pub fn new(device: DeviceRef, kind: LinkKind) -> Self {
        Self {
            device,
            kind,
            mac: None,
            mtu: None,
            txqueuelen: None,
            up: true,
            later: false,
            addresses: Vec::new(),
            qdisc: None,
            extras: Box::default(),
        }
    }
}

/// What a link is, with what only that kind has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LinkKind {
    /// A dummy device: it discards every frame that is sent to it.
    Dummy,
    /// One end of a cable.
    Veth {
        /// The other end.
        peer: DeviceRef,
    },
    /// The gadget's end of a USB pair.
    Gadget {
        /// The host's end.
        peer: DeviceRef,
    },
    /// The host's end of a USB pair; made with the gadget's.
    GadgetHost {
        /// The gadget's end.
        peer: DeviceRef,
    },
    /// A tap or a tun.
    Tun(Tun),
    /// A bond.
    Bond(Box<Bond>),
    /// A VLAN.
    Vlan {
        /// The device below, perhaps in another namespace.
        parent: DeviceRef,
        /// The number on the wire.
        id: VlanId,
        /// The tag's EtherType.
        protocol: VlanProtocol,
    },
    /// A device with its parent's Ethernet address; frames find it by IP address.
    Ipvlan {
        /// The device below, perhaps in another namespace.
        parent: DeviceRef,
        /// How far its frames are looked at. All of one parent share it.
        mode: IpvlanMode,
        /// Who reaches whom. All of one parent share it.
        flag: IpvlanFlag,
    },
    /// A device with an Ethernet address of its own; frames find it by that.
    Macvlan {
        /// The device below, perhaps in another namespace.
        parent: DeviceRef,
        /// Who reaches whom.
        mode: MacvlanMode,
    },
    /// A bridge.
    Bridge {
        /// In the order they join.
        ports: Vec<IfName>,
        /// Whether it filters by VLAN.
        vlan_filtering: bool,
    },
    /// A link that has nothing but options, a parent and ports.
    Virtual(Virtual),
    /// A device of netdevsim.
    Netdevsim(Netdevsim),
    /// An emulated NIC.
    Nic(Nic),
    /// An emulated NIC with VFs.
    Pf(Nic),
    /// A VF.
    Vf {
        /// Its PF.
        of: DeviceRef,
        /// Its number.
        index: u8,
    },
}

/// A device of the tun driver: a program takes what is sent to it, and writes what it receives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tun {
    /// Whether its frames have an Ethernet header (IFF_TAP), or are packets of IP (IFF_TUN).
    pub is_tap: bool,
    /// IFF_BACKPRESSURE.
    pub backpressure: bool,
    /// The device to which the program writes what it reads of this one; without it no program reads it.
    pub peer: Option<DeviceRef>,
}

/// A link that has nothing but options, a parent and ports: VRF, VXLAN and the like.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Virtual {
    /// What it is.
    pub kind: VirtualKind,
    /// The device below, of the same namespace.
    pub parent: Option<DeviceRef>,
    /// In the order they join.
    pub ports: Vec<IfName>,
}

impl LinkKind {
    /// `IFLA_INFO_KIND`, which a device of a driver does not have.
    pub fn info_kind(&self) -> Option<&'static str> {
        match self {
            Self::Gadget { .. } | Self::GadgetHost { .. } | Self::Netdevsim(_) => None,
            hardware if hardware.is_hardware() => None,
            Self::Tun(_) => Some("tun"),
            other => Some(other.word()),
        }
    }

    /// Whether a kernel shows nothing of it but what every link has.
    pub fn has_no_options(&self) -> bool {
        self.info_kind().is_none()
            || matches!(self, Self::Dummy | Self::Tun(_))
            || matches!(self, Self::Virtual(link) if matches!(link.kind, VirtualKind::Ifb | VirtualKind::Team))
    }

    /// The word of the file; for what a kernel makes by name, that name.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Gadget { .. } => "gadget",
            Self::GadgetHost { .. } => "gadget-host",
            Self::Tun(Tun { is_tap: true, .. }) => "tap",
            Self::Tun(_) => "tun",
            Self::Dummy => "dummy",
            Self::Veth { .. } => "veth",
            Self::Bond(_) => "bond",
            Self::Vlan { .. } => "vlan",
            Self::Ipvlan { .. } => "ipvlan",
            Self::Macvlan { .. } => "macvlan",
            Self::Bridge { .. } => "bridge",
            Self::Virtual(link) => link.kind.word(),
            Self::Netdevsim(_) => "netdevsim",
            Self::Nic(_) => "nic",
            Self::Pf(_) => "pf",
            Self::Vf { .. } => "vf",
        }
    }

    /// Whether it is there before anybody makes it.
    pub fn is_hardware(&self) -> bool {
        matches!(self, Self::Nic(_) | Self::Pf(_) | Self::Vf { .. })
    }

    /// The ports of a bond or bridge, in its own namespace.
    pub fn ports(&self) -> &[IfName] {
        match self {
            Self::Bond(bond) => &bond.ports,
            Self::Bridge { ports, .. } | Self::Virtual(Virtual { ports, .. }) => ports,
            _ => &[],
        }
    }

    /// Whether other links can be its ports.
    pub fn takes_ports(&self) -> bool {
        match self {
            Self::Bond(_) | Self::Bridge { .. } => true,
            Self::Virtual(link) => matches!(link.kind, VirtualKind::Vrf | VirtualKind::Team),
            _ => false,
        }
    }

    /// The device a link was made on, perhaps in another namespace.
    pub fn parent(&self) -> Option<&DeviceRef> {
        match self {
            Self::Vlan { parent, .. } | Self::Ipvlan { parent, .. } | Self::Macvlan { parent, .. } => {
                Some(parent)
            }
            Self::Virtual(link) => link.parent.as_ref(),
            _ => None,
        }
    }

    /// The same, to put it on another.
    pub fn parent_mut(&mut self) -> Option<&mut DeviceRef> {
        match self {
            Self::Vlan { parent, .. } | Self::Ipvlan { parent, .. } | Self::Macvlan { parent, .. } => {
                Some(parent)
            }
            Self::Virtual(link) => link.parent.as_mut(),
            _ => None,
        }
    }
}

impl Link {
    /// The links it stands on: its ports, or its parent.
    pub fn below(&self) -> Vec<DeviceRef> {
        let ports = self.kind.ports().iter().map(|port| DeviceRef::new(&self.device.ns, port));
        ports.chain(self.kind.parent().cloned()).collect()
    }

    /// Whether its frames have one: packets of a tun, of GRE, and of a VXLAN with gpe have none.
    pub fn has_ethernet_header(&self) -> bool {
        match &self.kind {
            LinkKind::Tun(tun) => tun.is_tap,
            LinkKind::Virtual(link) => match link.kind {
                VirtualKind::Gre => false,
                VirtualKind::Vxlan => self.extras.options.0.get("gpe") != Some(&Value::Number(1)),
                _ => true,
            },
            _ => true,
        }
    }

    /// Whether `device` is one of its ports.
    pub fn has_port(&self, device: &DeviceRef) -> bool {
        self.device.ns == device.ns && self.kind.ports().contains(&device.name)
    }
}
