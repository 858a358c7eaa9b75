//! From the annotation of a pod to an attachment: names, links and addresses, followed through all steps of a run.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use indexmap::IndexMap;

use crate::net::address::{Cidr, Mac};
use crate::net::bond::Bond;
use crate::net::bond_option::BondOptions;
use crate::net::dhcp::Server;
use crate::net::link::{Link, LinkKind};
use crate::net::mode::{IpvlanFlag, VfLinkState, VlanProtocol};
use crate::net::name::{DeviceRef, IfName, NsName, VlanId};
use crate::net::nic::VfSettings;
use crate::net::route::Route;
use crate::net::switch_port::SwitchPort;
use crate::net::text_value::ValueError;
use crate::topology::cni::ipam::{LeaseError, Leases};
use crate::topology::cni::{Attached, Attachment, BondNet, Bridged, Delegate, Ipam, Network, Request};
use crate::topology::substitute::Substitution;

/// ETH_DATA_LEN: what a bond has by default, and what it then gives its ports (`bond_enslave()`).
const MTU_DEFAULT: u32 = 1500;

/// A pool of addresses of the topology, by name.
pub type Pool = Cidr;

/// What a pod asks for: one entry of the annotation `k8s.v1.cni.cncf.io/networks`, and its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Annotation {
    /// The network.
    pub network: String,
    /// The namespace of its definition; without one it is the pod's, which the lab does not know.
    pub namespace: Option<String>,
    /// The interface's name; Multus numbers those without one.
    pub ifname: Option<IfName>,
    /// What it asks for beside the configuration.
    pub request: Request,
}

impl Annotation {
    /// Reads Multus' short form, `namespace/network@interface` (`parsePodNetworkObjectName()`).
    ///
    /// # Errors
    /// It is none, or the interface is no name: in words.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let wrong = || format!("`{text}` is not one network, one interface and one namespace at the most");
        let (namespace, rest) = match text.split_once('/') {
            Some((namespace, rest)) => (Some(namespace.trim()), rest),
            None => (None, text),
        };
        let (network, ifname) = match rest.split_once('@') {
            Some((network, ifname)) => (network.trim(), Some(ifname.trim())),
            None => (rest.trim(), None),
        };
        let parts = [namespace, Some(network), ifname];
        if parts.into_iter().flatten().any(|part| part.is_empty() || part.contains(['/', '@'])) {
            return Err(wrong());
        }
        let ifname: Option<Result<IfName, ValueError>> = ifname.map(str::parse);
        Ok(Self {
            network: network.into(),
            namespace: namespace.map(Into::into),
            ifname: ifname.transpose().map_err(|error| error.to_string())?,
            request: Request::default(),
        })
    }
}

/// All attachments of a topology, by the number of their step.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Attachments {
    /// What a step does to a pod.
    pub by_step: BTreeMap<usize, Attachment>,
    /// Every device that is there at some time, as it is there.
    pub devices: IndexMap<DeviceRef, Link>,
    /// Pods, in the order they are first attached.
    pub pods: Vec<NsName>,
    /// Who answers DHCP.
    pub servers: Vec<Server>,
}

impl Attachments {
    /// Plugins whose own programs are run, with those of their IPAM.
    pub fn plugins(&self) -> BTreeSet<String> {
        let delegates = self.by_step.values().flat_map(|attachment| &attachment.delegates);
        let real = delegates.filter(|attached| attached.network.real);
        real.flat_map(|attached| attached.network.programs()).map(str::to_owned).collect()
    }
}

/// A node and its pods while the steps are followed.
#[derive(Debug)]
pub struct Cluster<'a> {
    networks: &'a IndexMap<String, Network>,
    pools: BTreeMap<String, Pool>,
    servers: BTreeMap<String, Server>,
    ports: Vec<SwitchPort>,
    present: IndexMap<DeviceRef, Link>,
    leases: Leases,
    attached: BTreeMap<NsName, Attachment>,
    seen: IndexMap<DeviceRef, Link>,
}

