//! Offloads by their ethtool names.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// An offload that `ethtool -K` switches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Offload {
    /// The device writes VLAN tags into frames; off, the kernel does.
    TxVlanOffload,
    /// The device takes VLAN tags out of frames.
    RxVlanOffload,
}

impl Offload {
    /// `ETH_FLAG_*`, include/uapi/linux/ethtool.h.
    pub fn flag(self) -> u32 {
        match self {
            Self::TxVlanOffload => 1 << 7,
            Self::RxVlanOffload => 1 << 8,
        }
    }
}

impl fmt::Display for Offload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TxVlanOffload => "tx-vlan-offload",
            Self::RxVlanOffload => "rx-vlan-offload",
        })
    }
}
