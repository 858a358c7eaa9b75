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
use crate::net::mdb::Group;
use crate::net::name::{DeviceRef, IfName, NsName, VlanId};
use crate::net::offload::Offload;
use crate::net::qdisc::PlugAction;
use crate::net::sysctl::{SysctlName, SysctlValue};
use crate::net::version::KernelRanges;
use crate::topology::cni::Tree;
use crate::topology::condition::{FlowField, State};
use crate::topology::fault::{FilterKind, Hook, PartnerSends};
use crate::topology::file::{
    At, BondOptionsTable, MdbTable, NeighbourTable, PortTable, QdiscTable, RouteTable,
};
use crate::topology::scenario::{CountsAt, Socket};

/// A flow of numbered frames.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FlowTable {
    /// The device that sends.
    pub from: At<DeviceRef>,
    /// The device through which the frames must arrive. A frame that arrives through another device does not count as delivered.
    pub to: At<DeviceRef>,
    /// The kind of socket that sends. Default: `packet`.
    pub socket: Option<Socket>,
    /// Where frames count as delivered: `device`, `stack` or `socket`. Default: `device` with packet and packet-bypass and with
    /// `group`, `stack` with ping, `socket` with udp, udp-recverr, raw and tcp. No socket receives an echo request. A TCP flow
    /// counts only at its socket, and a flow with `group` only at the device.
    pub counts_at: Option<At<CountsAt>>,
    /// How many.
    pub frames: At<u32>,
    /// Length of a frame on the sending device, in bytes, without FCS. Default: 98, as `ping` sends. A packet longer than the MTU
    /// is sent as fragments, or by TCP as several segments.
    pub len: Option<At<usize>>,
    /// With a UDP socket: not bound to a device or an address. The routes select the path.
    pub unbound: Option<At<bool>>,
    /// VLAN ID of a tag that the sender writes into the frame itself, without a VLAN device. Default: no tag.
    pub tag: Option<At<VlanId>>,
    /// With a packet socket: the destination Ethernet address, or another device that has it (`node:bond0`). Default: the
    /// receiver's.
    pub destination_mac: Option<At<MacSource>>,
    /// Time from one frame to the next, in microseconds. Default: none, frames are sent as fast as possible.
    pub interval_us: Option<At<u32>>,
    /// With a TCP socket: after this many seconds without data the kernel sends a keepalive probe, and if there is no answer after
    /// the same time again it ends the connection (SO_KEEPALIVE with TCP_KEEPCNT 1). Default: off.
    pub keepalive_s: Option<At<u32>>,
    /// With a TCP socket: connect when the flow is sent, and not before the first step. It is bound to the device only. The errno
    /// of connect() counts for every write; EINPROGRESS means no answer within 5 s.
    pub connect_late: Option<At<bool>>,
    /// The IP version. Default: `ipv4`. Both ends need an address of it.
    pub family: Option<Family>,
    /// Whether packets may be fragmented, as in `ping -M`: `dont`, `want`, `do`, `probe` (IP_MTU_DISCOVER). With packet and raw
    /// sockets all but `dont` set IP_DF. Default: the kernel's; packet and raw sockets do not set IP_DF.
    pub pmtudisc: Option<At<Pmtudisc>>,
    /// Priority of the packets (SO_PRIORITY), for queueing disciplines and priority maps: 0 to 15.
    pub priority: Option<At<u32>>,
    /// IPv4's type of service, or IPv6's traffic class: DSCP and ECN, 0 to 255.
    pub tos: Option<At<u32>>,
    /// With a UDP, raw or packet socket: the number of source ports, from 49152 on, which frames use in turn; at most 1000.
    /// Default: 1.
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
    /// `clsact`, `tcx`, `nft`, `nft-input`, `xdp` or `xdp-generic`; the last three only with `hook = "ingress"`. Default: `clsact`.
    pub kind: Option<FilterKind>,
}

/// A device that is set down.
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

/// Another MTU.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MtuFaultTable {
    /// Which device.
    pub device: At<DeviceRef>,
    /// In bytes.
    pub mtu: At<u32>,
}

