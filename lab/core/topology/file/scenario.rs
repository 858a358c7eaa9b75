//! Tables of what happens as written: flows, faults, steps, conditions, the report and its hypotheses.

use std::net::IpAddr;

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};

use crate::net::address::{Cidr, Mac, MacSource};
use crate::net::family::Family;
use crate::net::flow_shape::Pmtudisc;
use crate::net::frame_class::FrameClass;
use crate::net::name::{DeviceRef, IfName, NsName, VlanId};
use crate::net::offload::Offload;
use crate::net::qdisc::PlugAction;
use crate::net::sysctl::{SysctlName, SysctlValue};
use crate::net::version::KernelRanges;
use crate::topology::cni::Tree;
use crate::topology::condition::{FlowField, State};
use crate::topology::fault::{FilterKind, Hook, PartnerSends};
use crate::topology::file::{At, BondOptionsTable, NeighbourTable, PortTable, QdiscTable, RouteTable};
use crate::topology::scenario::{CountsAt, Socket};

/// A flow of numbered frames.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FlowTable {
    /// The device that sends.
    pub from: At<DeviceRef>,
    /// The device by which frames are to arrive. What comes to the right address by another one is not delivered.
    pub to: At<DeviceRef>,
    /// How they are sent; `packet` unless you say otherwise.
    pub socket: Option<Socket>,
    /// Where frames count as delivered: `device`, `stack` or `socket`. Unless you say otherwise `device` with packet and
    /// packet-bypass and what is sent to a group, `stack` with ping, `socket` with udp, udp-recverr, raw and tcp. No socket takes
    /// an echo request, TCP counts at its socket only, and a group's at the device only.
    pub counts_at: Option<At<CountsAt>>,
    /// How many.
    pub frames: At<u32>,
    /// Bytes on the sending device, without FCS; 98 unless you say otherwise, as `ping` sends. What is longer than the MTU is sent as
    /// fragments, or by TCP as several segments.
    pub len: Option<At<usize>>,
    /// With a UDP socket: bound to no device and no address. The routes decide which way it goes.
    pub unbound: Option<At<bool>>,
    /// A tag in the frame itself, as a sender without VLAN device writes it.
    pub tag: Option<At<VlanId>>,
    /// With a packet socket: the destination's Ethernet address, written out or another device's (`node:bond0`). The
    /// receiver's own unless you say so.
    pub destination_mac: Option<At<MacSource>>,
    /// From one frame to the next, in microseconds; as fast as it goes unless you say so.
    pub interval_us: Option<At<u32>>,
    /// With a TCP socket: after so many seconds of silence it asks whether the other end is there, and gives the
    /// connection up when as many seconds later there is no answer (SO_KEEPALIVE with TCP_KEEPCNT 1).
    pub keepalive_s: Option<At<u32>>,
    /// With a TCP socket: connect when the flow is sent, and not before anything is broken. It is bound to the device only.
    /// The errno of connect() is that of every write; EINPROGRESS is nothing within 5 s.
    pub connect_late: Option<At<bool>>,
    /// The version of IP that it is sent with; `ipv4` unless you say otherwise. Both ends need an address of it.
    pub family: Option<Family>,
    /// Whether packets may be fragmented, by the words of `ping -M`: `dont`, `want`, `do`, `probe` (IP_MTU_DISCOVER). Of packet and raw
    /// sockets all but `dont` set IP_DF. The kernel's own choice unless you say otherwise, and no IP_DF of packet and raw sockets.
    pub pmtudisc: Option<At<Pmtudisc>>,
    /// Priority of the packets (SO_PRIORITY), for queueing disciplines and priority maps: 0 to 15.
    pub priority: Option<At<u32>>,
    /// IPv4's type of service, or IPv6's traffic class: DSCP and ECN, 0 to 255.
    pub tos: Option<At<u32>>,
    /// With a UDP, raw or packet socket: spread over so many source ports, from 49152 on, one frame after the other; 1000 at the most.
    /// All have one unless you say so.
    pub source_ports: Option<At<u32>>,
    /// With a UDP, raw or packet socket: the broadcast or multicast address that it is sent to. `to` is then the device that counts
    /// what arrives, and other devices may get copies.
    pub group: Option<At<IpAddr>>,
}

/// A queueing discipline put at the root of a device.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct QdiscFaultTable {
    /// Which device.
    pub device: At<DeviceRef>,
    /// Which discipline.
    pub qdisc: At<QdiscTable>,
}

