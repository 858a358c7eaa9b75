//! Operations: what the agent does, one after the other.

use serde::{Deserialize, Serialize};

use crate::net::address::Mac;
use crate::net::bond::BondChange;
use crate::net::dhcp::Server;
use crate::net::link::Link;
use crate::net::link_extras::{BridgePort, FdbEntry, Filter, Macsec, PortVlan};
use crate::net::mdb::MdbEntry;
use crate::net::name::{DeviceRef, NsName};
use crate::net::nic::VfSettings;
use crate::net::offload::Offload;
use crate::net::qdisc::Qdisc;
use crate::net::route::{Neighbour, Route, Rule};
use crate::net::switch_port::SwitchPort;
use crate::net::sysctl::Sysctl;
use crate::plan::cni_calls::{LeaseCall, PluginCall};
use crate::plan::moment::When;
use crate::topology::condition::Condition;
use crate::topology::fault::Fault;
use crate::topology::observation::Shown;
use crate::topology::request::{Refused, Request};
use crate::topology::scenario::Capture;

/// One thing the agent does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Op {
    /// Make a namespace, held by a file descriptor.
    Namespace(NsName),
    /// Set a namespace's settings, and read them back.
    Sysctls {
        /// In this namespace.
        ns: NsName,
        /// In this order.
        sysctls: Vec<Sysctl>,
    },
    /// Make a link, down.
    Create {
        /// The link.
        link: Link,
        /// A cable is made with both ends; this is the other.
        peer: Option<Link>,
    },
    /// Take a NIC out of its slot into its namespace, down; of a PF, make its VFs, without a driver.
    Adopt {
        /// The NIC.
        link: Link,
        /// Its place in [`Plan::slots`].
        slot: usize,
    },
    /// What a PF says of one of its VFs.
    SetVf {
        /// The PF.
        pf: DeviceRef,
        /// The VF's number.
        index: u8,
        /// What it says.
        settings: VfSettings,
    },
    /// What a port of a switch does in the place of a VF.
    SwitchPort(SwitchPort),
    /// Give a VF its driver and take its device into its namespace, down.
    AdoptVf {
        /// The VF.
        link: Link,
        /// Its PF.
        of: DeviceRef,
        /// Its number.
        index: u8,
        /// Whether its address is the PF's choice.
        is_addressed: bool,
    },
    /// Make a device a port; both are down.
    Join {
        /// The port.
        port: DeviceRef,
        /// The bond or bridge.
        controller: DeviceRef,
    },
    /// Change options of a bond or of its port.
    SetBond {
        /// The bond or port.
        device: DeviceRef,
        /// What is asked of it.
        change: BondChange,
        /// Whether it is read back at once; what a topology is made with is read back when all of it is there.
        read_back: bool,
    },
    /// Set a link up.
    Up(DeviceRef),
    /// Change the length of a queue.
    TxQueueLen {
        /// Of this device.
        device: DeviceRef,
        /// In packets.
        len: u32,
    },
    /// Switch an offload.
    Offload {
        /// Of this device.
        device: DeviceRef,
        /// Which.
        offload: Offload,
        /// On or off.
        on: bool,
    },
    /// Put a queueing discipline at the root of a device.
    Qdisc {
        /// On this device.
        device: DeviceRef,
        /// This discipline.
        qdisc: Qdisc,
    },
    /// Give a device its addresses.
    Addresses(Link),
    /// Add a route.
    Route {
        /// In this namespace.
        ns: NsName,
        /// This route.
        route: Route,
    },
    /// What is asked of a link and is not in the message that makes it: features, settings, flags, modes.
    Configure(Link),
    /// Give a MACsec device its associations; the other end is made.
    Secure {
        /// The device.
        device: DeviceRef,
        /// The other end, and the key.
        macsec: Macsec,
    },
    /// What a bridge says of a port.
    BridgePort {
        /// The port.
        port: DeviceRef,
        /// What it says.
        settings: BridgePort,
    },
    /// The VLANs of a bridge itself.
    BridgeVlans {
        /// The bridge.
        bridge: DeviceRef,
        /// These and no others.
        vlans: Vec<PortVlan>,
    },
    /// Add an entry to a forwarding database.
    Forwarding {
        /// At this device.
        device: DeviceRef,
        /// This entry.
        entry: FdbEntry,
    },
    /// Add an entry to a multicast database: its bridge and the port are up.
    Multicast {
        /// At this device.
        device: DeviceRef,
        /// This entry.
        entry: MdbEntry,
    },
    /// Attach a filter that changes frames or sends them elsewhere.
    Filter {
        /// At this device.
        device: DeviceRef,
        /// Its place among those of the device: filters are asked in this order.
        number: u16,
        /// This filter.
        filter: Filter,
    },
    /// Add a rule that chooses a routing table.
    Rule {
        /// In this namespace.
        ns: NsName,
        /// This rule.
        rule: Rule,
    },
    /// Add a neighbour.
    Neighbour {
        /// In this namespace.
        ns: NsName,
        /// This neighbour.
        neighbour: Neighbour,
    },
    /// Wait until these devices can carry frames.
    Ready {
        /// All that will have carrier.
        devices: Vec<DeviceRef>,
    },
    /// Read the links back and compare them with what was asked for.
    Verify {
        /// All of the topology.
        links: Vec<Link>,
    },
    /// Read all counters.
    Count(When),
    /// Count frames where they arrive, until the trial ends.
    Capture(Capture),
    /// Break something.
    Inject {
        /// The fault's name.
        name: String,
        /// The fault.
        fault: Fault,
    },
    /// Mend it.
    Clear {
        /// The fault's name.
        name: String,
        /// The fault.
        fault: Fault,
        /// The queueing discipline that the topology itself gives the device.
        standing: Option<Qdisc>,
    },
    /// Make the connection of a TCP flow, by number.
    Connect {
        /// Its place in [`Plan::flows`].
        flow: u16,
    },
    /// Send a flow, by number, and wait until nothing moves any more.
    Flood {
        /// Its place in [`Plan::flows`].
        flow: u16,
        /// What is broken in the midst of it.
        broken: Option<Broken>,
    },
    /// Wait until a condition holds; that it does not is recorded, and is no error.
    Wait {
        /// On a state or a capture.
        until: Condition,
        /// In ms.
        within_ms: u32,
        /// Whether to look only once where a wait before it timed out: what it stands on will not come either.
        #[serde(default)]
        unless_timed_out: bool,
    },
    /// Ask something of the kernel, and read it back.
    Request(Request),
    /// Do something that the kernel may refuse: its answer is recorded, and the trial goes on.
    Attempt {
        /// In order; after a refusal nothing more of it is done.
        ops: Vec<Op>,
        /// How it must be refused.
        refused: Refused,
    },
    /// Read what the kernel shows.
    Show(Vec<Shown>),
    /// Let time pass, in ms.
    Pause(u32),
    /// Let a namespace pass IPv4 on.
    Forward(NsName),
    /// Have packets that leave by a device carry its address as their source.
    Masquerade(DeviceRef),
    /// Set a link down.
    Down(DeviceRef),
    /// Take a port out of its controller.
    Leave(DeviceRef),
    /// Give a link another Ethernet address.
    Address {
        /// Which.
        device: DeviceRef,
        /// This one.
        mac: Mac,
    },
    /// Move a link to another namespace, under that name.
    Move {
        /// Where it is.
        from: DeviceRef,
        /// Where it goes.
        to: DeviceRef,
    },
    /// Delete a link.
    Delete(DeviceRef),
    /// Answer DHCP in a namespace until the trial ends.
    Serve(Server),
    /// Get an address from a DHCP server, and take it.
    Lease(LeaseCall),
    /// Give it back.
    Release(LeaseCall),
    /// Run a CNI plugin's own program.
    Plugin(Box<PluginCall>),
    /// Give up, as a plugin does before it asks the kernel, in its words.
    Refuse(String),
    /// ADD of each delegate in order. When one fails, it and those before it are deleted in reverse order.
    Attach {
        /// The pod.
        pod: NsName,
        /// One for each delegate.
        parts: Vec<Part>,
        /// The network whose ADD is expected to fail.
        fails: Option<String>,
        /// How the kernel must refuse it, where the file says so.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        refused: Option<Refused>,
    },
    /// DEL of each delegate.
    Detach {
        /// The pod.
        pod: NsName,
        /// In order.
        undos: Vec<Undo>,
    },
    /// CHECK of each delegate: read back what ADD made.
    CheckPod {
        /// The pod.
        pod: NsName,
        /// All that was made for it.
        links: Vec<Link>,
    },
}

