//! The topology file as written: one struct for each table, unknown keys refused, every reference with its place.

use std::borrow::Cow;
use std::hash::{Hash, Hasher};
use std::net::IpAddr;
use std::ops::Range;

use indexmap::IndexMap;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer};

use crate::link::{
    AdSelect, ArpValidate, BondMode, Cidr, DeviceRef, FailOverMac, IfName, LacpRate, Mac, MacSource, NsName,
    PrimaryReselect, VlanId, VlanProtocol, XmitHashPolicy,
};
use crate::protocol::FrameClass;
use crate::scenario::{FlowField, Hook, Socket, State};

/// A value with its place in the file, in bytes.
#[derive(Debug, Clone)]
pub struct At<T> {
    /// The value.
    pub value: T,
    /// Where it stands.
    pub span: Range<usize>,
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for At<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // An error inside an item of an array gets the item's span only on the way through a newtype.
        #[derive(Deserialize)]
        struct Item<T>(serde_spanned::Spanned<T>);
        let Item(spanned) = Item::<T>::deserialize(deserializer)?;
        let span = spanned.span();
        Ok(Self { value: spanned.into_inner(), span })
    }
}

/// Reads a table whose keys are names in the order of the file; toml hands them out by the alphabet.
fn in_file_order<'de, D, K, V>(deserializer: D) -> Result<IndexMap<At<K>, V>, D::Error>
where
    D: Deserializer<'de>,
    K: Deserialize<'de> + Hash + Eq,
    V: Deserialize<'de>,
{
    let mut table = IndexMap::<At<K>, V>::deserialize(deserializer)?;
    table.sort_by(|one, _, other, _| one.span.start.cmp(&other.span.start));
    Ok(table)
}

impl<T: JsonSchema> JsonSchema for At<T> {
    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
    fn inline_schema() -> bool {
        T::inline_schema()
    }
}

impl<T: PartialEq> PartialEq for At<T> {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}
impl<T: Eq> Eq for At<T> {}
impl<T: Hash> Hash for At<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.value.hash(state);
    }
}

/// A table whose keys are names, in the order of the file.
pub type Named<T> = IndexMap<At<String>, T>;
/// A table whose keys are device names, in the order of the file.
pub type Links<T> = IndexMap<At<IfName>, T>;

/// A topology file.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TopologyFile {
    /// One or two sentences for somebody who has not read the kernel.
    pub about: Option<String>,
    /// The kernel it runs on unless one is named: an id of kernels.toml.
    pub kernel: Option<String>,
    /// Namespaces with their links.
    #[serde(default, deserialize_with = "in_file_order")]
    pub ns: IndexMap<At<NsName>, NsTable>,
    /// Flows of numbered frames.
    #[serde(default, deserialize_with = "in_file_order")]
    pub flow: Named<FlowTable>,
    /// Things to break, keyed by kind.
    #[serde(default)]
    pub fault: FaultTables,
    /// Frames of the kernel's own, counted where they arrive.
    #[serde(default, deserialize_with = "in_file_order")]
    pub capture: Named<CaptureTable>,
    /// What happens, in order.
    #[serde(default)]
    pub step: Vec<At<StepTable>>,
    /// What must hold after the steps.
    #[serde(default)]
    pub expect: Vec<At<ConditionTable>>,
    /// A bug report's evidence.
    pub report: Option<At<ReportTable>>,
    /// Rival explanations of the report.
    #[serde(default, deserialize_with = "in_file_order")]
    pub hypothesis: Named<HypothesisTable>,
}

/// A namespace: its links, keyed by kind, and its routes and neighbours.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NsTable {
    /// Routes.
    #[serde(default)]
    pub routes: Vec<At<RouteTable>>,
    /// Permanent neighbours.
    #[serde(default)]
    pub neighbours: Vec<NeighbourTable>,
    /// Cables: each has two ends.
    #[serde(default, deserialize_with = "in_file_order")]
    pub veth: Links<VethTable>,
    /// Devices that swallow what they are given.
    #[serde(default, deserialize_with = "in_file_order")]
    pub dummy: Links<DummyTable>,
    /// Bonds.
    #[serde(default, deserialize_with = "in_file_order")]
    pub bond: Links<BondTable>,
    /// VLANs.
    #[serde(default, deserialize_with = "in_file_order")]
    pub vlan: Links<VlanTable>,
    /// Bridges.
    #[serde(default, deserialize_with = "in_file_order")]
    pub bridge: Links<BridgeTable>,
}

/// A route. Unlike `ip route`, nothing is guessed.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RouteTable {
    /// `default` or a network.
    pub to: At<RouteTo>,
    /// The next hop.
    pub via: Option<At<IpAddr>>,
    /// The device.
    pub dev: Option<At<IfName>>,
}

/// Where a route leads.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(try_from = "String")]
#[schemars(with = "String")]
pub enum RouteTo {
    /// 0.0.0.0/0 or ::/0, by the family of the next hop.
    Default,
    /// One network.
    Network(Cidr),
}

