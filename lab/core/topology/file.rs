//! The topology file as written: one struct for each table, unknown keys refused, every reference with its place.

pub(crate) mod all_links;
pub(crate) mod faults;
pub(crate) mod links;
pub(crate) mod machine;
pub(crate) mod nics;
pub(crate) mod scenario;
pub(crate) mod virtual_links;

use std::borrow::Cow;
use std::hash::{Hash, Hasher};
use std::net::{IpAddr, Ipv4Addr};
use std::ops::Range;

use indexmap::IndexMap;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer};

pub use crate::topology::file::faults::FaultTables;
pub use crate::topology::file::links::*;
pub use crate::topology::file::machine::*;
pub use crate::topology::file::nics::*;
pub use crate::topology::file::scenario::*;
pub use crate::topology::file::virtual_links::*;

use crate::net::address::{Cidr, MacSource};
use crate::net::name::{DeviceRef, IfName, NsName};
use crate::net::route::{NeighbourState, RouteKind};
use crate::net::sysctl::{SysctlName, SysctlValue};
use crate::topology::cni::{NetKeys, Tree};

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
    /// Version of the file format. Default: 1.
    #[serde(default)]
    #[schemars(with = "Option<u32>")]
    pub format: Option<u32>,
    /// One or two sentences that describe the topology, for readers who do not know the kernel's source.
    pub about: Option<String>,
    /// The kernel it runs on if the command line names none: an id of kernels.toml.
    pub kernel: Option<String>,
    /// Files in the same folder, or below it, that contain a part of the topology. This file overrides them: tables are merged, any
    /// other value replaces the included one, and a list is replaced as a whole. The name of a file that is only included should
    /// not end in `.toml`: in a folder it would be run as a topology.
    #[serde(default)]
    pub include: Vec<String>,
    /// Lists of values, by name. `"${name}"` in a value is replaced by one of them. Each combination is a variant: a separate
    /// topology with its own name and snapshot.
    #[serde(default)]
    #[schemars(with = "IndexMap<String, ParameterValues>")]
    pub parameters: IndexMap<String, String>,
    /// Namespaces with their links.
    #[serde(default, deserialize_with = "in_file_order")]
    pub ns: IndexMap<At<NsName>, NsTable>,
    /// Network configurations that pods are attached to.
    #[serde(default, deserialize_with = "in_file_order")]
    #[schemars(with = "IndexMap<String, NetKeys>")]
    pub net: Named<At<Tree>>,
    /// Address pools, like those of Calico.
    #[serde(default, deserialize_with = "in_file_order")]
    pub pool: Named<PoolTable>,
    /// DHCP servers, by the network whose pods they serve.
    #[serde(default, deserialize_with = "in_file_order")]
    pub dhcp: Named<DhcpTable>,
    /// Flows of numbered frames.
    #[serde(default, deserialize_with = "in_file_order")]
    pub flow: Named<FlowTable>,
    /// Faults, by kind.
    #[serde(default)]
    pub fault: FaultTables,
    /// Captures, which count frames of one kind where they arrive.
    #[serde(default, deserialize_with = "in_file_order")]
    pub capture: Named<CaptureTable>,
    /// The steps of the run, in order.
    #[serde(default)]
    pub step: Vec<At<StepTable>>,
    /// What must hold after the steps.
    #[serde(default)]
    pub expect: Vec<At<ConditionTable>>,
    /// A bug report's evidence.
    pub report: Option<At<ReportTable>>,
    /// Possible explanations of the report.
    #[serde(default, deserialize_with = "in_file_order")]
    pub hypothesis: Named<HypothesisTable>,
    /// Mitigations that were tried: for `lab try`, and for evidence with `under`.
    #[serde(default, deserialize_with = "in_file_order")]
    pub mitigation: Named<MitigationTable>,
    /// The machine that it runs in.
    pub machine: Option<MachineTable>,
    /// Limits that this file raises.
    pub limits: Option<LimitsTable>,
    /// Rules of `lab topology check` and `lab lint` that are switched off for this file.
    pub lint: Option<LintTable>,
}

/// Rules of lint that this file switches off.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LintTable {
    /// By rule, the reason why its finding is intended: `miimon-off = "nothing is to notice the port"`.
    #[serde(default, deserialize_with = "in_file_order")]
    #[schemars(with = "IndexMap<String, String>")]
    pub allow: Named<At<String>>,
}

