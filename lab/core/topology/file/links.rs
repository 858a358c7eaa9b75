//! Tables of links as written: one for each kind, and the queueing discipline.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::Range;

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::net::address::{Cidr, Mac, MacSource};
use crate::net::bond_option::{BondOptions, PortOptions, with_bond_options, with_port_options};
use crate::net::link_extras::FeatureName;
use crate::net::link_option::words::{LinkMode, MulticastRouter, StpMode};
use crate::net::link_option::*;
use crate::net::mdb::Group;
use crate::net::mode::{
    AdSelect, ArpAllTargets, ArpValidate, BondMode, FailOverMac, IpvlanFlag, IpvlanMode, LacpRate,
    MacvlanMode, PrimaryReselect, VlanProtocol, XmitHashPolicy,
};
use crate::net::name::{DeviceRef, IfName, ParentRef, VlanId};
use crate::net::option::{OptionRow, OptionType, Value};
use crate::net::priority_map::PriorityMap;
use crate::net::sysctl::{LinkSysctlName, SysctlValue};
use crate::topology::fault::Hook;
use crate::topology::file::{At, Links, in_file_order};

/// What every kind of link may say; written once, so that no kind forgets a key.
macro_rules! link_table {
    ($(#[$doc:meta])* $name:ident { $($fields:tt)* }) => {
        link_table! {
            $(#[$doc])* $name |table| table.mac;
            {
                /// Ethernet address. Default: one that the lab derives from the position in the file, the same in each run.
                mac: Option<Mac>,
                $($fields)*
            }
        }
    };
    ($(#[$doc:meta])* $name:ident without mac { $($fields:tt)* }) => {
        link_table! { $(#[$doc])* $name |_table| None; { $($fields)* } }
    };
    (
        $(#[$doc:meta])* $name:ident |$table:ident| $mac:expr; { $($fields:tt)* }
    ) => {
        with_link_options! { link_struct { $(#[$doc])* $name |$table| $mac; { $($fields)* } } }
    };
}

/// The table itself, with a key for each option that every link has.
macro_rules! link_struct {
    (
        {
            $(#[$doc:meta])* $name:ident |$table:ident| $mac:expr;
            { $($(#[$field_meta:meta])* $field:ident : $type:ty),* $(,)? }
        }
        $($(#[doc = $about:literal])+ $key:ident: $option:ty as $wire:expr, $number:literal $attribute:ident, $range:expr, $default:literal;)+
    ) => {
        $(#[$doc])*
        #[derive(Debug, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields)]
        pub struct $name {
            $($(#[$field_meta])* pub $field: $type,)*
            /// Largest packet in bytes.
            pub mtu: Option<At<u32>>,
            /// Length of queues that have no limit of their own, in packets (`txqueuelen`).
            pub txqueuelen: Option<u32>,
            /// Whether it is set up. Default: true.
            pub up: Option<bool>,
            /// Addresses with prefix length.
            #[serde(default)]
            pub addresses: Vec<At<Cidr>>,
            /// Queueing discipline at the root. Default: the kernel's.
            pub qdisc: Option<At<QdiscTable>>,
            /// Features by the kernel's names (`ethtool -k`): `{ "tx-checksum-ip-generic" = false }`. Read back.
            #[serde(default, deserialize_with = "in_file_order")]
            pub features: IndexMap<At<FeatureName>, bool>,
            /// Settings of the device, without its name: `{ "ipv4.conf.rp_filter" = 1, "ipv6.neigh.ucast_solicit" = 2 }`. They are
            /// set before the device is set up, and read back.
            #[serde(default, deserialize_with = "in_file_order")]
            pub sysctl: IndexMap<At<LinkSysctlName>, SysctlValue>,
            /// Entries of the forwarding database: of a bridge's port, of a bridge itself, or of a VXLAN.
            #[serde(default)]
            pub fdb: Vec<At<FdbTable>>,
            /// Entries of the multicast database of a bridge: of its port, or of the bridge itself (its host has joined the group).
            #[serde(default)]
            pub mdb: Vec<At<MdbTable>>,
            /// Filters that change or redirect frames, in the order of evaluation.
            #[serde(default)]
            pub filters: Vec<At<FilterTable>>,
            $($(#[doc = $about])+ pub $key: Option<At<$option>>,)+
        }
        impl $name {
            /// What every link has.
            pub fn attributes(&self) -> LinkAttributes<'_> {
                let $table = self;
                let common: Vec<Option<Written>> = vec![$(Written::of(LINK_OPTIONS, stringify!($key), self.$key.as_ref())),+];
                LinkAttributes {
                    mac: $mac, mtu: self.mtu.as_ref(), txqueuelen: self.txqueuelen,
                    up: self.up.unwrap_or(true), addresses: &self.addresses, qdisc: self.qdisc.as_ref(),
                    common: common.into_iter().flatten().collect(),
                    features: Some(&self.features), sysctl: Some(&self.sysctl), fdb: &self.fdb, mdb: &self.mdb, filters: &self.filters,
                }
            }
        }
    };
}

pub(crate) use {link_struct, link_table};

/// A table of a kind that has options: a key for each row, beside those that the kind cannot do without.
macro_rules! link_with_options {
    (
        { $(#[$doc:meta])* $name:ident $(without $mac:ident)? { $($fields:tt)* } $rows:ident }
        $($(#[doc = $about:literal])+ $key:ident: $type:ty as $wire:expr, $number:literal $attribute:ident, $range:expr, $default:literal;)+
    ) => {
        link_table! {
            $(#[$doc])* $name $(without $mac)? { $($fields)* $($(#[doc = $about])+ $key: Option<At<$type>>,)+ }
        }
        impl $name {
            /// The options that are written.
            pub fn written(&self) -> Vec<Written> {
                let all: Vec<Option<Written>> = vec![$(Written::of($rows, stringify!($key), self.$key.as_ref())),+];
                all.into_iter().flatten().collect()
            }
        }
    };
}

pub(crate) use link_with_options;

/// An option as it is written.
#[derive(Debug, Clone)]
pub struct Written {
    /// Its row.
    pub row: &'static OptionRow,
    /// The value.
    pub value: Value,
    /// Where it stands.
    pub span: Range<usize>,
}

impl Written {
    /// A key's value with its row.
    pub(crate) fn of<T: OptionType>(
        rows: &'static [OptionRow],
        key: &str,
        at: Option<&At<T>>,
    ) -> Option<Self> {
        let row = rows.iter().find(|row| row.key == key)?;
        at.map(|at| Self { row, value: at.value.value(), span: at.span.clone() })
    }
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
    /// Queueing discipline at the root. Default: the kernel's.
    pub qdisc: Option<&'a At<QdiscTable>>,
    /// Options that every link has.
    pub common: Vec<Written>,
    /// Features by name.
    pub features: Option<&'a IndexMap<At<FeatureName>, bool>>,
    /// Settings of the device.
    pub sysctl: Option<&'a IndexMap<At<LinkSysctlName>, SysctlValue>>,
    /// Entries of the forwarding database.
    pub fdb: &'a [At<FdbTable>],
    /// Entries of the multicast database.
    pub mdb: &'a [At<MdbTable>],
    /// Filters.
    pub filters: &'a [At<FilterTable>],
}

impl LinkAttributes<'static> {
    /// What a link has for which the file has no table.
    pub const NONE: Self = Self {
        mac: None,
        mtu: None,
        txqueuelen: None,
        up: true,
        addresses: &[],
        qdisc: None,
        common: Vec::new(),
        features: None,
        sysctl: None,
        fdb: &[],
        mdb: &[],
        filters: &[],
    };
}

/// An entry of a forwarding database, static by default.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FdbTable {
    /// The Ethernet address, or the device that has it (`gateway:eth0`).
    pub mac: At<MacSource>,
    /// In this VLAN.
    pub vlan: Option<VlanId>,
    /// Of a VXLAN: the other end.
    pub dst: Option<At<IpAddr>>,
    /// Whether it ages. Default: false.
    pub dynamic: Option<bool>,
}

/// An entry of a bridge's multicast database. It is permanent unless you say otherwise.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MdbTable {
    /// The group: a multicast address of IPv4 or IPv6, or of Ethernet for frames that carry no IP (Linux 5.11).
    pub group: At<Group>,
    /// In this VLAN; with `vlan_filtering`.
    pub vlan: Option<VlanId>,
    /// Whether it ages, as one that a report has made.
    pub dynamic: Option<bool>,
}

/// A filter of clsact: what it matches, and what happens to those frames. It has one of `redirect`, `mirror` and `skbedit`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FilterTable {
    /// `ingress` or `egress`.
    pub hook: At<Hook>,
    /// Only frames with this 802.1Q tag.
    pub vlan: Option<VlanId>,
    /// The device of this namespace that gets the frames instead (act_mirred).
    pub redirect: Option<At<IfName>>,
    /// The device of this namespace that gets copies of the frames (act_mirred).
    pub mirror: Option<At<IfName>>,
    /// Whether that device sends the frames (`egress`) or receives them (`ingress`). Default: `egress`.
    pub at: Option<At<Hook>>,
    /// Metadata of the frame to set (act_skbedit).
    pub skbedit: Option<At<SkbeditTable>>,
}

/// Metadata of a frame.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SkbeditTable {
    /// The priority, for queueing disciplines.
    pub priority: Option<u32>,
    /// The mark, for rules and filters.
    pub mark: Option<u32>,
    /// The transmit queue.
    pub queue_mapping: Option<u16>,
}

/// VLANs of a bridge or of a bridge's port.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PortVlanTable {
    /// The first, 1 to 4094.
    pub id: At<VlanId>,
    /// The last of a range. Default: only `id`.
    pub to: Option<At<VlanId>>,
    /// Whether untagged frames that arrive belong to it.
    pub pvid: Option<At<bool>>,
    /// Whether its frames are sent without a tag.
    pub untagged: Option<bool>,
}

link_table! {
    /// One end of a cable.
    VethTable {
        /// The other end, `namespace:device`. If it has its own table, the `peer` of that table must be this device.
        peer: At<DeviceRef>,
    }
}
link_table! {
    /// A dummy device: it discards every frame that is sent to it.
    DummyTable {}
}
link_table! {
    /// The gadget's end of a USB pair: a device of a real driver, whose queue can be stopped. Its other end is made with
    /// it. A topology has one at the most, and a kernel with drivers (Debian's generic flavour) is needed.
    GadgetTable {
        /// The host's end, `namespace:device`; it has no table of its own.
        peer: At<DeviceRef>,
        /// Addresses of the host's end, with prefix length.
        #[serde(default)]
        peer_addresses: Vec<At<Cidr>>,
    }
}
link_table! {
    /// A tap. A program reads its ring of `txqueuelen` frames, or the ring fills.
    TapTable {
        /// Whether its driver stops the queue when the ring is full, instead of losing frames (IFF_BACKPRESSURE, 7.3).
        backpressure: Option<bool>,
        /// The tap, `namespace:device`, to which a program writes each frame that it reads of this one, and which names this
        /// one. Default: no program reads it.
        peer: Option<At<DeviceRef>>,
    }
}
link_table! {
    /// A tun: a device without Ethernet header, whose ring of `txqueuelen` packets a program reads, or the ring fills.
    TunTable without mac {
        /// Whether its driver stops the queue when the ring is full, instead of losing packets (IFF_BACKPRESSURE, 7.3).
        backpressure: Option<bool>,
        /// The tun, `namespace:device`, to which a program writes each packet that it reads of this one, and which names
        /// this one. Default: no program reads it.
        peer: Option<At<DeviceRef>>,
    }
}
/// The tables in which options are written, from their rows: a key for each, with its place.
macro_rules! bond_tables {
    ($($(#[doc = $about:literal])+ $key:ident: $type:ty = $number:literal $attribute:ident, $range:expr, $modes:expr, $default:literal;)+) => {
        link_table! {
            /// A bond. Keys are those of `ip link ... type bond`.
            BondTable {
                /// `BOND_MODE_*`.
                mode: At<BondMode>,
                /// Ports, in the order they join.
                #[serde(default)]
                ports: Vec<At<IfName>>,
                /// Ports that are selected by their properties, as in a Talos machine config; in addition to `ports`.
                #[serde(default)]
                device_selectors: Vec<At<SelectorTable>>,
                /// Options of its ports, by name.
                #[serde(default, deserialize_with = "in_file_order")]
                port: Links<PortTable>,
                $($(#[doc = $about])+ $key: Option<At<$type>>,)+
            }
        }
        option_table! {
            /// Options of a bond, to be changed. Keys are those of `ip link set ... type bond`.
            BondOptionsTable {
                /// A new mode; the kernel accepts it only while the bond is down and has no ports.
                pub mode: Option<At<BondMode>>,
            } $($(#[doc = $about])+ $key: $type;)+
        }
        written_options! { BondTable BondOptions $($key)+ }
        written_options! { BondOptionsTable BondOptions $($key)+ }
    };
}

macro_rules! port_tables {
    ($($(#[doc = $about:literal])+ $key:ident: $type:ty = $number:literal $attribute:ident, $range:expr, $modes:expr, $default:literal;)+) => {
        option_table! {
            /// Options of a bond's port. Keys are those of `ip link set ... type bond_slave`.
            PortTable {} $($(#[doc = $about])+ $key: $type;)+
        }
        written_options! { PortTable PortOptions $($key)+ }
    };
}

macro_rules! option_table {
    ($(#[$doc:meta])* $name:ident { $($more:tt)* } $($(#[doc = $about:literal])+ $key:ident: $type:ty;)+) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields)]
        pub struct $name {
            $($more)*
            $($(#[doc = $about])+ pub $key: Option<At<$type>>,)+
        }
    };
}

macro_rules! written_options {
    ($table:ident $options:ident $($key:ident)+) => {
        impl $table {
            /// The options that are written.
            pub fn options(&self) -> $options {
                $options { $($key: self.$key.as_ref().map(|at| at.value.clone()),)+ }
            }

            /// Where an option is written.
            pub fn place(&self, key: &str) -> Option<Range<usize>> {
                match key {
                    $(stringify!($key) => self.$key.as_ref().map(|at| at.span.clone()),)+
                    _ => None,
                }
            }
        }
    };
}

with_bond_options!(bond_tables);
with_port_options!(port_tables);

with_vlan_options! { link_with_options {
    /// A VLAN.
    VlanTable {
        /// The device below: of the same namespace, or of another one (`node:bond0`).
        parent: At<ParentRef>,
        /// 0 to 4094.
        id: At<VlanId>,
        /// The tag's EtherType.
        protocol: Option<VlanProtocol>,
        /// Not created with the topology, but later by a mitigation or a step.
        later: Option<bool>,
    }
    VLAN_OPTIONS
} }
link_table! {
    /// An ipvlan: a device with its parent's Ethernet address.
    IpvlanTable without mac {
        /// The device below: of the same namespace, or of another one (`node:bond0.70`).
        parent: At<ParentRef>,
        /// Default: `l2`.
        mode: Option<At<IpvlanMode>>,
        /// Which devices on the same parent reach each other. Default: `bridge`.
        flag: Option<At<IpvlanFlag>>,
    }
}
with_macvlan_options! { link_with_options {
    /// A macvlan: a device with its own Ethernet address on a parent device.
    MacvlanTable {
        /// The device below: of the same namespace, or of another one (`node:bond0`).
        parent: At<ParentRef>,
        /// Which devices on the same parent reach each other. Default: `bridge`.
        mode: Option<At<MacvlanMode>>,
    }
    MACVLAN_OPTIONS
} }
with_bridge_options! { link_with_options {
    /// A bridge. Keys are those of `ip link ... type bridge`.
    BridgeTable {
        /// Its ports.
        #[serde(default)]
        ports: Vec<At<IfName>>,
        /// Whether it filters by VLAN.
        vlan_filtering: Option<bool>,
        /// VLANs of the bridge itself: exactly these. Default: the one of vlan_default_pvid.
        vlans: Option<Vec<At<PortVlanTable>>>,
        /// Options of its ports, by name.
        #[serde(default, deserialize_with = "in_file_order")]
        port: Links<BridgePortTable>,
    }
    BRIDGE_OPTIONS
} }

macro_rules! bridge_port_table {
    ({} $($(#[doc = $about:literal])+ $key:ident: $type:ty as $wire:expr, $number:literal $attribute:ident, $range:expr, $default:literal;)+) => {
        /// Options of a bridge's port. Keys are those of `bridge link set`.
        #[derive(Debug, Clone, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields)]
        pub struct BridgePortTable {
            /// Its VLANs: exactly these. Default: the one of vlan_default_pvid.
            pub vlans: Option<Vec<At<PortVlanTable>>>,
            $($(#[doc = $about])+ pub $key: Option<At<$type>>,)+
        }
        impl BridgePortTable {
            /// The options that are written.
            pub fn written(&self) -> Vec<Written> {
                let all: Vec<Option<Written>> =
                    vec![$(Written::of(BRIDGE_PORT_OPTIONS, stringify!($key), self.$key.as_ref())),+];
                all.into_iter().flatten().collect()
            }
        }
    };
}
with_bridge_port_options! { bridge_port_table {} }

/// A device selector of Talos: all keys must match. `*` matches anything.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct SelectorTable {
    /// The driver's name.
    pub driver: Option<At<String>>,
    /// The Ethernet address it has now.
    pub hardware_addr: Option<At<String>>,
    /// The permanent Ethernet address.
    pub permanent_addr: Option<At<String>>,
    /// PCI address: the `bus_path` of a `nic` or `pf`.
    pub bus_path: Option<At<String>>,
    /// Vendor and product, `8086:10D3`.
    #[serde(rename = "pciID")]
    pub pci_id: Option<At<String>>,
    /// Whether it is a physical device, and not a bond, VLAN or bridge.
    pub physical: Option<At<bool>>,
}

/// A queueing discipline; a key that does not belong to `kind` is an error.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct QdiscTable {
    /// `pfifo`, `bfifo`, `pfifo_head_drop`, `pfifo_fast`, `plug`, `tbf`, `netem`, `sfq`, `codel`, `fq`, `fq_codel`,
    /// `cake`, `pie`, `red`, `htb`, `hfsc`, `multiq`, `mqprio`, `mq`, `teql0`, `noqueue`.
    pub kind: At<String>,
    /// Packets (pfifo, pfifo_head_drop, netem, sfq, codel, fq, fq_codel, pie), bytes (bfifo, plug, tbf, red), or bytes of the
    /// kernel's memory (cake).
    pub limit: Option<At<u32>>,
    /// Bits per second (tbf, cake, htb, hfsc).
    pub rate: Option<At<u64>>,
    /// Bytes (tbf, htb).
    pub burst: Option<At<u32>>,
    /// Microseconds (netem).
    pub delay_us: Option<At<u32>>,
    /// Frames lost at random, in percent (netem).
    pub loss_percent: Option<At<u32>>,
    /// Packets of each socket (fq).
    pub flow_limit: Option<At<u32>>,
    /// The discipline where packets wait for tokens (tbf, htb, hfsc). Default: a bfifo of `limit` bytes (tbf), or a pfifo of
    /// txqueuelen packets.
    pub child: Option<Box<At<QdiscTable>>>,
    /// Bits per second, when no other class needs them (htb).
    pub ceil: Option<At<u64>>,
    /// Averaged length from which on some packets are dropped, in bytes (red).
    pub min: Option<At<u32>>,
    /// Averaged length from which on all packets are dropped, in bytes (red).
    pub max: Option<At<u32>>,
    /// Packets dropped just below `max`, in percent (red). Default: 2.
    pub probability_percent: Option<At<u32>>,
    /// Transmit queues of each class, 16 classes at the most (mqprio).
    pub queues: Option<At<Vec<u16>>>,
    /// The class of each priority from 0 to 15 (mqprio); those that are left out have class 0.
    pub priorities: Option<At<Vec<u8>>>,
    /// The discipline of each transmit queue (mq).
    pub children: Option<At<Vec<At<QdiscTable>>>>,
}