impl TryFrom<String> for RouteTo {
    type Error = crate::link::ValueError;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        if text == "default" { Ok(Self::Default) } else { text.parse().map(Self::Network) }
    }
}

/// A permanent neighbour: no ARP is needed to reach it.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NeighbourTable {
    /// Its address.
    pub to: At<IpAddr>,
    /// The device it is reached by.
    pub dev: At<IfName>,
    /// Its Ethernet address, or the device that has it (`gateway:eth0`).
    pub mac: At<MacSource>,
}

/// What every kind of link may say; written once, so that no kind forgets a key.
macro_rules! link_table {
    ($(#[$doc:meta])* $name:ident { $($(#[$field_meta:meta])* $field:ident : $type:ty),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields)]
        pub struct $name {
            $($(#[$field_meta])* pub $field: $type,)*
            /// Ethernet address; without it the lab gives one by position, the same in each run.
            pub mac: Option<Mac>,
            /// Largest packet in bytes.
            pub mtu: Option<At<u32>>,
            /// Length of a queue that has no length of its own, in packets.
            pub txqueuelen: Option<u32>,
            /// Whether it is set up; it is unless you say no.
            pub up: Option<bool>,
            /// Addresses with prefix length.
            #[serde(default)]
            pub addresses: Vec<At<Cidr>>,
            /// Queueing discipline at the root.
            pub qdisc: Option<At<QdiscTable>>,
        }
        impl $name {
            /// What every link has.
            pub fn attributes(&self) -> LinkAttributes<'_> {
                LinkAttributes {
                    mac: self.mac, mtu: self.mtu.as_ref(), txqueuelen: self.txqueuelen,
                    up: self.up.unwrap_or(true), addresses: &self.addresses, qdisc: self.qdisc.as_ref(),
                }
            }
        }
    };
}

/// What every kind of link may say.
#[derive(Debug)]
pub struct LinkAttributes<'a> {
    /// Ethernet address.
    pub mac: Option<Mac>,
    /// Largest packet in bytes.
    pub mtu: Option<&'a At<u32>>,
    /// In packets.
    pub txqueuelen: Option<u32>,
    /// Whether it is set up.
    pub up: bool,
    /// Addresses with prefix length.
    pub addresses: &'a [At<Cidr>],
    /// Queueing discipline at the root.
    pub qdisc: Option<&'a At<QdiscTable>>,
}

link_table! {
    /// One end of a cable.
    VethTable {
        /// The other end, `namespace:device`. It may have a table of its own, which must then point back.
        peer: At<DeviceRef>,
    }
}
link_table! {
    /// A device that swallows what it is given.
    DummyTable {}
}
link_table! {
    /// A bond. Keys are the words of `ip link ... type bond`.
    BondTable {
        /// `BOND_MODE_*`.
        mode: At<BondMode>,
        /// Ports, in the order they join.
        #[serde(default)]
        ports: Vec<At<IfName>>,
        /// Link monitoring interval in ms.
        miimon: Option<u32>,
        /// Delay before a link that came back is used, in ms.
        updelay: Option<At<u32>>,
        /// Delay before a link that went away is left, in ms.
        downdelay: Option<At<u32>>,
        /// Whether carrier is read from the device; refused as `false` from 6.18.
        use_carrier: Option<bool>,
        /// ARP monitoring interval in ms.
        arp_interval: Option<u32>,
        /// ARP monitoring targets.
        #[serde(default)]
        arp_ip_target: Vec<std::net::Ipv4Addr>,
        /// Which ARP traffic counts.
        arp_validate: Option<ArpValidate>,
        /// The preferred port.
        primary: Option<At<IfName>>,
        /// When the preferred port takes over again.
        primary_reselect: Option<PrimaryReselect>,
        /// Which Ethernet address an active-backup bond shows.
        fail_over_mac: Option<FailOverMac>,
        /// How a port is chosen for a frame.
        xmit_hash_policy: Option<XmitHashPolicy>,
        /// How often LACPDUs are asked for.
        lacp_rate: Option<LacpRate>,
        /// Whether LACPDUs are sent unasked.
        lacp_active: Option<bool>,
        /// How an aggregator is chosen.
        ad_select: Option<AdSelect>,
        /// Fewest ports for carrier.
        min_links: Option<u32>,
        /// Whether frames on inactive ports are accepted.
        all_slaves_active: Option<bool>,
        /// Whether balance-tlb moves flows by load.
        tlb_dynamic_lb: Option<bool>,
        /// Gratuitous ARPs after a failover.
        num_grat_arp: Option<u8>,
    }
}
link_table! {
    /// A VLAN.
    VlanTable {
        /// The device below.
        parent: At<IfName>,
        /// 0 to 4094.
        id: At<VlanId>,
        /// The tag's EtherType.
        protocol: Option<VlanProtocol>,
    }
}
link_table! {
    /// A bridge.
    BridgeTable {
        /// Its ports.
        #[serde(default)]
        ports: Vec<At<IfName>>,
        /// Whether it looks at tags.
        vlan_filtering: Option<bool>,
    }
}

/// A queueing discipline; which keys go with which kind is checked.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct QdiscTable {
    /// `pfifo`, `bfifo`, `plug`, `tbf`, `netem`, `fq_codel`, `noqueue`.
    pub kind: At<String>,
    /// Packets (pfifo, netem, fq_codel) or bytes (bfifo, plug, tbf).
    pub limit: Option<At<u32>>,
    /// Bits per second (tbf).
    pub rate: Option<At<u64>>,
    /// Bytes (tbf).
    pub burst: Option<At<u32>>,
    /// Microseconds (netem).
    pub delay_us: Option<At<u32>>,
}

