//! Emulated NICs: which a topology asks for, how their cables run, and what a PF says of its VFs.

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use crate::net::address::Mac;
use crate::net::link::{Link, LinkKind};
use crate::net::mode::{Backing, NicDriver, VfLinkState};
use crate::net::name::{DeviceRef, VlanId};

/// A NIC's PCIe root ports have room for this many; more than a test bench has cables for.
pub const NICS_MAX: usize = 16;

/// VFs of one 82576, as igb offers them (IGB_82576_VF_DEV_ID, `sriov_totalvfs`).
pub const VFS_MAX: usize = 7;

/// VFs of one netdevsim (NSIM_BUS_DEV_MAX_VFS, drivers/net/netdevsim/dev.c).
pub const NETDEVSIM_VFS_MAX: usize = 4;

/// A NIC with one end of a cable in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Nic {
    /// Which is emulated.
    pub driver: NicDriver,
    /// The NIC at the cable's other end.
    pub peer: DeviceRef,
    /// A PF's VFs, by number; a NIC without SR-IOV in use has none.
    pub vfs: Vec<VfSettings>,
    /// What it is to be made of.
    pub backing: Backing,
}

/// A device of netdevsim: a driver without hardware, with VFs that are settings and no devices.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Netdevsim {
    /// The netdevsim at its cable's other end; without one it swallows what it is given.
    pub peer: Option<DeviceRef>,
    /// Its VFs, by number.
    pub vfs: Vec<VfSettings>,
}

/// What `ip link set PF vf N` says; `None` leaves the driver's choice.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VfSettings {
    /// The administrator's address: the VF's own from its start, and not to be changed by it without trust.
    pub mac: Option<Mac>,
    /// The tag that the PF puts on all its frames.
    pub vlan: Option<VlanId>,
    /// The tag's priority.
    pub qos: Option<u8>,
    /// Whether frames from other addresses than its own are dropped.
    pub spoofchk: Option<bool>,
    /// Whether it may do what only the PF may.
    pub trust: Option<bool>,
    /// Whether its carrier follows the PF's.
    pub link_state: Option<VfLinkState>,
    /// In Mbit/s.
    pub max_tx_rate: Option<u32>,
    /// In Mbit/s.
    pub min_tx_rate: Option<u32>,
}

/// One slot of the machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Slot {
    /// The device it is in the topology.
    pub device: DeviceRef,
    /// Which NIC is in it.
    pub driver: NicDriver,
    /// The slot at its cable's other end.
    pub peer: usize,
}

/// The address a NIC of that slot is made with, by which the guest finds it again: machines whose slots are alike are
/// alike, whatever the devices are called.
pub fn permanent_mac(slot: usize) -> Mac {
    let [.., high, low] = slot.to_be_bytes();
    Mac([0x02, 0x00, 0x5e, 0x50, high, low])
}

/// The slots a topology's NICs are in, in the order of its links.
pub fn slots(links: &IndexMap<DeviceRef, Link>) -> Vec<Slot> {
    let slot = |(device, nic): (&DeviceRef, &Nic)| Slot {
        device: device.clone(),
        driver: nic.driver,
        peer: slot_of(links, &nic.peer).expect("checked: a cable has two ends"),
    };
    nics(links).map(slot).collect()
}

/// The slot a NIC is in; its cable may be wrong.
pub fn slot_of(links: &IndexMap<DeviceRef, Link>, wanted: &DeviceRef) -> Option<usize> {
    nics(links).position(|(device, _)| device == wanted)
}

fn nics(links: &IndexMap<DeviceRef, Link>) -> impl Iterator<Item = (&DeviceRef, &Nic)> {
    links.iter().filter_map(|(device, link)| match &link.kind {
        LinkKind::Nic(nic) | LinkKind::Pf(nic) => Some((device, nic)),
        _ => None,
    })
}
