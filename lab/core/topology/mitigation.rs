//! Attempted fixes of a report: what each changes, and what it came to under one cause.

use serde::{Deserialize, Serialize};

use crate::net::name::DeviceRef;
use crate::net::offload::Offload;
use crate::net::qdisc::Qdisc;

/// Something that somebody tried against a report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mitigation {
    /// Its name.
    pub name: String,
    /// In plain words.
    pub about: String,
    /// What is changed, in order.
    pub steps: Vec<Change>,
}

/// One thing changed on a topology that stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// Set a link down.
    Down(DeviceRef),
    /// Set it up again, with the neighbours and routes that the topology gives it.
    Up(DeviceRef),
    /// Delete a link. What was made on it goes with it.
    Delete(DeviceRef),
    /// Make a link as the topology describes it, or on another parent.
    Create {
        /// The link.
        device: DeviceRef,
        /// Its parent, where it is not the topology's.
        parent: Option<DeviceRef>,
    },
    /// Put a queueing discipline at the root of a device.
    Qdisc {
        /// On this device.
        device: DeviceRef,
        /// This discipline.
        qdisc: Qdisc,
    },
    /// Change the length of a device's queue, in packets.
    TxQueueLen {
        /// Of this device.
        device: DeviceRef,
        /// In packets.
        len: u32,
    },
    /// Switch an offload.
    Offload {
        /// Of this device.
        device: DeviceRef,
        /// Which.
        offload: Offload,
        /// On or off.
        on: bool,
    },
}