/// Why a pod cannot be attached, about one network of its annotation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttachError {
    /// Its place in the annotation.
    pub position: usize,
    /// A lowercase fragment.
    pub message: String,
    /// What to do about it.
    pub hint: String,
}

impl<'a> Cluster<'a> {
    /// As the topology stands before the first step.
    pub fn new(
        networks: &'a IndexMap<String, Network>,
        pools: BTreeMap<String, Pool>,
        servers: BTreeMap<String, Server>,
        (links, substitutions): (&IndexMap<DeviceRef, Link>, &[Substitution]),
    ) -> Self {
        Self {
            networks,
            pools,
            servers,
            ports: substitutions.iter().flat_map(|substitution| substitution.ports.clone()).collect(),
            present: links.clone(),
            leases: Leases::default(),
            attached: BTreeMap::new(),
            seen: IndexMap::new(),
        }
    }

    /// The attachment of a pod, if it has one.
    pub fn attachment(&self, pod: &NsName) -> Option<&Attachment> {
        self.attached.get(pod)
    }

    /// Every device that was there at some time through an attachment.
    pub fn devices(self) -> IndexMap<DeviceRef, Link> {
        self.seen
    }

    /// Attaches a pod. `fails` names the network whose ADD is expected to fail: those before it are deleted again.
    ///
    /// # Errors
    /// A link that is not there, a name that is taken, an address that is not left.
    pub fn attach(
        &mut self,
        pod: &NsName,
        node: &NsName,
        annotation: &[Annotation],
        fails: Option<&str>,
    ) -> Result<Attachment, AttachError> {
        let mut attachment = Attachment {
            pod: pod.clone(),
            node: node.clone(),
            delegates: Vec::new(),
            fails: fails.map(Into::into),
            refused: None,
        };
        for (position, entry) in annotation.iter().enumerate() {
            let error = |(message, hint): (String, String)| AttachError { position, message, hint };
            let network = self.networks.get(&entry.network);
            let Some(network) = network else {
                let known: Vec<&str> = self.networks.keys().map(String::as_str).collect();
                return Err(error((format!("no network `{}`", entry.network), hint(&known))));
            };
            if let (Some(asked), Some(is)) = (&entry.namespace, &network.namespace)
                && asked != is
            {
                let message = format!("no network `{}` in namespace `{asked}`", entry.network);
                return Err(error((message, format!("its definition is in `{is}`"))));
            }
            let network = &network.asked(&entry.request).map_err(error)?;
            // getIfname() of Multus: net1, net2, ... by position in the annotation, whatever the others are called.
            let numbered = || format!("net{}", position + 1).parse().expect("it is a name");
            let ifname = entry.ifname.clone().unwrap_or_else(numbered);
            let attached = self.add(network, &ifname, (pod, node)).map_err(error)?;
            let is_last = fails == Some(network.name.as_str());
            attachment.delegates.push(attached);
            if is_last {
                break;
            }
        }
        if fails.is_some() {
            self.roll_back(&attachment);
        } else {
            self.attached.insert(pod.clone(), attachment.clone());
        }
        Ok(attachment)
    }

    /// Detaches a pod; `None` when it was not attached.
    pub fn detach(&mut self, pod: &NsName) -> Option<Attachment> {
        let attachment = self.attached.remove(pod)?;
        for delegate in attachment.delegates.iter().rev() {
            self.del(delegate, &attachment);
        }
        Some(attachment)
    }

