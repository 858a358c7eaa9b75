//! A topology: read from TOML, checked as a whole, resolved to a graph of namespaces and links.

mod captures;
mod check;
mod conditions;
mod dhcp;
mod diagnostic;
mod document;
mod explain;
mod faults;
pub mod file;
mod hardware;
mod limits;
mod links;
mod mitigations;
mod plain;
mod pods;
mod qdiscs;
mod read;
mod scenario;
mod selectors;
mod shared_parent;
mod stack;
mod syntax;

use std::fmt;
use std::net::IpAddr;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

pub use check::nearest;
pub use diagnostic::{Diagnostic, TopologyErrors};

use crate::cni::{Attachment, Attachments, Network};
use crate::hardware::{Netdevsim, Nic};
use crate::link::{
    AdSelect, ArpValidate, BondMode, Cidr, DeviceRef, FailOverMac, IfName, IpvlanFlag, IpvlanMode, LacpRate,
    Mac, MacSource, MacvlanMode, NsName, PrimaryReselect, VlanId, VlanProtocol, XmitHashPolicy,
};
use crate::scenario::{Qdisc, Scenario, Step};
use crate::stand_in::StandIn;
use crate::sysctl::Sysctl;

/// A checked topology. Every reference in it leads somewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topology {
    /// The file's name without ending.
    pub name: String,
    /// What it shows, in plain words.
    pub about: Option<String>,
    /// The kernel it was written for: an id of kernels.toml.
    pub kernel: Option<String>,
    /// Namespaces in the order of the file.
    pub namespaces: IndexMap<NsName, Namespace>,
    /// Links, those below before those above.
    pub links: IndexMap<DeviceRef, Link>,
    /// What attaching pods adds to it.
    pub attachments: Attachments,
    /// What is in the place of NICs.
    pub stand_ins: Vec<StandIn>,
    /// Whether they are there for want of NICs that the file asks for.
    pub fell_back: bool,
    /// What happens on it.
    pub scenario: Scenario,
}

/// A namespace's tables.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Namespace {
    /// Whether it passes IPv4 on.
    pub forwarding: bool,
    /// Devices by which packets leave with the device's own address.
    pub masquerade: Vec<IfName>,
    /// In the order of the file.
    pub sysctls: Vec<Sysctl>,
    /// In the order of the file.
    pub routes: Vec<Route>,
    /// In the order of the file.
    pub neighbours: Vec<Neighbour>,
}

/// A route.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// `None` is the default route.
    pub to: Option<Cidr>,
    /// The next hop.
    pub via: Option<IpAddr>,
    /// The device.
    pub dev: Option<IfName>,
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.to {
            Some(to) => to.fmt(f)?,
            None => f.write_str("default")?,
        }
        if let Some(via) = &self.via {
            write!(f, " via {via}")?;
        }
        self.dev.as_ref().map_or(Ok(()), |dev| write!(f, " dev {dev}"))
    }
}

/// A permanent neighbour.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Neighbour {
    /// Its address.
    pub to: IpAddr,
    /// The device it is reached by.
    pub dev: IfName,
    /// Its Ethernet address.
    pub mac: MacSource,
}

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
        }
    }
}

/// What a link is, with what only that kind has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LinkKind {
    /// A device that swallows what it is given.
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
    /// A tap that nobody reads.
    Tap {
        /// IFF_BACKPRESSURE.
        backpressure: bool,
    },
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
        /// Whether it looks at tags.
        vlan_filtering: bool,
    },
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

impl LinkKind {
    /// `IFLA_INFO_KIND`, which a device of a driver does not have.
    pub fn info_kind(&self) -> Option<&'static str> {
        match self {
            Self::Gadget { .. } | Self::GadgetHost { .. } | Self::Netdevsim(_) => None,
            hardware if hardware.is_hardware() => None,
            Self::Tap { .. } => Some("tun"),
            other => Some(other.word()),
        }
    }

    /// Whether a kernel shows nothing of it but what every link has.
    pub fn has_no_options(&self) -> bool {
        self.info_kind().is_none() || matches!(self, Self::Dummy | Self::Tap { .. })
    }

    /// The word of the file; for what a kernel makes by name, that name.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Gadget { .. } => "gadget",
            Self::GadgetHost { .. } => "gadget-host",
            Self::Tap { .. } => "tap",
            Self::Dummy => "dummy",
            Self::Veth { .. } => "veth",
            Self::Bond(_) => "bond",
            Self::Vlan { .. } => "vlan",
            Self::Ipvlan { .. } => "ipvlan",
            Self::Macvlan { .. } => "macvlan",
            Self::Bridge { .. } => "bridge",
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
            Self::Bridge { ports, .. } => ports,
            _ => &[],
        }
    }

    /// The device a link was made on, perhaps in another namespace.
    pub fn parent(&self) -> Option<&DeviceRef> {
        match self {
            Self::Vlan { parent, .. } | Self::Ipvlan { parent, .. } | Self::Macvlan { parent, .. } => {
                Some(parent)
            }
            _ => None,
        }
    }

    /// The same, to put it on another.
    pub fn parent_mut(&mut self) -> Option<&mut DeviceRef> {
        match self {
            Self::Vlan { parent, .. } | Self::Ipvlan { parent, .. } | Self::Macvlan { parent, .. } => {
                Some(parent)
            }
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

    /// Whether `device` is one of its ports.
    pub fn has_port(&self, device: &DeviceRef) -> bool {
        self.device.ns == device.ns && self.kind.ports().contains(&device.name)
    }
}

/// A bond's options; `None` leaves the kernel's choice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bond {
    /// The mode.
    pub mode: BondMode,
    /// In the order they join.
    pub ports: Vec<IfName>,
    /// In ms.
    pub miimon: Option<u32>,
    /// In ms.
    pub updelay: Option<u32>,
    /// In ms.
    pub downdelay: Option<u32>,
    /// Refused as `false` from 6.18.
    pub use_carrier: Option<bool>,
    /// In ms.
    pub arp_interval: Option<u32>,
    /// Targets of the ARP monitor.
    pub arp_ip_target: Vec<std::net::Ipv4Addr>,
    /// Targets of its neighbour solicitations.
    pub ns_ip6_target: Vec<std::net::Ipv6Addr>,
    /// Intervals without an answer.
    pub missed_max: Option<u8>,
    /// Which ARP traffic counts.
    pub arp_validate: Option<ArpValidate>,
    /// The preferred port.
    pub primary: Option<IfName>,
    /// When it takes over again.
    pub primary_reselect: Option<PrimaryReselect>,
    /// Which Ethernet address the bond shows.
    pub fail_over_mac: Option<FailOverMac>,
    /// How a port is chosen for a frame.
    pub xmit_hash_policy: Option<XmitHashPolicy>,
    /// How often LACPDUs are asked for.
    pub lacp_rate: Option<LacpRate>,
    /// Whether LACPDUs are sent unasked.
    pub lacp_active: Option<bool>,
    /// How an aggregator is chosen.
    pub ad_select: Option<AdSelect>,
    /// Fewest ports for carrier.
    pub min_links: Option<u32>,
    /// Whether frames on inactive ports are accepted.
    pub all_slaves_active: Option<bool>,
    /// Whether balance-tlb moves flows by load.
    pub tlb_dynamic_lb: Option<bool>,
    /// Gratuitous ARPs after a failover.
    pub num_grat_arp: Option<u8>,
}

