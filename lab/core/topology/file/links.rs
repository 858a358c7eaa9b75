//! Tables of links as written: one for each kind, and the queueing discipline.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::ops::Range;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::net::address::{Cidr, Mac};
use crate::net::bond_option::{BondOptions, PortOptions, with_bond_options, with_port_options};
use crate::net::mode::{
    AdSelect, ArpAllTargets, ArpValidate, BondMode, FailOverMac, IpvlanFlag, IpvlanMode, LacpRate,
    MacvlanMode, PrimaryReselect, VlanProtocol, XmitHashPolicy,
};
use crate::net::name::{DeviceRef, IfName, ParentRef, VlanId};
use crate::topology::file::{At, Links, in_file_order};

/// What every kind of link may say; written once, so that no kind forgets a key.
macro_rules! link_table {
    ($(#[$doc:meta])* $name:ident { $($fields:tt)* }) => {
        link_table! {
            $(#[$doc])* $name |table| table.mac;
            {
                /// Ethernet address; without it the lab gives one by position, the same in each run.
                mac: Option<Mac>,
                $($fields)*
            }
        }
    };
    ($(#[$doc:meta])* $name:ident without mac { $($fields:tt)* }) => {
        link_table! { $(#[$doc])* $name |_table| None; { $($fields)* } }
    };
    (
        $(#[$doc:meta])* $name:ident |$table:ident| $mac:expr;
        { $($(#[$field_meta:meta])* $field:ident : $type:ty),* $(,)? }
    ) => {
        $(#[$doc])*
        #[derive(Debug, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields)]
        pub struct $name {
            $($(#[$field_meta])* pub $field: $type,)*
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
                let $table = self;
                LinkAttributes {
                    mac: $mac, mtu: self.mtu.as_ref(), txqueuelen: self.txqueuelen,
                    up: self.up.unwrap_or(true), addresses: &self.addresses, qdisc: self.qdisc.as_ref(),
                }
            }
        }
    };
}

pub(crate) use link_table;

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

impl LinkAttributes<'static> {
    /// What a link has that nobody wrote a table for.
    pub const NONE: Self =
        Self { mac: None, mtu: None, txqueuelen: None, up: true, addresses: &[], qdisc: None };
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
    /// A tap whose reader never reads: its ring of `txqueuelen` frames fills.
    TapTable {
        /// Whether its driver stops the queue when the ring is full, instead of losing frames (IFF_BACKPRESSURE, 7.3).
        backpressure: Option<bool>,
    }
}
/// The tables in which options are written, from their rows: a key for each, with its place.
macro_rules! bond_tables {
    ($($(#[doc = $about:literal])+ $key:ident: $type:ty = $number:literal $attribute:ident, $range:expr, $modes:expr, $default:literal;)+) => {
        link_table! {
            /// A bond. Keys are the words of `ip link ... type bond`.
            BondTable {
                /// `BOND_MODE_*`.
                mode: At<BondMode>,
                /// Ports, in the order they join.
                #[serde(default)]
                ports: Vec<At<IfName>>,
                /// Ports found by what they are, as a Talos machine config has it; beside `ports`.
                #[serde(default)]
                device_selectors: Vec<At<SelectorTable>>,
                /// Options of its ports, by name.
                #[serde(default, deserialize_with = "in_file_order")]
                port: Links<PortTable>,
                $($(#[doc = $about])+ $key: Option<At<$type>>,)+
            }
        }
        option_table! {
            /// Options of a bond, to be changed. Keys are the words of `ip link set ... type bond`.
            BondOptionsTable {
                /// Another mode; the kernel takes it while the bond has no ports and is down.
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
            /// Options of a bond's port. Keys are the words of `ip link set ... type bond_slave`.
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

link_table! {
    /// A VLAN.
    VlanTable {
        /// The device below: of the same namespace, or of another one (`node:bond0`).
        parent: At<ParentRef>,
        /// 0 to 4094.
        id: At<VlanId>,
        /// The tag's EtherType.
        protocol: Option<VlanProtocol>,
        /// Not made with the topology, but by a mitigation that creates it.
        later: Option<bool>,
    }
}
link_table! {
    /// A device with its parent's Ethernet address, as a pod gets it from the CNI plugin of that name.
    IpvlanTable without mac {
        /// The device below: of the same namespace, or of another one (`node:bond0.70`).
        parent: At<ParentRef>,
        /// `l2` unless you say otherwise.
        mode: Option<At<IpvlanMode>>,
        /// Who reaches whom on this parent: `bridge` unless you say otherwise.
        flag: Option<At<IpvlanFlag>>,
    }
}
link_table! {
    /// A device with an Ethernet address of its own on another device's wire.
    MacvlanTable {
        /// The device below: of the same namespace, or of another one (`node:bond0`).
        parent: At<ParentRef>,
        /// Who reaches whom on this parent: `bridge` unless you say otherwise.
        mode: Option<At<MacvlanMode>>,
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

/// A device selector of Talos: all keys that are given must fit. `*` stands for anything.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct SelectorTable {
    /// The driver's name.
    pub driver: Option<At<String>>,
    /// The Ethernet address it has now.
    pub hardware_addr: Option<At<String>>,
    /// The Ethernet address it was made with.
    pub permanent_addr: Option<At<String>>,
    /// Where it is plugged in: the `bus_path` of a `nic` or `pf`.
    pub bus_path: Option<At<String>>,
    /// Vendor and product, `8086:10D3`.
    #[serde(rename = "pciID")]
    pub pci_id: Option<At<String>>,
    /// Whether it is a device of its own, and no bond, VLAN or bridge.
    pub physical: Option<At<bool>>,
}

/// A queueing discipline; which keys go with which kind is checked.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct QdiscTable {
    /// `pfifo`, `bfifo`, `pfifo_head_drop`, `pfifo_fast`, `plug`, `tbf`, `netem`, `sfq`, `codel`, `fq`, `fq_codel`,
    /// `cake`, `noqueue`.
    pub kind: At<String>,
    /// Packets (pfifo, pfifo_head_drop, netem, sfq, codel, fq, fq_codel), bytes (bfifo, plug, tbf), or bytes of the
    /// kernel's memory (cake).
    pub limit: Option<At<u32>>,
    /// Bits per second (tbf, cake).
    pub rate: Option<At<u64>>,
    /// Bytes (tbf).
    pub burst: Option<At<u32>>,
    /// Microseconds (netem).
    pub delay_us: Option<At<u32>>,
    /// Frames lost at random, in percent (netem).
    pub loss_percent: Option<At<u32>>,
    /// Packets of each socket (fq).
    pub flow_limit: Option<At<u32>>,
    /// Where packets wait for tokens (tbf); without it in a bfifo of `limit` bytes.
    pub child: Option<Box<At<QdiscTable>>>,
}