/// A filter that drops.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FilterFaultTable {
    /// Which device.
    pub device: At<DeviceRef>,
    /// `egress` or `ingress`.
    pub hook: At<Hook>,
    /// Drop only frames whose VLAN tag is this (clsact, tcx).
    pub vlan: Option<At<VlanId>>,
    /// `clsact` unless you say `tcx`, `nft`, `nft-input`, `xdp` or `xdp-generic`; the last three on ingress.
    pub kind: Option<FilterKind>,
}

/// A device taken down.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DownFaultTable {
    /// Which device.
    pub device: At<DeviceRef>,
}

/// A port taken out of its bond or bridge.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReleaseFaultTable {
    /// Which port.
    pub device: At<DeviceRef>,
}

/// Another largest packet.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MtuFaultTable {
    /// Which device.
    pub device: At<DeviceRef>,
    /// In bytes.
    pub mtu: At<u32>,
}

/// A cable's receiving end held: its ring of 256 frames fills, and is not emptied. Frames in the ring when the
/// fault is cleared, or when the trial ends, are lost.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HoldFaultTable {
    /// Which end: the one that receives.
    pub device: At<DeviceRef>,
}

/// The cable of an emulated NIC pulled out, by QEMU.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UnplugFaultTable {
    /// Which NIC, at either end.
    pub device: At<DeviceRef>,
}

/// The gadget's end of a USB pair, whose driver stops its queue after ten frames, with carrier: the other end is down.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StallFaultTable {
    /// Which end: the gadget, which sends.
    pub device: At<DeviceRef>,
}

/// The other end of the port's cable is an LACP partner that does as it is told: unless you say otherwise it sends a LACPDU each
/// second and never comes into sync. It is the second one that the port believes: let three seconds pass. When the fault is
/// cleared it falls silent.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PartnerFaultTable {
    /// Which port of an 802.3ad bond.
    pub device: At<DeviceRef>,
    /// `fast`, `slow` or `never`; `fast` unless you say otherwise.
    pub sends: Option<PartnerSends>,
    /// Whether it comes into sync, collects and distributes; it does not unless you say so.
    pub in_sync: Option<At<bool>>,
    /// Its port's key; 1 unless you say otherwise. Ports whose partners have different keys are never in one aggregator.
    pub key: Option<At<u16>>,
    /// With `in_sync = true`: so many seconds in sync, and as many out of sync, in turn: 1 to 300. It stays in sync unless you say so.
    pub flap_s: Option<At<u16>>,
    /// Its system; its device's address unless you say otherwise. Ports of one channel have partners of one system.
    pub system: Option<At<Mac>>,
}

/// The socket that receives at this device has the smallest buffer there is, and it is not read until the fault is
/// cleared or the trial ends. Flows that count at the device or in the stack do not notice.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RcvbufFaultTable {
    /// Where flows are received.
    pub device: At<DeviceRef>,
}

/// No socket listens at this device's address until the fault is cleared: a UDP datagram has no socket. To the sender IP answers
/// with ICMP (port unreachable), for some of the datagrams (net.ipv4.icmp_ratelimit).
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClosedFaultTable {
    /// Where flows are received.
    pub device: At<DeviceRef>,
}

/// The queue between devices and the receiving processor, net.core.netdev_max_backlog, made short. The kernel has one
/// such limit for the whole machine, so this is for machines of the lab's own. A veth without XDP receives through it.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BacklogFaultTable {
    /// A device that receives through it.
    pub device: At<DeviceRef>,
    /// In frames; one more than this may wait (`enqueue_to_backlog()`). The kernel's own is 1000.
    pub limit: At<u32>,
}

/// Counts frames of one class where they arrive, from the first step to the last.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CaptureTable {
    /// Where they arrive.
    pub device: At<DeviceRef>,
    /// Which frames.
    pub what: FrameClass,
    /// Only frames whose outermost tag is of this VLAN, 802.1Q or 802.1ad; what else is tagged inside does not matter.
    /// Without it only untagged ones are counted. A tag with VID 0 has a priority and no VLAN: the kernel takes it for none.
    pub vlan: Option<At<VlanId>>,
    /// Only frames from this Ethernet address, written out or the one that a device (`node:bond0`) has before the first step.
    pub src_mac: Option<At<MacSource>>,
    /// Only frames from this address: ARP's sender protocol address, or the source of the IPv4 or IPv6 header.
    pub src_ip: Option<At<IpAddr>>,
    /// With `what = "probe"`: only frames of this flow.
    pub flow: Option<At<String>>,
    /// The count is for the result alone: it is recorded and compared with what was accepted, and no condition names it.
    pub recorded: Option<bool>,
}