/// The receiving end of a cable processes no frames: its ring of 256 frames fills. Frames in the ring when the fault is cleared, or
/// when the trial ends, are lost.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HoldFaultTable {
    /// Which end: the one that receives.
    pub device: At<DeviceRef>,
}

/// The cable of an emulated NIC, unplugged by QEMU.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UnplugFaultTable {
    /// Which NIC, at either end.
    pub device: At<DeviceRef>,
}

/// The gadget's end of a USB pair, whose driver stops its queue after ten frames, with carrier: the other end is down. Or a tap or tun
/// that its program does not read until the fault is cleared: its ring fills.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StallFaultTable {
    /// Which end: the gadget, which sends, or the tap or tun that is not read.
    pub device: At<DeviceRef>,
}

/// The other end of the port's cable is a scripted LACP partner. By default it sends an LACPDU each second and is never in sync.
/// The port accepts the partner's state with the second LACPDU: wait for three seconds. When the fault is cleared the partner stops
/// sending.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PartnerFaultTable {
    /// Which port of an 802.3ad bond.
    pub device: At<DeviceRef>,
    /// How often it sends LACPDUs: `fast` (each second), `slow` (each 30 s) or `never`. Default: `fast`.
    pub sends: Option<PartnerSends>,
    /// Whether it is in sync, collecting and distributing. Default: false.
    pub in_sync: Option<At<bool>>,
    /// The key of its port. Default: 1. Ports whose partners have different keys are never in one aggregator.
    pub key: Option<At<u16>>,
    /// With `in_sync = true`: seconds in sync, and then out of sync, in turn: 1 to 300. Default: it stays in sync.
    pub flap_s: Option<At<u16>>,
    /// Its system address. Default: the address of its device. All ports of one channel have partners with the same system.
    pub system: Option<At<Mac>>,
}

/// The socket that receives at this device has the smallest possible buffer, and is not read until the fault is cleared or the
/// trial ends. Flows that count at the device or in the stack are not affected.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RcvbufFaultTable {
    /// Where flows are received.
    pub device: At<DeviceRef>,
}

/// No socket listens at this device's address until the fault is cleared: no socket receives a UDP datagram. IP answers some of the
/// datagrams with ICMP port unreachable (net.ipv4.icmp_ratelimit).
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClosedFaultTable {
    /// Where flows are received.
    pub device: At<DeviceRef>,
}

/// A short queue between devices and the receiving processor (net.core.netdev_max_backlog). The kernel has one such limit for the
/// whole machine, so this needs a machine of the lab. A veth without XDP receives through it.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BacklogFaultTable {
    /// A device that receives through it.
    pub device: At<DeviceRef>,
    /// In frames; one more than this may wait (`enqueue_to_backlog()`). The kernel's default is 1000.
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
    /// Only frames whose outermost tag (802.1Q or 802.1ad) has this VLAN ID; inner tags are ignored. Default: only untagged frames.
    /// A tag with VID 0 carries only a priority: the frame counts as untagged, as in the kernel.
    pub vlan: Option<At<VlanId>>,
    /// Only frames from this Ethernet address, or from the address that a device (`node:bond0`) has before the first step.
    pub src_mac: Option<At<MacSource>>,
    /// Only frames from this address: ARP's sender protocol address, or the source of the IPv4 or IPv6 header.
    pub src_ip: Option<At<IpAddr>>,
    /// Only frames whose outermost tag has this priority (PCP), 0 to 7; a tag with VID 0 counts as one.
    pub pcp: Option<At<u8>>,
    /// Only packets with this DSCP in IPv4's type of service or IPv6's traffic class, 0 to 63.
    pub dscp: Option<At<u8>>,
    /// Only packets with these ECN bits: 0 (Not-ECT), 1 (ECT(1)), 2 (ECT(0)) or 3 (CE).
    pub ecn: Option<At<u8>>,
    /// With `what = "probe"`: only frames of this flow.
    pub flow: Option<At<String>>,
    /// The count is recorded and compared with the snapshot, and no condition uses it.
    pub recorded: Option<bool>,
}