    fn add(
        &mut self,
        network: &Network,
        ifname: &IfName,
        (pod, node): (&NsName, &NsName),
    ) -> Result<Attached, (String, String)> {
        let mut attached = Attached {
            network: network.clone(),
            ifname: ifname.clone(),
            addresses: Vec::new(),
            routes: Vec::new(),
            links: Vec::new(),
            taken: Vec::new(),
            port: None,
            bridged: Bridged::default(),
            said_before: VfSettings::default(),
        };
        let made = match &network.delegate {
            Delegate::Bond(bond) => {
                attached.ifname = bond.ifname.clone().unwrap_or_else(|| ifname.clone());
                self.bond(bond, network, &mut attached, (pod, node))?
            }
            Delegate::HostDevice { device } => self.take(device, &mut attached, (pod, node))?,
            Delegate::Sriov(asked) => {
                let free = network
                    .resource
                    .iter()
                    .find(|name| self.present.contains_key(&DeviceRef::new(node, name)));
                let Some(device) = free.cloned() else {
                    let message =
                        format!("network `{}` has no link left to hand out in {node}", network.name);
                    return Err((message, "name another one in its `resource`".into()));
                };
                let link = self.take(&device, &mut attached, (pod, node))?;
                attached.port = self.port_of(&link).cloned();
                match &attached.port {
                    Some(port) => told(port, asked, &link)?,
                    None => asked_of_a_pf(asked, &link)?,
                }
                attached.said_before = self.said_before(asked, &link);
                Link { mac: asked.mac.or(link.mac), ..link }
            }
            Delegate::Bridge { bridge, .. } => self.bridge(bridge, &mut attached, (pod, node)),
            other => self.on_parent(other, &attached, (pod, node))?,
        };
        if self.present.contains_key(&made.device) {
            let message = format!("{} is there already", made.device);
            return Err((message, "name another interface: network@interface".into()));
        }
        if let Some(ipam) = &network.ipam {
            let lease = self.leases.take(&network.name, ipam, &self.pools, &self.servers);
            let lease = lease.map_err(|error| (error.to_string(), self.lease_hint(&error)))?;
            attached.addresses = lease.addresses;
            let dev = |route: Route| Route { dev: Some(attached.ifname.clone()), ..route };
            attached.routes = lease.routes.into_iter().map(dev).collect();
        }
        be_gateway(&mut attached);
        let made = Link { addresses: attached.addresses.clone(), ..made };
        attached.links.push(made);
        for link in &attached.links {
            self.put(link.clone());
        }
        Ok(attached)
    }

    fn lease_hint(&self, error: &LeaseError) -> String {
        let known: Vec<&str> = self.pools.keys().map(String::as_str).collect();
        match error {
            LeaseError::NoServer(network) => format!("add [dhcp.{network}] with device, first and last"),
            LeaseError::Taken(..) | LeaseError::Outside(_) => "ask for a free one of the range".into(),
            LeaseError::Full(_) | LeaseError::NoPool(_) => format!("pools: {}", known.join(", ")),
        }
    }

    fn put(&mut self, link: Link) {
        self.seen.insert(link.device.clone(), link.clone());
        self.present.insert(link.device.clone(), link);
    }

    /// A link that is in a namespace now.
    fn find(&self, ns: &NsName, name: &IfName) -> Result<Link, (String, String)> {
        self.present.get(&DeviceRef::new(ns, name)).cloned().ok_or_else(|| {
            let here = self.present.keys().filter(|device| device.ns == *ns);
            let known: Vec<&str> = here.map(|device| device.name.as_str()).collect();
            (format!("no link `{name}` in namespace {ns} at this step"), hint(&known))
        })
    }