/// One step: exactly one verb.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StepTable {
    /// Break something, by the fault's name.
    pub inject: Option<At<String>>,
    /// Mend it again.
    pub clear: Option<At<String>>,
    /// Send a flow.
    pub flood: Option<At<String>>,
    /// With `flood` and `inject`: break it just before this frame, counted from 0.
    pub at_frame: Option<At<u32>>,
    /// Wait until this holds: a condition on a state or a capture. A wait without success is a failed check, and the next
    /// step is done all the same.
    pub wait: Option<At<ConditionTable>>,
    /// With `wait`: how long at the most, in ms; 10000 unless you say otherwise.
    pub within_ms: Option<At<u32>>,
    /// Let time pass, in ms.
    pub pause_ms: Option<At<u32>>,
    /// Attach a pod to networks, as Multus does.
    pub attach: Option<At<AttachTable>>,
    /// Detach a pod: DEL of its networks in reverse order.
    pub detach: Option<At<NsName>>,
    /// Let a bond's device selectors choose again, now that everything stands: what they match besides its ports is
    /// taken down and enslaved, as Talos' controller does.
    pub reconcile: Option<At<DeviceRef>>,
    /// Change options of a bond or of its port, as `ip link set` does: with `bond` or `port`. They are read back.
    pub set: Option<At<DeviceRef>>,
    /// With `set`: set it up or down. All keys beside one `set` go into one RTM_NEWLINK message, but `features`, `plug`,
    /// `add_address` and `delete_address`, which are requests of their own.
    pub up: Option<At<bool>>,
    /// With `set`: another MTU, in bytes.
    pub mtu: Option<At<u32>>,
    /// With `set`: another Ethernet address, written out or another device's.
    pub mac: Option<At<MacSource>>,
    /// With `set`: another length of its queue, in packets.
    pub txqueuelen: Option<At<u32>>,
    /// With `set`: the bond or bridge that it becomes a port of, or `none`. Nothing else is done to the device before.
    pub controller: Option<At<String>>,
    /// With `set`: another name. Steps and conditions after it use the new one.
    pub name: Option<At<IfName>>,
    /// With `set`: another namespace.
    pub ns: Option<At<NsName>>,
    /// With `set`: features by the names that `ethtool -k` has for them: `{ tx-vlan-hw-insert = false }`.
    pub features: Option<At<IndexMap<String, bool>>>,
    /// With `set`: what the plug at the device's root does with what it holds: `release`, `buffer`, `release_one`. The plug is the
    /// device's own (`qdisc`) or a fault's.
    pub plug: Option<At<PlugAction>>,
    /// With `set`: another address.
    pub add_address: Option<At<Cidr>>,
    /// With `set`: an address less.
    pub delete_address: Option<At<Cidr>>,
    /// Delete this device, and with it what stands on it.
    pub delete: Option<At<DeviceRef>>,
    /// Make this device as it is described: one that has `later = true`, or that a step has deleted. Ports join by steps of
    /// their own.
    pub create: Option<At<DeviceRef>>,
    /// Change something of this namespace: with `sysctl`, `add_route`, `delete_route`, `add_neighbour` or `delete_neighbour`.
    #[serde(rename = "in")]
    pub of_ns: Option<At<NsName>>,
    /// With `in`: settings, by the name that `sysctl` has for them.
    pub sysctl: Option<At<IndexMap<SysctlName, SysctlValue>>>,
    /// With `in`: another route.
    pub add_route: Option<At<RouteTable>>,
    /// With `in`: a route less.
    pub delete_route: Option<At<RouteTable>>,
    /// With `in`: another permanent neighbour.
    pub add_neighbour: Option<At<NeighbourTable>>,
    /// With `in`: a neighbour less.
    pub delete_neighbour: Option<At<NeighbourTable>>,
    /// The kernel must refuse this step, with this errno. It is a check, and the next step is done all the same. A step that
    /// is refused without this ends the run.
    pub refused: Option<At<String>>,
    /// With `refused`: what the kernel says besides (extended acknowledgement); `*` stands for anything.
    pub extack: Option<At<String>>,
    /// With `refused`: only on these kernels; on all others the step must be carried out.
    pub when: Option<At<KernelRanges>>,
    /// With `set`: options of the bond.
    pub bond: Option<At<BondOptionsTable>>,
    /// With `set`: options of the port.
    pub port: Option<At<PortTable>>,
    /// CHECK of a pod's networks: everything is still as ADD made it.
    pub check: Option<At<NsName>>,
}