/// For the JSON Schema: `parse::parameters` reads them, and they are gone before anything else is read.
#[derive(JsonSchema)]
#[schemars(untagged)]
#[expect(dead_code, reason = "it is the schema of what `parse::parameters` takes apart")]
enum ParameterValues {
    /// Each is a variant.
    Several(Vec<ParameterValue>),
    /// One, which `--set` can change.
    One(ParameterValue),
}

/// For the JSON Schema.
#[derive(JsonSchema)]
#[schemars(untagged)]
#[expect(dead_code, reason = "as above")]
enum ParameterValue {
    /// A whole number.
    Number(i64),
    /// Yes or no.
    Flag(bool),
    /// A text.
    Text(String),
    /// Several values under one name.
    Table(ParameterTable),
}

/// For the JSON Schema: `"${parameter.key}"` is the value under a key.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "as above")]
struct ParameterTable {
    /// The name of the variant.
    name: String,
    /// Any keys.
    #[schemars(flatten)]
    values: IndexMap<String, serde_json::Value>,
}

/// Limits that end a run early if its file has a mistake.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LimitsTable {
    /// The longest wait, pause or flow with an interval, in s. Default: 20; at most 3600.
    pub wait_s: At<u32>,
}

/// A pool of addresses.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PoolTable {
    /// The network: addresses are assigned from the first one on.
    pub cidr: At<Cidr>,
}

/// A DHCP server.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DhcpTable {
    /// Where it listens, `namespace:device`; the device's address is the server's.
    pub device: At<DeviceRef>,
    /// The first address of its range: pods get the lowest free one.
    pub first: At<Ipv4Addr>,
    /// The last one.
    pub last: At<Ipv4Addr>,
    /// The default gateway of pods. Default: none.
    pub router: Option<At<Ipv4Addr>>,
    /// Lease time, in s. Default: 3600. It must be longer than the run: leases are not renewed.
    pub lease_s: Option<At<u32>>,
}

/// A namespace: its links, keyed by kind, and its routes and neighbours.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NsTable {
    /// Whether it forwards IPv4 packets (net.ipv4.ip_forward).
    #[serde(default)]
    pub forwarding: bool,
    /// Devices whose address replaces the source address of packets that leave through them (nftables, masquerade).
    #[serde(default)]
    pub masquerade: Vec<At<IfName>>,
    /// Settings of the namespace, by their `sysctl` names (`"net.ipv4.conf.all.rp_filter" = 1`). They are set before any link is
    /// created, and read back.
    #[serde(default, deserialize_with = "in_file_order")]
    pub sysctl: IndexMap<At<SysctlName>, SysctlValue>,
    /// Routes.
    #[serde(default)]
    pub routes: Vec<At<RouteTable>>,
    /// Rules that select a routing table.
    #[serde(default)]
    pub rules: Vec<At<RuleTable>>,
    /// Neighbours.
    #[serde(default)]
    pub neighbours: Vec<At<NeighbourTable>>,
    /// Cables: each has two ends.
    #[serde(default, deserialize_with = "in_file_order")]
    pub veth: Links<VethTable>,
    /// Dummy devices, which discard every frame that is sent to them.
    #[serde(default, deserialize_with = "in_file_order")]
    pub dummy: Links<DummyTable>,
    /// USB pairs of a gadget and its host.
    #[serde(default, deserialize_with = "in_file_order")]
    pub gadget: Links<GadgetTable>,
    /// Taps: devices whose frames a program reads and writes.
    #[serde(default, deserialize_with = "in_file_order")]
    pub tap: Links<TapTable>,
    /// Tuns: the same without Ethernet header.
    #[serde(default, deserialize_with = "in_file_order")]
    pub tun: Links<TunTable>,
    /// Bonds.
    #[serde(default, deserialize_with = "in_file_order")]
    pub bond: Links<BondTable>,
    /// VLANs.
    #[serde(default, deserialize_with = "in_file_order")]
    pub vlan: Links<VlanTable>,
    /// Ipvlans: devices with the Ethernet address of their parent.
    #[serde(default, deserialize_with = "in_file_order")]
    pub ipvlan: Links<IpvlanTable>,
    /// Macvlans: devices with their own Ethernet addresses on a parent device.
    #[serde(default, deserialize_with = "in_file_order")]
    pub macvlan: Links<MacvlanTable>,
    /// Bridges.
    #[serde(default, deserialize_with = "in_file_order")]
    pub bridge: Links<BridgeTable>,
    /// Intermediate functional blocks.
    #[serde(default, deserialize_with = "in_file_order")]
    pub ifb: Links<IfbTable>,
    /// VRFs.
    #[serde(default, deserialize_with = "in_file_order")]
    pub vrf: Links<VrfTable>,
    /// VXLANs.
    #[serde(default, deserialize_with = "in_file_order")]
    pub vxlan: Links<VxlanTable>,
    /// Geneve tunnels.
    #[serde(default, deserialize_with = "in_file_order")]
    pub geneve: Links<GeneveTable>,
    /// GRE tunnels of IP packets.
    #[serde(default, deserialize_with = "in_file_order")]
    pub gre: Links<GreTable>,
    /// GRE tunnels of Ethernet frames.
    #[serde(default, deserialize_with = "in_file_order")]
    pub gretap: Links<GretapTable>,
    /// MACsec devices.
    #[serde(default, deserialize_with = "in_file_order")]
    pub macsec: Links<MacsecTable>,
    /// Teams.
    #[serde(default, deserialize_with = "in_file_order")]
    pub team: Links<TeamTable>,
    /// Devices of netdevsim.
    #[serde(default, deserialize_with = "in_file_order")]
    pub netdevsim: Links<NetdevsimTable>,
    /// Emulated NICs.
    #[serde(default, deserialize_with = "in_file_order")]
    pub nic: Links<NicTable>,
    /// Emulated NICs with VFs.
    #[serde(default, deserialize_with = "in_file_order")]
    pub pf: Links<PfTable>,
    /// VFs of those.
    #[serde(default, deserialize_with = "in_file_order")]
    pub vf: Links<VfTable>,
}

