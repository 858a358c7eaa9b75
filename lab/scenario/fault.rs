//! What can be broken on purpose.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Qdisc;
use crate::link::{DeviceRef, VlanId};

/// Which hook a filter hangs on: `sch_handle_ingress()` or `sch_handle_egress()`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Hook {
    /// On the way in.
    Ingress,
    /// On the way out.
    Egress,
}

/// Something broken on purpose.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// A queueing discipline at the root of a device.
    Qdisc { device: DeviceRef, qdisc: Qdisc },
    /// A clsact filter that drops; with `vlan`, only frames that carry that tag as metadata.
    Filter { device: DeviceRef, hook: Hook, vlan: Option<VlanId> },
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
            | Self::Unplug { device, .. } => device,
        }
    }
}
