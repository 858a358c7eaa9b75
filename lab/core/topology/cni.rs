//! Pods attached as Multus does it: network configurations as people paste them, and what their plugins would do.
//!
//! A pod is a namespace. A network is a CNI configuration; a step attaches a pod to some of them in order. What the
//! plugins do is lowered to the plan's own operations here, in the order of the plugins' source.

pub(crate) mod annotation;
pub(crate) mod attach;
pub(crate) mod config;
pub(crate) mod ipam;
pub(crate) mod json;
pub(crate) mod keys;
pub(crate) mod paste;
pub(crate) mod request;
pub(crate) mod tree;
pub(crate) mod yaml;

use std::net::{IpAddr, Ipv4Addr};

pub use crate::topology::cni::annotation::{Entry, read as read_annotation};
pub use crate::topology::cni::attach::{Annotation, AttachError, Attachments, Cluster, Pool};
pub use crate::topology::cni::config::read;
pub use crate::topology::cni::keys::NetKeys;
pub use crate::topology::cni::request::Request;
pub use crate::topology::cni::tree::{Mistake, Tree};

use crate::net::address::{Cidr, Mac};
use crate::net::link::Link;
use crate::net::mode::{BondMode, FailOverMac, IpvlanMode, MacvlanMode, XmitHashPolicy};
use crate::net::name::{IfName, NsName, VlanId};
use crate::net::nic::VfSettings;
use crate::net::route::Route;
use crate::net::switch_port::SwitchPort;
use crate::topology::request::Refused;

/// One network configuration, as a NetworkAttachmentDefinition holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Network {
    /// The name the annotation knows it by: `metadata.name`, whatever the configuration calls itself.
    pub name: String,
    /// Its Kubernetes namespace, where the definition says it.
    pub namespace: Option<String>,
    /// Which plugin, with its parameters.
    pub delegate: Delegate,
    /// `mtu` of the configuration; 0 and none are the same to plugins.
    pub mtu: Option<u32>,
    /// Where its addresses come from.
    pub ipam: Option<Ipam>,
    /// Links that a device plugin hands out for it, in order; sriov only.
    pub resource: Vec<IfName>,
    /// What a runtime may ask of its plugins: keys of `capabilities` that are true.
    pub capabilities: Vec<String>,
    /// Whether the file says that the plugin's own program is run, instead of what the lab does in its place.
    pub real: bool,
    /// The configuration as JSON, for that program.
    pub json: String,
}

impl Network {
    /// The programs that it takes: the plugin's, and that of its IPAM.
    pub fn programs(&self) -> impl Iterator<Item = &'static str> {
        let ipam = self.ipam.as_ref().map(Ipam::plugin);
        [self.delegate.plugin()].into_iter().chain(ipam)
    }
}

/// A plugin with its own parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delegate {
    /// k8snetworkplumbingwg/bond-cni.
    Bond(BondNet),
    /// containernetworking/plugins, main/macvlan.
    Macvlan { master: IfName, mode: MacvlanMode, in_container: bool, mac: Option<Mac> },
    /// containernetworking/plugins, main/ipvlan.
    Ipvlan { master: IfName, mode: IpvlanMode, in_container: bool },
    /// containernetworking/plugins, main/vlan.
    Vlan { master: IfName, id: VlanId, in_container: bool },
    /// containernetworking/plugins, main/bridge.
    Bridge { bridge: IfName, is_gateway: bool, is_default_gateway: bool, mac: Option<Mac> },
    /// containernetworking/plugins, main/host-device.
    HostDevice { device: IfName },
    /// k8snetworkplumbingwg/sriov-cni. What it asks of the PF is kept for VFs; a substitute has none.
    Sriov(VfSettings),
}

impl Delegate {
    /// What a sriov plugin tells a VF's PF, if anything.
    pub fn vf_settings(&self) -> Option<&VfSettings> {
        let Self::Sriov(settings) = self else { return None };
        (*settings != VfSettings::default()).then_some(settings)
    }