impl Bond {
    /// A bond of which everything is the kernel's choice but its mode and ports.
    pub fn new(mode: BondMode, ports: Vec<IfName>) -> Self {
        Self {
            mode,
            ports,
            miimon: None,
            updelay: None,
            downdelay: None,
            use_carrier: None,
            arp_interval: None,
            arp_ip_target: Vec::new(),
            ns_ip6_target: Vec::new(),
            missed_max: None,
            arp_validate: None,
            primary: None,
            primary_reselect: None,
            fail_over_mac: None,
            xmit_hash_policy: None,
            lacp_rate: None,
            lacp_active: None,
            ad_select: None,
            min_links: None,
            all_slaves_active: None,
            tlb_dynamic_lb: None,
            num_grat_arp: None,
        }
    }
}

impl Topology {
    /// Reads and checks a topology file's text. `name` is the file's name without ending; `path` is for messages.
    ///
    /// # Errors
    /// All that is wrong with the text, each with its place and a hint.
    pub fn parse(name: &str, path: &str, text: &str) -> Result<Self, TopologyErrors> {
        let read = read::read(text);
        let mut problems = read.problems;
        let file = read.file.filter(|file| limits::check(file, &mut problems));
        let topology = file.map(|mut file| {
            selectors::expand(&mut file, &mut problems);
            check::check(name, &file, read.lost, &mut problems)
        });
        match topology {
            Some(topology) if problems.is_empty() => Ok(topology),
            _ => Err(TopologyErrors::new(path, text, problems)),
        }
    }

    /// A device that is there from the start, or once a pod is attached.
    pub fn link(&self, device: &DeviceRef) -> Option<&Link> {
        self.links.get(device).or_else(|| self.attachments.devices.get(device))
    }

    /// Has the plugins of each network that `chooses` run by their own programs, and those of the others by the lab.
    pub fn run_programs(&mut self, chooses: impl Fn(&Network) -> bool) {
        self.each_attachment(|attachment| {
            for attached in &mut attachment.delegates {
                attached.network.real = chooses(&attached.network);
            }
        });
    }

    /// Changes all that is attached: by its step's number, and in the step itself.
    pub fn each_attachment(&mut self, mut change: impl FnMut(&mut Attachment)) {
        self.attachments.by_step.values_mut().for_each(&mut change);
        for step in &mut self.scenario.steps {
            if let Step::Attach(attachment) | Step::Detach(attachment) | Step::Check(attachment) = step {
                change(attachment);
            }
        }
    }

    /// Those that are there from the start, and those that attaching pods brings.
    pub fn all_links(&self) -> impl Iterator<Item = &Link> {
        self.links.values().chain(self.attachments.devices.values())
    }

    /// The IPv4 addresses of a device, in the order of the file.
    pub fn ipv4_of(&self, device: &DeviceRef) -> Option<std::net::Ipv4Addr> {
        self.link(device)?.addresses.iter().find_map(|cidr| match cidr.address {
            IpAddr::V4(address) => Some(address),
            IpAddr::V6(_) => None,
        })
    }

    /// Whether any address of the topology is of IPv6; if none is, IPv6 stays off and sends nothing of its own.
    pub fn uses_ipv6(&self) -> bool {
        let mut links = self.links.values().chain(self.attachments.devices.values());
        links.any(|link| link.addresses.iter().any(|cidr| cidr.address.is_ipv6()))
    }

    /// The JSON Schema of the file, from the same types that read it.
    pub fn schema() -> schemars::Schema {
        schemars::schema_for!(file::TopologyFile)
    }
}