    fn bond(
        &mut self,
        bond: &BondNet,
        network: &Network,
        attached: &mut Attached,
        (pod, node): (&NsName, &NsName),
    ) -> Result<Link, (String, String)> {
        let from = if bond.links_in_container { pod } else { node };
        let mut macs = BTreeSet::new();
        for name in &bond.links {
            let link = self.find(from, name)?;
            let is_twice = link.mac.is_some_and(|mac| !macs.insert(mac));
            let mac = if is_twice { Some(crate::topology::cni::attach::ASCII_OF_02_3F) } else { link.mac };
            if !bond.links_in_container {
                self.present.shift_remove(&link.device);
                attached.taken.push(link.clone());
            }
            // What joins a bond takes its MTU.
            let mtu = Some(network.mtu.unwrap_or(MTU_DEFAULT));
            let device = DeviceRef::new(pod, name);
            attached.links.push(Link { device, mac, mtu, up: true, ..moved(link) });
        }
        let kind = LinkKind::Bond(Box::new(Bond {
            options: BondOptions {
                miimon: Some(bond.miimon),
                fail_over_mac: Some(bond.fail_over_mac),
                all_slaves_active: bond.all_slaves_active,
                tlb_dynamic_lb: bond.tlb_dynamic_lb,
                xmit_hash_policy: bond.xmit_hash_policy,
                ..BondOptions::default()
            },
            ..Bond::new(bond.mode, bond.links.clone())
        }));
        let device = DeviceRef::new(pod, &attached.ifname);
        Ok(Link { mtu: network.mtu, ..Link::new(device, kind) })
    }

    /// What DEL makes the PF say again (`ResetVFConfig()` of sriov-cni): what the topology says, else what igb begins with.
    fn said_before(&self, asked: &VfSettings, vf: &Link) -> VfSettings {
        let LinkKind::Vf { of, index } = &vf.kind else { return VfSettings::default() };
        let was = match self.present.get(of).map(|pf| &pf.kind) {
            Some(LinkKind::Pf(nic)) => nic.vfs.get(usize::from(*index)).cloned().unwrap_or_default(),
            _ => VfSettings::default(),
        };
        VfSettings {
            mac: asked.mac.map(|_| was.mac.unwrap_or(Mac([0; 6]))),
            vlan: asked.vlan.map(|_| was.vlan.unwrap_or(VlanId::UNTAGGED)),
            qos: asked.vlan.and(was.qos),
            spoofchk: asked.spoofchk.map(|_| was.spoofchk.unwrap_or(true)),
            trust: asked.trust.map(|_| was.trust.unwrap_or(false)),
            link_state: asked.link_state.map(|_| was.link_state.unwrap_or(VfLinkState::Auto)),
            max_tx_rate: asked.max_tx_rate.map(|_| was.max_tx_rate.unwrap_or(0)),
            min_tx_rate: asked.min_tx_rate.map(|_| was.min_tx_rate.unwrap_or(0)),
        }
    }

    fn take(
        &mut self,
        name: &IfName,
        attached: &mut Attached,
        (pod, node): (&NsName, &NsName),
    ) -> Result<Link, (String, String)> {
        let link = self.find(node, name)?;
        self.present.shift_remove(&link.device);
        attached.taken.push(link.clone());
        Ok(Link { device: DeviceRef::new(pod, &attached.ifname), up: true, ..moved(link) })
    }

    /// What does for a VF what a PF would.
    fn port_of(&self, link: &Link) -> Option<&SwitchPort> {
        let LinkKind::Veth { peer } = &link.kind else { return None };
        self.ports.iter().find(|port| port.device == *peer)
    }

    /// A cable between the pod and a bridge, which is made when it is not there.
    fn bridge(&mut self, bridge: &IfName, attached: &mut Attached, (pod, node): (&NsName, &NsName)) -> Link {
        let device = DeviceRef::new(node, bridge);
        attached.bridged.is_new = !self.present.contains_key(&device);
        let mut bridge = self.present.get(&device).cloned().unwrap_or_else(|| {
            Link::new(device, LinkKind::Bridge { ports: Vec::new(), vlan_filtering: false })
        });
        let taken: BTreeSet<&str> = self.seen.keys().map(|device| device.name.as_str()).collect();
        let mut names = (0..).map(|number| format!("veth{number:04x}"));
        let name = names.find(|name| !taken.contains(name.as_str())).expect("there is no end to numbers");
        let (near, far) = (
            DeviceRef::new(pod, &attached.ifname),
            DeviceRef::new(node, &name.parse().expect("veth and four digits are a name")),
        );
        if let LinkKind::Bridge { ports, .. } = &mut bridge.kind {
            ports.push(far.name.clone());
        }
        attached.links.push(bridge);
        attached.links.push(Link::new(far.clone(), LinkKind::Veth { peer: near.clone() }));
        let mac = match attached.network.delegate {
            Delegate::Bridge { mac, .. } => mac,
            _ => None,
        };
        Link { mtu: attached.network.mtu, mac, ..Link::new(near, LinkKind::Veth { peer: far }) }
    }