/// One delegate's ADD.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Part {
    /// The network's name.
    pub network: String,
    /// What its plugin does.
    pub ops: Vec<Op>,
    /// What it does on DEL.
    pub undo: Undo,
}

/// One delegate's DEL.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Undo {
    /// The network's name.
    pub network: String,
    /// Nothing is done when this device is not there. A plugin's own program is run in any case.
    pub unless_gone: Option<DeviceRef>,
    /// What its plugin does.
    pub ops: Vec<Op>,
}

/// A fault in the midst of a flow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Broken {
    /// Just before this frame.
    pub at_frame: u32,
    /// The fault's name.
    pub name: String,
    /// The fault.
    pub fault: Fault,
}

impl Op {
    /// The devices it makes or changes.
    pub fn devices(&self) -> Vec<&DeviceRef> {
        match self {
            Self::Create { link, peer } => {
                [&link.device].into_iter().chain(peer.as_ref().map(|peer| &peer.device)).collect()
            }
            Self::Adopt { link, .. } => vec![&link.device],
            Self::AdoptVf { link, of, .. } => vec![&link.device, of],
            Self::SetVf { pf, .. } => vec![pf],
            Self::SwitchPort(port) => vec![&port.device],
            Self::Join { port, controller } => vec![port, controller],
            Self::SetBond { device, .. } => vec![device],
            Self::Move { from, to } => vec![from, to],
            Self::Up(device)
            | Self::Down(device)
            | Self::Leave(device)
            | Self::Delete(device)
            | Self::Masquerade(device)
            | Self::TxQueueLen { device, .. }
            | Self::Offload { device, .. }
            | Self::Address { device, .. }
            | Self::Qdisc { device, .. } => vec![device],
            Self::Addresses(link) | Self::Configure(link) => vec![&link.device],
            Self::BridgePort { port: device, .. }
            | Self::BridgeVlans { bridge: device, .. }
            | Self::Filter { device, .. }
            | Self::Secure { device, .. }
            | Self::Multicast { device, .. }
            | Self::Forwarding { device, .. } => vec![device],
            Self::Lease(call) | Self::Release(call) => vec![&call.device],
            Self::Inject { fault, .. } | Self::Clear { fault, .. } => vec![fault.device()],
            Self::Request(request) => request.device().into_iter().collect(),
            Self::Attempt { ops, .. } => ops.iter().flat_map(Op::devices).collect(),
            Self::Namespace(_)
            | Self::Sysctls { .. }
            | Self::Route { .. }
            | Self::Rule { .. }
            | Self::Neighbour { .. }
            | Self::Ready { .. }
            | Self::Verify { .. }
            | Self::Count(_)
            | Self::Capture(_)
            | Self::Connect { .. }
            | Self::Flood { .. }
            | Self::Wait { .. }
            | Self::Show(_)
            | Self::Pause(_)
            | Self::Forward(_)
            | Self::Serve(_)
            | Self::Plugin(_)
            | Self::Refuse(_)
            | Self::Attach { .. }
            | Self::Detach { .. }
            | Self::CheckPod { .. } => Vec::new(),
        }
    }
}