/// A pod attached to networks.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AttachTable {
    /// The pod: a namespace, which need not have a table.
    pub pod: At<NsName>,
    /// The node it runs on: the namespace that has the links.
    pub node: At<NsName>,
    /// The annotation, in its order: `network` or `network@interface`. Without a name interfaces are net1, net2, ... Or its
    /// own text, as it stands in a pod: `a, b@net2`, or a JSON list of objects with `name` and `interface`.
    #[schemars(with = "Networks")]
    pub networks: At<Tree>,
    /// The network whose ADD must fail: what was added is then deleted again. `refused` and `extack` of the step say how.
    pub fails: Option<At<String>>,
}

/// For the JSON Schema: `cni` reads them.
#[derive(JsonSchema)]
#[schemars(untagged)]
#[expect(dead_code, reason = "it is the schema of what `read_annotation` takes apart")]
enum Networks {
    /// Entries.
    List(Vec<String>),
    /// An annotation's text.
    Text(String),
}

/// A condition: what to look at, and what it must be.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ConditionTable {
    /// Its name in reports; made from the rest when not given.
    pub name: Option<String>,
    /// Look at this flow: with `field`, `errno` or `layer`.
    pub flow: Option<At<String>>,
    /// A number of the flow's account.
    pub field: Option<FlowField>,
    /// Sends refused with this errno.
    pub errno: Option<At<String>>,
    /// Whether its frames come from this address and no other, as the receiver sees them: 1 or 0.
    pub seen_from: Option<IpAddr>,
    /// Frames lost at this layer, with `device` on that device only, and with `reason` for that reason only.
    pub layer: Option<At<String>>,
    /// With `layer`: the kernel's drop reason, without `SKB_DROP_REASON_`: `QDISC_DROP`. On kernels before 5.17, which have
    /// none, the condition is not applicable.
    pub reason: Option<At<String>>,
    /// Look at this device: with `counter`, `state`, `mac`, `refused`, `show`, `proc_bonding`, `feature`, `neighbour`, `bridge_vlan` or `fdb`.
    pub device: Option<At<DeviceRef>>,
    /// Look at the root queueing discipline of this device: with `counter`.
    pub qdisc: Option<At<DeviceRef>>,
    /// With `qdisc`: look at the device's clsact, whose filters' drops it counts, and not at its root.
    pub kind: Option<HookKind>,
    /// Which counter.
    pub counter: Option<At<String>>,
    /// Whether the device has this address, with prefix length, after the last step: 1 or 0.
    pub address: Option<At<Cidr>>,
    /// Look at this namespace: with `routes`, `ip_address`, `sysctl` or `snmp`.
    pub ns: Option<At<NsName>>,
    /// Whether the namespace has exactly these IPv4 routes after the last step: 1 or 0. Lines as `ip route list` prints
    /// them; destination, next hop and device are compared.
    pub routes: Option<At<String>>,
    /// Whether `ip address` prints this in the namespace after the last step: 1 or 0. Compared are names, flags, MTU, queueing
    /// discipline (unless it is `*`), controller, state, queue length, IPv4 addresses, and which devices share an Ethernet address.
    /// A line `...` stands for devices that are left out.
    pub ip_address: Option<At<String>>,
    /// Which state of the device, after the last step.
    pub state: Option<State>,
    /// Whether the device has this Ethernet address, written out or another device's (`node:bond0`), after the last
    /// step: 1 or 0.
    pub mac: Option<At<MacSource>>,
    /// The kernel must refuse to make or change the device, with this errno. The run ends there, so a bound has no
    /// meaning, and nothing else can be expected.
    pub refused: Option<At<String>>,
    /// The fault that breaks it: `lab run --prove` injects it at the start, beside those of the steps. Only where
    /// the lab finds none by itself.
    pub broken_by: Option<At<String>>,
    /// Only on these kernels: `6.11..`, `..6.10`, `6.12..6.18`, or several with commas; both ends included, a series with all
    /// it has. On others the condition is not applicable, and must not hold: where it does, the boundary is elsewhere.
    pub when: Option<At<KernelRanges>>,
    /// With `device`: what `ip -s -s -d link` shows of it, by the word it has for it: `operstate`, `miimon`,
    /// `ad_partner_oper_port_state`. All words are listed in the reference.
    pub show: Option<At<String>>,
    /// With `device`, a bond or a port of one: a line of /proc/net/bonding. `MII Status`, or below a heading
    /// `details partner lacp pdu/port state`.
    pub proc_bonding: Option<At<String>>,
    /// With `device`: a feature by the name that `ethtool -k` has for it: `on`, `off`, `on [fixed]`, `off [fixed]`.
    pub feature: Option<At<String>>,
    /// With `device`: the state of this neighbour (`ip neighbour`), `none` where there is none.
    pub neighbour: Option<At<IpAddr>>,
    /// With `device`, a bridge or its port: `member`, `pvid`, `untagged` of this VLAN (`bridge vlan`), `none` where it is not in it.
    pub bridge_vlan: Option<At<VlanId>>,
    /// With `device`, a bridge port: what `bridge fdb` shows of this address, `none` where it does not know it.
    pub fdb: Option<At<MacSource>>,
    /// With `qdisc` and `counter`: not the root but what hangs at this parent, `1:2`. As `tc -s qdisc` shows it, no difference.
    pub parent: Option<At<String>>,
    /// With `ns`: a setting of the namespace.
    pub sysctl: Option<At<SysctlName>>,
    /// With `ns`: an SNMP counter as `nstat` names it, `IpOutDiscards`, as a difference over the trial.
    pub snmp: Option<At<String>>,
    /// How many lines of the kernel's log, of any level, hold this since the trial began; `*` stands for anything. Lines that
    /// the kernel prints once are printed in each trial.
    pub kernel_log: Option<At<String>>,
    /// With `kernel_log`: there must be no such line.
    pub forbid: Option<At<bool>>,
    /// What is shown is exactly this.
    pub is: Option<At<String>>,
    /// What is shown is anything but this.
    pub is_not: Option<At<String>>,
    /// This word is among those that are shown.
    pub has: Option<At<String>>,
    /// This word is not among them.
    pub lacks: Option<At<String>>,
    /// Look at what this capture counted. A bound that only just holds will not hold in each run.
    pub capture: Option<At<String>>,
    /// Exactly this.
    pub equals: Option<At<u64>>,
    /// This or more.
    pub at_least: Option<At<u64>>,
    /// This or less.
    pub at_most: Option<At<u64>>,
    /// In evidence: what is observed after this mitigation was tried, on what is still broken.
    pub under: Option<At<String>>,
}