    /// A macvlan, ipvlan or VLAN: in the pod, its parent at the node.
    fn on_parent(
        &self,
        delegate: &Delegate,
        attached: &Attached,
        (pod, node): (&NsName, &NsName),
    ) -> Result<Link, (String, String)> {
        let parent = |name: &IfName, in_container: bool| {
            self.find(if in_container { pod } else { node }, name).map(|link| link.device)
        };
        let kind = match delegate {
            Delegate::Macvlan { master, mode, in_container, .. } => {
                LinkKind::Macvlan { parent: parent(master, *in_container)?, mode: *mode }
            }
            Delegate::Ipvlan { master, mode, in_container } => LinkKind::Ipvlan {
                parent: parent(master, *in_container)?,
                mode: *mode,
                flag: IpvlanFlag::Bridge,
            },
            Delegate::Vlan { master, id, in_container } => LinkKind::Vlan {
                parent: parent(master, *in_container)?,
                id: *id,
                protocol: VlanProtocol::Ieee8021Q,
            },
            other => return Err((format!("{} stands on no parent", other.plugin()), String::new())),
        };
        let device = DeviceRef::new(pod, &attached.ifname);
        let mac = match delegate {
            Delegate::Macvlan { mac, .. } => *mac,
            _ => None,
        };
        Ok(Link { mtu: attached.network.mtu, mac, ..Link::new(device, kind) })
    }

    /// What DEL leaves behind.
    fn del(&mut self, delegate: &Attached, attachment: &Attachment) {
        if let Some(ipam) = &delegate.network.ipam {
            self.leases.give_back(&delegate.network.name, ipam, &delegate.addresses);
        }
        match &delegate.network.delegate {
            Delegate::Bond(_) => {
                self.present.shift_remove(&DeviceRef::new(&attachment.pod, &delegate.ifname));
                for link in &delegate.taken {
                    self.present.shift_remove(&DeviceRef::new(&attachment.pod, &link.device.name));
                }
            }
            Delegate::Bridge { .. } => {
                for link in delegate.links.iter().skip(1) {
                    self.present.shift_remove(&link.device);
                }
            }
            _ => drop(self.present.shift_remove(&DeviceRef::new(&attachment.pod, &delegate.ifname))),
        }
        for link in &delegate.taken {
            self.present.insert(link.device.clone(), Link { up: false, ..moved(link.clone()) });
        }
    }

    /// What an ADD that failed leaves behind: those before it are deleted, and the bond plugin moves nothing back.
    fn roll_back(&mut self, attachment: &Attachment) {
        let Some((failed, before)) = attachment.delegates.split_last() else { return };
        self.del(failed, attachment);
        if matches!(failed.network.delegate, Delegate::Bond(_)) {
            for link in &failed.taken {
                self.present.shift_remove(&link.device);
                let device = DeviceRef::new(&attachment.pod, &link.device.name);
                self.put(Link { device, up: false, ..moved(link.clone()) });
            }
        }
        for delegate in before.iter().rev() {
            self.del(delegate, attachment);
        }
    }
}