    /// `type` of the configuration.
    pub fn plugin(&self) -> &'static str {
        match self {
            Self::Bond(_) => "bond",
            Self::Macvlan { .. } => "macvlan",
            Self::Ipvlan { .. } => "ipvlan",
            Self::Vlan { .. } => "vlan",
            Self::Bridge { .. } => "bridge",
            Self::HostDevice { .. } => "host-device",
            Self::Sriov(_) => "sriov",
        }
    }
}

/// Parameters of the bond plugin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BondNet {
    /// The bond's name in the pod, instead of what the runtime chose.
    pub ifname: Option<IfName>,
    /// By name; the plugin knows no numbers.
    pub mode: BondMode,
    /// In ms.
    pub miimon: u32,
    /// Always sent to the kernel, `none` when not given.
    pub fail_over_mac: FailOverMac,
    /// Whether the links are in the pod already.
    pub links_in_container: bool,
    /// Two or more.
    pub links: Vec<IfName>,
    /// Not sent when not given.
    pub all_slaves_active: Option<bool>,
    /// Not sent when not given.
    pub tlb_dynamic_lb: Option<bool>,
    /// Not sent when not given.
    pub xmit_hash_policy: Option<XmitHashPolicy>,
}

/// Where addresses come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ipam {
    /// The addresses of the configuration, for every pod the same.
    Static { addresses: Vec<(Cidr, Option<IpAddr>)>, routes: Vec<PluginRoute> },
    /// The next free address of a range.
    HostLocal { ranges: Vec<Range>, routes: Vec<PluginRoute>, asked: Vec<IpAddr> },
    /// The lowest free address of a range that all networks share.
    Whereabouts { range: Range, exclude: Vec<Cidr>, gateway: Option<IpAddr>, routes: Vec<PluginRoute> },
    /// The lowest free address of a pool of the topology.
    Calico { pool: String },
    /// What a DHCP server of the topology gives.
    Dhcp,
}

/// One range of host-local.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Range {
    /// The network, host bits zero.
    pub subnet: Cidr,
    /// The first address that is given out.
    pub start: Ipv4Addr,
    /// The last one.
    pub end: Ipv4Addr,
    /// The gateway's address, which is never assigned.
    pub gateway: Ipv4Addr,
}

/// A route of a configuration; without `gw` it takes the address's own gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PluginRoute {
    /// Where it leads; 0.0.0.0/0 is the default route.
    pub dst: Cidr,
    /// The next hop.
    pub gw: Option<IpAddr>,
}

/// A pod attached to networks, everything decided that can be before the kernel is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attachment {
    /// The pod.
    pub pod: NsName,
    /// The node it runs on.
    pub node: NsName,
    /// In the order of the annotation.
    pub delegates: Vec<Attached>,
    /// The network whose ADD is expected to fail.
    pub fails: Option<String>,
    /// How the kernel must refuse it, where the file says so.
    pub refused: Option<Refused>,
}

/// What the bridge plugin does to its bridge.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Bridged {
    /// It was not there.
    pub is_new: bool,
    /// Addresses that it had not.
    pub gateways: Vec<Cidr>,
}

/// One delegate of an attachment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attached {
    /// Its configuration.
    pub network: Network,
    /// CNI_IFNAME, or what the configuration says instead.
    pub ifname: IfName,
    /// What IPAM gave it.
    pub addresses: Vec<Cidr>,
    /// Routes with their next hops.
    pub routes: Vec<Route>,
    /// What stands in the pod afterwards; a bond with its ports before it.
    pub links: Vec<Link>,
    /// Links taken from the node, in order: as they are there.
    pub taken: Vec<Link>,
    /// The port of the switch that carries out a PF's VF settings, where a switch is the substitute.
    pub port: Option<SwitchPort>,
    /// Of a bridge.
    pub bridged: Bridged,
    /// What the PF said of a VF before, of that which the plugin makes it say: DEL says it again.
    pub said_before: VfSettings,
}
