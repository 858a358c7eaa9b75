//! Tables of links as written: one for each kind, and the queueing discipline.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::net::address::{Cidr, Mac};
use crate::net::mode::{
    AdSelect, ArpValidate, BondMode, FailOverMac, IpvlanFlag, IpvlanMode, LacpRate, MacvlanMode,
    PrimaryReselect, VlanProtocol, XmitHashPolicy,
};
use crate::net::name::{DeviceRef, IfName, ParentRef, VlanId};
use crate::topology::file::At;

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
        /// Neighbour solicitation targets of the same monitor (Linux 5.18).
        #[serde(default)]
        ns_ip6_target: Vec<std::net::Ipv6Addr>,
        /// Intervals of that monitor without an answer, after which a port is given up (Linux 5.17).
        missed_max: Option<u8>,
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