/// One step: exactly one action.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StepTable {
    /// Inject a fault, by its name.
    pub inject: Option<At<String>>,
    /// Clear a fault, by its name.
    pub clear: Option<At<String>>,
    /// Send a flow.
    pub flood: Option<At<String>>,
    /// With `flood` and `inject`: inject it just before this frame, counted from 0.
    pub at_frame: Option<At<u32>>,
    /// Wait until this holds: a condition on a state or a capture. A wait that times out is a failed check, and the run continues
    /// with the next step.
    pub wait: Option<At<ConditionTable>>,
    /// With `wait`: the timeout, in ms. Default: 10000.
    pub within_ms: Option<At<u32>>,
    /// Wait for this time, in ms.
    pub pause_ms: Option<At<u32>>,
    /// Attach a pod to networks, as Multus does.
    pub attach: Option<At<AttachTable>>,
    /// Detach a pod: DEL of its networks in reverse order.
    pub detach: Option<At<NsName>>,
    /// Evaluate a bond's device selectors again, now that all links exist: devices that match and are not its ports yet are set
    /// down and enslaved, as Talos' controller does.
    pub reconcile: Option<At<DeviceRef>>,
    /// Change options of a bond or of its port, as `ip link set` does: with `bond` or `port`. They are read back.
    pub set: Option<At<DeviceRef>>,
    /// With `set`: set it up or down. All keys of one `set` are sent in one RTM_NEWLINK message, except `features`, `plug`,
    /// `add_address`, `delete_address`, `add_mdb`, `delete_mdb`, `join` and `leave`, which are separate requests.
    pub up: Option<At<bool>>,
    /// With `set`: a new MTU, in bytes.
    pub mtu: Option<At<u32>>,
    /// With `set`: a new Ethernet address, or another device that has it.
    pub mac: Option<At<MacSource>>,
    /// With `set`: a new length of its queue, in packets.
    pub txqueuelen: Option<At<u32>>,
    /// With `set`: the bond or bridge that it becomes a port of, or `none`. The device is not changed otherwise.
    pub controller: Option<At<String>>,
    /// With `set`: a new name. Later steps and conditions use it.
    pub name: Option<At<IfName>>,
    /// With `set`: the namespace that it is moved to.
    pub ns: Option<At<NsName>>,
    /// With `set`: features, by their `ethtool -k` names: `{ tx-vlan-hw-insert = false }`.
    pub features: Option<At<IndexMap<String, bool>>>,
    /// With `set`: what the plug at the device's root does with the frames that it holds: `release`, `buffer`, `release_one`. The
    /// plug is the device's own (`qdisc`) or a fault's.
    pub plug: Option<At<PlugAction>>,
    /// With `set`: add this address.
    pub add_address: Option<At<Cidr>>,
    /// With `set`: delete this address.
    pub delete_address: Option<At<Cidr>>,
    /// With `set`, a bridge or its port: add this entry of the multicast database.
    pub add_mdb: Option<At<MdbTable>>,
    /// With `set`: delete this entry.
    pub delete_mdb: Option<At<MdbTable>>,
    /// With `set`: a socket joins this multicast group by the device (IP_ADD_MEMBERSHIP, IPV6_JOIN_GROUP), and the kernel reports it
    /// (IGMP, MLD). It stays until `leave` or the end of the run; it takes no frame of a flow.
    pub join: Option<At<IpAddr>>,
    /// With `set`: that socket leaves the group.
    pub leave: Option<At<IpAddr>>,
    /// Delete this device, and with it the devices on top of it.
    pub delete: Option<At<DeviceRef>>,
    /// Create this device as described in the file: one with `later = true`, or one that a step has deleted. Its ports are added by
    /// separate steps.
    pub create: Option<At<DeviceRef>>,
    /// Change this namespace: with `sysctl`, `add_route`, `delete_route`, `add_neighbour` or `delete_neighbour`.
    #[serde(rename = "in")]
    pub of_ns: Option<At<NsName>>,
    /// With `in`: settings, by their `sysctl` names.
    pub sysctl: Option<At<IndexMap<SysctlName, SysctlValue>>>,
    /// With `in`: add this route.
    pub add_route: Option<At<RouteTable>>,
    /// With `in`: delete this route.
    pub delete_route: Option<At<RouteTable>>,
    /// With `in`: add this permanent neighbour entry.
    pub add_neighbour: Option<At<NeighbourTable>>,
    /// With `in`: delete this neighbour entry.
    pub delete_neighbour: Option<At<NeighbourTable>>,
    /// The kernel must refuse this step, with this errno. This is a check: if it fails, the run continues with the next step.
    /// Without this key a refused step ends the run.
    pub refused: Option<At<String>>,
    /// With `refused`: the kernel's message (extended acknowledgement); `*` matches anything.
    pub extack: Option<At<String>>,
    /// With `refused`: only on these kernels; on all others the step must succeed.
    pub when: Option<At<KernelRanges>>,
    /// With `set`: options of the bond.
    pub bond: Option<At<BondOptionsTable>>,
    /// With `set`: options of the port.
    pub port: Option<At<PortTable>>,
    /// CHECK of a pod's networks: everything is still as ADD created it.
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
    /// The annotation, in its order: `network` or `network@interface`. Without a name interfaces are net1, net2, ... Or the
    /// annotation's text, as in a pod: `a, b@net2`, or a JSON list of objects with `name` and `interface`.
    #[schemars(with = "Networks")]
    pub networks: At<Tree>,
    /// The network whose ADD must fail: networks added before are then deleted again. `refused` and `extack` of the step are the
    /// expected error.
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