/// A route. Unlike with `ip route`, no value is derived from others.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RouteTable {
    /// `default` or a network.
    pub to: At<RouteTo>,
    /// The next hop.
    pub via: Option<At<IpAddr>>,
    /// The device.
    pub dev: Option<At<IfName>>,
    /// The type of the route. Default: `unicast`. The other types need no next hop and no device.
    #[serde(rename = "type")]
    pub kind: Option<At<RouteKind>>,
    /// The routing table. Default: 254 (main).
    pub table: Option<At<u32>>,
    /// The route with the lowest metric to a network is used.
    pub metric: Option<u32>,
    /// Source address of packets whose socket has none (`src` of `ip route`).
    pub src: Option<At<IpAddr>>,
    /// MTU of this route, in bytes.
    pub mtu: Option<At<u32>>,
    /// Whether the next hop is treated as directly reachable on the device.
    pub onlink: Option<bool>,
}

/// A rule that selects a routing table, as in `ip rule`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RuleTable {
    /// Rules with lower numbers are evaluated first.
    pub priority: At<u32>,
    /// Packets from this network.
    pub from: Option<At<Cidr>>,
    /// Packets to this network.
    pub to: Option<At<Cidr>>,
    /// Packets that arrived through this device; `lo` means packets sent by this namespace.
    pub iif: Option<At<IfName>>,
    /// Packets of sockets that are bound to this device.
    pub oif: Option<At<IfName>>,
    /// Packets with this mark.
    pub fwmark: Option<u32>,
    /// The routing table to use. Default: none, packets are refused (`unreachable`).
    pub table: Option<At<u32>>,
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
    type Error = crate::net::text_value::ValueError;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        if text == "default" { Ok(Self::Default) } else { text.parse().map(Self::Network) }
    }
}

/// A neighbour entry, permanent by default, so that no address resolution is needed.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NeighbourTable {
    /// Its address.
    pub to: At<IpAddr>,
    /// The device through which it is reached.
    pub dev: At<IfName>,
    /// Its Ethernet address, or the device that has it (`gateway:eth0`). A proxy has none.
    pub mac: Option<At<MacSource>>,
    /// Its state. Default: `permanent`. All others change with time.
    pub state: Option<At<NeighbourState>>,
    /// Whether this namespace answers ARP requests and neighbour solicitations for it on the device (`ip neigh add proxy`).
    pub proxy: Option<At<bool>>,
}