/// A queueing discipline that is not at the root.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum HookKind {
    /// `tc qdisc add dev DEVICE clsact`.
    Clsact,
}

/// A bug report's evidence.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReportTable {
    /// Flows sent under each hypothesis.
    pub floods: Vec<At<String>>,
    /// What the report observed.
    pub evidence: Vec<At<ConditionTable>>,
}

/// An explanation of the report.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HypothesisTable {
    /// The explanation in plain words.
    pub about: String,
    /// Faults that would have to produce the evidence.
    #[serde(default)]
    pub inject: Vec<At<String>>,
    /// What is made in another way than the rest of the file says: namespaces with their links, put over those of the file. Tables
    /// are merged; any other value, and a list as a whole, takes the place of the one that is there.
    #[schemars(with = "Option<OverlayTable>")]
    pub with: Option<Overlaid>,
    /// Wait until this holds before the flows are sent: a bond notices a dead port only by and by.
    pub wait: Option<At<ConditionTable>>,
    /// Whether it is expected to fit all of it.
    pub fits: Option<bool>,
}

/// `parse::overlay` takes it apart: the file is read once more with it.
#[derive(Debug, Clone, Copy)]
pub struct Overlaid;

impl<'de> Deserialize<'de> for Overlaid {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        IndexMap::<String, IgnoredAny>::deserialize(deserializer).map(|_| Self)
    }
}

/// For the JSON Schema.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "it is the schema of what `parse::overlay` takes apart")]
struct OverlayTable {
    /// Namespaces, with the keys that they have at the top of the file.
    ns: IndexMap<String, serde_json::Value>,
}

/// Something that was tried against the report.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MitigationTable {
    /// In plain words.
    pub about: String,
    /// What is changed, in order.
    pub steps: Vec<At<ChangeTable>>,
}

/// One change: exactly one of `down`, `up`, `delete`, `create`; or `device` with one of `qdisc`, `txqueuelen`,
/// `offload`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangeTable {
    /// Set this link down.
    pub down: Option<At<DeviceRef>>,
    /// Set this link up, with its neighbours and routes.
    pub up: Option<At<DeviceRef>>,
    /// Delete this link, and with it what was made on it.
    pub delete: Option<At<DeviceRef>>,
    /// Make this link again, as it is described.
    pub create: Option<At<DeviceRef>>,
    /// With `create`: on this parent.
    pub parent: Option<At<DeviceRef>>,
    /// Change this device.
    pub device: Option<At<DeviceRef>>,
    /// Put this discipline at its root.
    pub qdisc: Option<At<QdiscTable>>,
    /// Give its queue this length, in packets.
    pub txqueuelen: Option<u32>,
    /// Switch this offload, as `ethtool -K` does.
    pub offload: Option<Offload>,
    /// With `offload`: on or off; on unless you say otherwise.
    pub on: Option<bool>,
}
