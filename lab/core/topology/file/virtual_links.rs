//! Tables of links that have nothing but options, a parent and ports: VRF, VXLAN and the like.

use std::net::{Ipv4Addr, Ipv6Addr};

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::net::address::{Cidr, Mac};
use crate::net::link_extras::{FeatureName, MacsecKey};
use crate::net::link_option::words::{
    LabelPolicy, LinkMode, MacsecCipher, MacsecOffload, MacsecValidate, TeamMode, VirtualKind, VxlanDf,
};
use crate::net::link_option::*;
use crate::net::name::{DeviceRef, IfName, ParentRef};
use crate::net::port_range::PortRange;
use crate::net::sysctl::{LinkSysctlName, SysctlValue};
use crate::topology::file::links::{link_struct, link_table, link_with_options};
use crate::topology::file::{
    At, FdbTable, FilterTable, LinkAttributes, MdbTable, NsTable, QdiscTable, Written, in_file_order,
};

link_table! {
    /// An intermediate functional block: frames that a filter redirects to it pass its queue, and then continue on their path.
    IfbTable {}
}
with_vrf_options! { link_with_options {
    /// A VRF: its ports have a separate routing table.
    VrfTable {
        /// Its ports.
        #[serde(default)]
        ports: Vec<At<IfName>>,
    }
    VRF_OPTIONS
} }
with_vxlan_options! { link_with_options {
    /// A VXLAN. Keys are those of `ip link ... type vxlan`.
    VxlanTable {
        /// The device that sends outer packets (`dev`), in the same namespace.
        parent: Option<At<ParentRef>>,
    }
    VXLAN_OPTIONS
} }
with_geneve_options! { link_with_options {
    /// A Geneve tunnel. Keys are those of `ip link ... type geneve`.
    GeneveTable {}
    GENEVE_OPTIONS
} }
with_gre_options! { link_with_options {
    /// A GRE tunnel that carries IP packets. Keys are those of `ip link ... type gre`.
    GreTable without mac {
        /// The device that sends outer packets (`dev`), in the same namespace.
        parent: Option<At<ParentRef>>,
    }
    GRE_OPTIONS
} }
with_gre_options! { link_with_options {
    /// A GRE tunnel that carries Ethernet frames. Keys are those of `ip link ... type gretap`.
    GretapTable {
        /// The device that sends outer packets (`dev`), in the same namespace.
        parent: Option<At<ParentRef>>,
    }
    GRE_OPTIONS
} }
with_macsec_options! { link_with_options {
    /// A MACsec device. Keys are those of `ip link ... type macsec`.
    MacsecTable {
        /// The device below, of the same namespace.
        parent: At<ParentRef>,
        /// The MACsec device at the other end, `namespace:device`: its channel is received.
        peer: At<DeviceRef>,
        /// The key of both directions, the same at both ends: 32 hexadecimal digits, or 64 with gcm-aes-256.
        key: At<MacsecKey>,
    }
    MACSEC_OPTIONS
} }
link_table! {
    /// A team without teamd.
    TeamTable {
        /// Which ports it sends through (the team's runner).
        mode: At<TeamMode>,
        /// Its ports.
        #[serde(default)]
        ports: Vec<At<IfName>>,
        /// The port that sends and receives; with mode activebackup.
        active_port: Option<At<IfName>>,
    }
}

/// One of them as it is written.
pub struct VirtualTable<'f> {
    /// Its name.
    pub name: &'f At<IfName>,
    /// What it is.
    pub kind: VirtualKind,
    /// The device below.
    pub parent: Option<&'f At<ParentRef>>,
    /// Its ports.
    pub ports: &'f [At<IfName>],
    /// Options of its kind.
    pub written: Vec<Written>,
    /// What every link has.
    pub attributes: LinkAttributes<'f>,
}

impl NsTable {
    /// All links of a namespace that have nothing but options, a parent and ports.
    pub fn virtual_links(&self) -> Vec<VirtualTable<'_>> {
        let mut all = Vec::new();
        macro_rules! each {
            ($($table:ident $kind:ident |$link:ident| $parent:expr, $ports:expr, $written:expr;)+) => {
                $(for (name, $link) in &self.$table {
                    all.push(VirtualTable {
                        name, kind: VirtualKind::$kind, parent: $parent, ports: $ports, written: $written,
                        attributes: $link.attributes(),
                    });
                })+
            };
        }
        each! {
            ifb Ifb |link| None, &[], Vec::new();
            vrf Vrf |link| None, &link.ports, link.written();
            vxlan Vxlan |link| link.parent.as_ref(), &[], link.written();
            geneve Geneve |link| None, &[], link.written();
            gre Gre |link| link.parent.as_ref(), &[], link.written();
            gretap Gretap |link| link.parent.as_ref(), &[], link.written();
            macsec Macsec |link| Some(&link.parent), &[], link.written();
            team Team |link| None, &link.ports, Vec::new();
        }
        all
    }
}