/// A condition: what is observed, and the value that it must have.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ConditionTable {
    /// Its name in reports. Default: derived from the other keys.
    pub name: Option<String>,
    /// The observed flow: with `field`, `errno` or `layer`.
    pub flow: Option<At<String>>,
    /// A number of the flow's account.
    pub field: Option<FlowField>,
    /// The number of send calls that returned this errno.
    pub errno: Option<At<String>>,
    /// Whether this is the only source address that the receiver sees: 1 or 0.
    pub seen_from: Option<IpAddr>,
    /// Frames lost at this layer, with `device` on that device only, and with `reason` for that reason only.
    pub layer: Option<At<String>>,
    /// With `layer`: the kernel's drop reason, without `SKB_DROP_REASON_`: `QDISC_DROP`. On kernels before 5.17, which have
    /// none, the condition is not applicable.
    pub reason: Option<At<String>>,
    /// The observed device: with `counter`, `state`, `mac`, `refused`, `show`, `proc_bonding`, `feature`, `neighbour`,
    /// `bridge_vlan`, `fdb` or `mdb`.
    pub device: Option<At<DeviceRef>>,
    /// The root queueing discipline of this device: with `counter`.
    pub qdisc: Option<At<DeviceRef>>,
    /// With `qdisc`: the device's clsact, which counts the drops of its filters, instead of the root.
    pub kind: Option<HookKind>,
    /// Which counter.
    pub counter: Option<At<String>>,
    /// Whether the device has this address, with prefix length, after the last step: 1 or 0.
    pub address: Option<At<Cidr>>,
    /// The observed namespace: with `routes`, `ip_address`, `sysctl` or `snmp`.
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
    /// Whether the device has this Ethernet address, or that of another device (`node:bond0`), after the last step: 1 or 0.
    pub mac: Option<At<MacSource>>,
    /// The kernel must refuse to create or change the device, with this errno. The run ends there: this condition has no bound, and
    /// no other condition is possible.
    pub refused: Option<At<String>>,
    /// The fault that makes this condition fail: `lab run --prove` injects it at the start, in addition to those of the steps.
    /// Needed only if `--prove` finds no other mutant that does.
    pub broken_by: Option<At<String>>,
    /// Only on these kernels: `6.11..`, `..6.10`, `6.12..6.18`, or several with commas; both ends are included, and a series
    /// includes all its kernels. On other kernels the condition is not applicable, and must not hold: if it does, the range is
    /// wrong, and the check fails.
    pub when: Option<At<KernelRanges>>,
    /// With `device`: a value that `ip -s -s -d link` shows, by its keyword: `operstate`, `miimon`, `ad_partner_oper_port_state`.
    /// The reference lists all keywords.
    pub show: Option<At<String>>,
    /// With `device`, a bond or a port of one: a line of /proc/net/bonding. `MII Status`, or below a heading
    /// `details partner lacp pdu/port state`.
    pub proc_bonding: Option<At<String>>,
    /// With `device`: a feature, by its `ethtool -k` name: `on`, `off`, `on [fixed]`, `off [fixed]`.
    pub feature: Option<At<String>>,
    /// With `device`: the state of this neighbour (`ip neighbour`), `none` where there is none.
    pub neighbour: Option<At<IpAddr>>,
    /// With `device`, a bridge or its port: `member`, `pvid`, `untagged` of this VLAN (`bridge vlan`), `none` if it is not a
    /// member.
    pub bridge_vlan: Option<At<VlanId>>,
    /// With `device`, a bridge port: what `bridge fdb` shows of this address, `none` if it has no entry.
    pub fdb: Option<At<MacSource>>,
    /// With `device`, a bridge or its port: what `bridge mdb` shows of this group, `permanent` or `temp`; `none` without an entry.
    pub mdb: Option<At<Group>>,
    /// With `neighbour`: `lladdr`, `flags`, `proto` or `probes` of it. With `bridge_vlan`: `state`, `rx_packets`, `rx_bytes`,
    /// `tx_packets`, `tx_bytes`, `mcast_router`, `mcast_n_groups`, `mcast_max_groups` or `neigh_suppress` of the VLAN there. With
    /// `fdb`: `vlan`, `dst`, `port`, `vni` or `src_vni` of its entries. With `mdb`: `vlan`, `flags`, `filter_mode` or `proto`.
    /// `none` where the kernel does not show it.
    pub detail: Option<At<String>>,
    /// With `qdisc` and `counter`: the discipline at this parent (`1:2`, or `root`). The value is that of `tc -s qdisc`, and not a
    /// difference over the trial. `counter` may then be one of its kind's as well: `ecn_mark` of fq_codel.
    pub parent: Option<At<String>>,
    /// With `ns`: a setting of the namespace.
    pub sysctl: Option<At<SysctlName>>,
    /// With `ns`: an SNMP counter as `nstat` names it, `IpOutDiscards`, as a difference over the trial.
    pub snmp: Option<At<String>>,
    /// How many lines of the kernel's log, of any level, contain this since the trial began; `*` matches anything. Lines that the
    /// kernel itself prints only once are printed in each trial, those of a module once since it was loaded.
    pub kernel_log: Option<At<String>>,
    /// With `kernel_log`: there must be no such line.
    pub forbid: Option<At<bool>>,
    /// The observed text is exactly this.
    pub is: Option<At<String>>,
    /// The observed text is not this.
    pub is_not: Option<At<String>>,
    /// The observed text contains this word.
    pub has: Option<At<String>>,
    /// The observed text does not contain this word.
    pub lacks: Option<At<String>>,
    /// The number of frames that this capture counted. It differs between runs: choose bounds with a margin.
    pub capture: Option<At<String>>,
    /// Exactly this.
    pub equals: Option<At<u64>>,
    /// This or more.
    pub at_least: Option<At<u64>>,
    /// This or less.
    pub at_most: Option<At<u64>>,
    /// In evidence: what is observed after this mitigation, with the fault still present.
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
    /// Faults to inject, in order.
    #[serde(default)]
    pub inject: Vec<At<String>>,
    /// A different configuration under this hypothesis: namespaces with their links, which override those of the file. Tables are
    /// merged; any other value replaces that of the file, and a list is replaced as a whole.
    #[schemars(with = "Option<OverlayTable>")]
    pub with: Option<Overlaid>,
    /// A condition to wait for before the flows are sent: a bond detects a failed port only after some time.
    pub wait: Option<At<ConditionTable>>,
    /// Whether it is expected to produce all of the evidence. This is a check.
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
    /// Delete this link, and with it the links on top of it.
    pub delete: Option<At<DeviceRef>>,
    /// Create this link again, as described in the file.
    pub create: Option<At<DeviceRef>>,
    /// With `create`: on this parent.
    pub parent: Option<At<DeviceRef>>,
    /// Change this device.
    pub device: Option<At<DeviceRef>>,
    /// Set this queueing discipline at its root.
    pub qdisc: Option<At<QdiscTable>>,
    /// Give its queue this length, in packets.
    pub txqueuelen: Option<u32>,
    /// Switch this offload, as `ethtool -K` does.
    pub offload: Option<Offload>,
    /// With `offload`: on or off. Default: on.
    pub on: Option<bool>,
}
