//! What can be broken on purpose.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::net::address::Mac;
use crate::net::name::{DeviceRef, VlanId};
use crate::net::qdisc::Qdisc;

/// How often a scripted LACP partner sends.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PartnerSends {
    /// Each second.
    #[default]
    Fast,
    /// Three in the first three seconds, then one each 30 s, whatever the bond asks for.
    Slow,
    /// Not at all.
    Never,
}

/// What a scripted LACP partner says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PartnerScript {
    /// How often.
    pub sends: PartnerSends,
    /// Whether it comes into sync, collects and distributes.
    pub in_sync: bool,
    /// Its port's key; 1 without. Ports whose partners have different keys are never in one aggregator.
    pub key: Option<u16>,
    /// Its system; the address of its device without.
    pub system: Option<Mac>,
    /// For so many LACPDUs, one a second, it is in sync, for as many not, and so on; it keeps to what it says without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flap_s: Option<u16>,
}

/// Which hook a filter hangs on: `sch_handle_ingress()` or `sch_handle_egress()`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Hook {
    /// On the way in.
    Ingress,
    /// On the way out.
    Egress,
}

/// What a filter is, and who hangs it up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum FilterKind {
    /// A classifier of `tc` with the action drop, at a clsact discipline.
    #[default]
    Clsact,
    /// A BPF program at tcx (Linux 6.6), as a CNI hangs it up: `tc filter show` does not show it.
    Tcx,
    /// A base chain of nftables, family netdev, with the policy drop; on the way out from Linux 5.16.
    Nft,
    /// A rule of nftables at the input hook of IPv4, for packets to this host that came by the device: `iifname` and drop.
    NftInput,
    /// An XDP program in the device's driver, on the way in: it runs before anything else sees the frame.
    Xdp,
    /// An XDP program that the kernel runs in the driver's place (generic mode), on the way in.
    XdpGeneric,
}

impl Hook {
    /// The word of the file.
    pub fn word(self) -> &'static str {
        match self {
            Self::Ingress => "ingress",
            Self::Egress => "egress",
        }
    }
}

impl FilterKind {
    /// The word of the file.
    pub fn word(self) -> &'static str {
        match self {
            Self::Clsact => "clsact",
            Self::Tcx => "tcx",
            Self::Nft => "nft",
            Self::NftInput => "nft-input",
            Self::Xdp => "xdp",
            Self::XdpGeneric => "xdp-generic",
        }
    }

    /// Whether it can tell VLAN tags apart. XDP does not see the tag that a veth carries beside the frame.
    pub fn sees_vlans(self) -> bool {
        matches!(self, Self::Clsact | Self::Tcx)
    }

    /// Whether it hangs on the way in only.
    pub fn is_ingress_only(self) -> bool {
        matches!(self, Self::NftInput | Self::Xdp | Self::XdpGeneric)
    }
}

/// Something broken on purpose.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// A queueing discipline at the root of a device.
    Qdisc { device: DeviceRef, qdisc: Qdisc },
    /// A filter that drops; with `vlan`, only frames that carry that tag as metadata.
    Filter { device: DeviceRef, hook: Hook, vlan: Option<VlanId>, kind: FilterKind },
    /// A device taken down.
    Down { device: DeviceRef },
    /// A port taken out of its controller.
    Release { device: DeviceRef, controller: DeviceRef },
    /// Another largest packet, in bytes; `standing` is what the topology has.
    Mtu { device: DeviceRef, mtu: u32, standing: u32 },
    /// The receiving end of a cable takes frames into its ring and looks at none. When it is mended, the frames in
    /// the ring are lost.
    Hold { device: DeviceRef, peer: DeviceRef },
    /// An emulated NIC's cable pulled out; `slot` is the NIC's.
    Unplug { device: DeviceRef, slot: usize },
    /// A NIC set down, or its cable pulled out, where a switch stands in: these are down, of its ends and the switch's ports.
    CarrierLost { device: DeviceRef, down: Vec<DeviceRef> },
    /// The gadget's end of a USB pair, whose driver stops its queue: frames are not taken from the bus. Or a tap or tun whose
    /// program stops reading it.
    Stall { device: DeviceRef, peer: DeviceRef },
    /// The other end of an 802.3ad bond's port is a configurable LACP partner.
    Partner { device: DeviceRef, peer: DeviceRef, script: PartnerScript },
    /// The receiving socket at a device has the smallest buffer there is, and is not read.
    Rcvbuf { device: DeviceRef },
    /// The receiving socket at a device is closed: there is no listener.
    Closed { device: DeviceRef },
    /// The queue between devices and their receiving processor shortened: net.core.netdev_max_backlog, which is the
    /// whole machine's. `device` is one that receives through it.
    Backlog { device: DeviceRef, limit: u32 },
}

impl Fault {
    /// The device that is broken.
    pub fn device(&self) -> &DeviceRef {
        match self {
            Self::Qdisc { device, .. }
            | Self::Filter { device, .. }
            | Self::Down { device }
            | Self::Release { device, .. }
            | Self::Mtu { device, .. }
            | Self::Hold { device, .. }
            | Self::Unplug { device, .. }
            | Self::CarrierLost { device, .. }
            | Self::Stall { device, .. }
            | Self::Partner { device, .. }
            | Self::Closed { device }
            | Self::Backlog { device, .. }
            | Self::Rcvbuf { device } => device,
        }
    }

    /// It in a few words, as a plan and a report show it.
    pub fn words(&self) -> String {
        match self {
            Self::Closed { device } => format!("closed socket at {device}"),
            Self::Rcvbuf { device } => format!("full receive buffer at {device}"),
            Self::Backlog { device, limit } => format!("backlog at {device} limit {limit}"),
            // The plan has words of its own for those that have more than a device.
            other => format!("fault at {}", other.device()),
        }
    }
}