/// A flow of numbered frames.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FlowTable {
    /// The device that sends.
    pub from: At<DeviceRef>,
    /// The device at which frames count as delivered.
    pub to: At<DeviceRef>,
    /// How they are sent; `packet` unless you say otherwise.
    pub socket: Option<Socket>,
    /// How many.
    pub frames: At<u32>,
    /// Bytes on the sending device, without FCS; 98 unless you say otherwise, as `ping` sends.
    pub len: Option<At<usize>>,
    /// A tag in the frame itself, as a sender without VLAN device writes it.
    pub tag: Option<At<VlanId>>,
}

/// Faults, keyed by kind.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FaultTables {
    /// A queueing discipline at the root of a device.
    #[serde(default, deserialize_with = "in_file_order")]
    pub qdisc: Named<QdiscFaultTable>,
    /// A clsact filter that drops.
    #[serde(default, deserialize_with = "in_file_order")]
    pub filter: Named<FilterFaultTable>,
    /// A device taken down.
    #[serde(default, deserialize_with = "in_file_order")]
    pub down: Named<DownFaultTable>,
    /// A port taken out of its bond or bridge.
    #[serde(default, deserialize_with = "in_file_order")]
    pub release: Named<ReleaseFaultTable>,
    /// Another largest packet.
    #[serde(default, deserialize_with = "in_file_order")]
    pub mtu: Named<MtuFaultTable>,
    /// A cable's receiving end that takes frames in and looks at none.
    #[serde(default, deserialize_with = "in_file_order")]
    pub hold: Named<HoldFaultTable>,
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

/// A clsact filter that drops.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FilterFaultTable {
    /// Which device.
    pub device: At<DeviceRef>,
    /// `egress` or `ingress`.
    pub hook: Hook,
    /// Drop only frames whose VLAN tag is this.
    pub vlan: Option<VlanId>,
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

/// A cable's receiving end held: its ring of 256 frames fills, and nobody empties it. Frames in the ring when the
/// fault is cleared, or when the trial ends, are lost.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HoldFaultTable {
    /// Which end: the one that receives.
    pub device: At<DeviceRef>,
}

/// Counts frames of one class where they arrive, from the first step to the last.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CaptureTable {
    /// Where they arrive.
    pub device: At<DeviceRef>,
    /// Which frames.
    pub what: FrameClass,
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
    /// Wait until this holds: a condition on a state or a capture. A wait in vain is a failed check, and the next
    /// step is done all the same.
    pub wait: Option<At<ConditionTable>>,
    /// With `wait`: how long at the most, in ms; 10000 unless you say otherwise.
    pub within_ms: Option<At<u32>>,
    /// Let time pass, in ms.
    pub pause_ms: Option<At<u32>>,
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
    /// Frames lost at this layer, with `device` on that device only.
    pub layer: Option<At<String>>,
    /// Look at this device: with `counter`, `state`, `mac` or `refused`.
    pub device: Option<At<DeviceRef>>,
    /// Look at the root queueing discipline of this device: with `counter`.
    pub qdisc: Option<At<DeviceRef>>,
    /// Which counter.
    pub counter: Option<At<String>>,
    /// Which state of the device, after the last step.
    pub state: Option<State>,
    /// Whether the device has this Ethernet address, written out or another device's (`node:bond0`), after the last
    /// step: 1 or 0.
    pub mac: Option<At<MacSource>>,
    /// The kernel must refuse to make or change the device, with this errno. The run ends there, so a bound has no
    /// meaning, and nothing else can be expected.
    pub refused: Option<At<String>>,
    /// Look at what this capture counted. A bound that only just holds will not hold in each run.
    pub capture: Option<At<String>>,
    /// Exactly this.
    pub equals: Option<At<u64>>,
    /// This or more.
    pub at_least: Option<At<u64>>,
    /// This or less.
    pub at_most: Option<At<u64>>,
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
    pub inject: Vec<At<String>>,
    /// Whether it is expected to fit all of it.
    pub fits: Option<bool>,
}