/// `isGateway` of the bridge plugin: the bridge has each address's gateway, which is the network's first address where
/// IPAM names none (`calcGateways()`), and routes without next hop lead there.
fn be_gateway(attached: &mut Attached) {
    let Delegate::Bridge { is_gateway: true, is_default_gateway, .. } = attached.network.delegate else {
        return;
    };
    let ipam = attached.network.ipam.as_ref();
    let named = |cidr: &Cidr| match ipam {
        Some(Ipam::Static { addresses, .. }) => addresses.iter().find(|(one, _)| one == cidr)?.1,
        Some(Ipam::HostLocal { ranges, .. }) => Some(ranges.first()?.gateway.into()),
        _ => None,
    };
    let gateways: Vec<Cidr> = attached
        .addresses
        .iter()
        .filter_map(|cidr| {
            Some(Cidr { address: named(cidr).or_else(|| first_of(cidr))?, prefix: cidr.prefix })
        })
        .collect();
    let Some(bridge) = attached.links.first_mut() else { return };
    attached.bridged.gateways =
        gateways.iter().filter(|cidr| !bridge.addresses.contains(cidr)).copied().collect();
    bridge.addresses.extend(&attached.bridged.gateways);
    let v4 = gateways.iter().map(|cidr| cidr.address).find(IpAddr::is_ipv4);
    for route in &mut attached.routes {
        route.via = route.via.or(v4);
    }
    if is_default_gateway && attached.routes.iter().all(|route| route.to.is_some()) {
        let dev = Some(attached.ifname.clone());
        attached.routes.extend(v4.map(|via| Route::new(None, Some(via), dev)));
    }
}

/// The first address of a network; IPv6 needs `gateway` here.
fn first_of(cidr: &Cidr) -> Option<IpAddr> {
    let IpAddr::V4(address) = cidr.address else { return None };
    let mask = u32::MAX.checked_shl(u32::from(32 - cidr.prefix)).unwrap_or(0);
    Some(Ipv4Addr::from((u32::from(address) & mask).checked_add(1)?).into())
}

/// Only a PF can put a VF into a VLAN, or check its addresses: a substitute has none.
fn asked_of_a_pf(asked: &VfSettings, link: &Link) -> Result<(), (String, String)> {
    let VfSettings { vlan, qos, spoofchk, trust, link_state, max_tx_rate, min_tx_rate, mac: _ } = asked;
    let rates = [max_tx_rate, min_tx_rate].into_iter().flatten();
    let asks = vlan.is_some_and(|vlan| vlan.get() > 0)
        || qos.is_some()
        || *spoofchk == Some(true)
        || *trust == Some(true)
        || link_state.is_some_and(|state| state != VfLinkState::Auto)
        || rates.into_iter().any(|rate| *rate > 0);
    if asks && !matches!(link.kind, LinkKind::Vf { .. }) {
        let message = format!("{} is a {}, and has no PF", link.device.name, link.kind.word());
        return Err((message, "name a VF in `resource`, or take what is asked of a PF away".into()));
    }
    Ok(())
}

/// What a sriov plugin tells a PF, where a switch stands in for it.
fn told(port: &SwitchPort, asked: &VfSettings, link: &Link) -> Result<(), (String, String)> {
    let lacks = port.told(asked).err();
    lacks.map_or(Ok(()), |word| {
        let message = format!("a switch in the place of the PF of {} does no {word}", link.device.name);
        Err((message, "leave it away, or take hardware".into()))
    })
}

/// A link in another namespace: its addresses and its queueing discipline's options stay behind.
fn moved(link: Link) -> Link {
    Link { addresses: Vec::new(), qdisc: None, ..link }
}

fn hint(known: &[&str]) -> String {
    if known.is_empty() { "there is none at all".into() } else { format!("there are: {}", known.join(", ")) }
}

/// What a link gets whose address an earlier one has: the plugin sends the text of a random address instead of its bytes,
/// and the kernel takes the first six characters. 256 of them exist; here it is always the same one.
pub(crate) const ASCII_OF_02_3F: Mac = Mac([b'0', b'2', b':', b'3', b'f', b':']);
