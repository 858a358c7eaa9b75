//! Tables of emulated NICs as written: PFs with what they say of their VFs, VFs, and NICs without.

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::net::address::{Cidr, Mac};
use crate::net::link_extras::FeatureName;
use crate::net::link_option::words::LinkMode;
use crate::net::link_option::{LINK_OPTIONS, with_link_options};
use crate::net::mode::{Backing, NicDriver, VfLinkState};
use crate::net::name::{DeviceRef, VlanId};
use crate::net::sysctl::{LinkSysctlName, SysctlValue};
use crate::topology::file::links::{link_struct, link_table};
use crate::topology::file::{
    At, FdbTable, FilterTable, LinkAttributes, MdbTable, QdiscTable, Written, in_file_order,
};

link_table! {
    /// An emulated NIC.
    NicTable {
        /// Which NIC: `igb`, `e1000e` or `virtio_net`.
        driver: At<NicDriver>,
        /// The NIC at the other end of its cable, `namespace:device`. Without a table of its own it is an e1000e.
        peer: At<DeviceRef>,
        /// PCI address on the described machine (`bus-info` of `ethtool -i`), `0000:07:00.0`: for device selectors. The emulated
        /// NIC has another one.
        bus_path: Option<At<String>>,
    }
}
link_table! {
    /// An emulated NIC with SR-IOV: a physical function.
    PfTable {
        /// Which NIC: `igb`.
        driver: At<NicDriver>,
        /// The NIC at the other end of its cable, `namespace:device`. Without a table of its own it is an e1000e.
        peer: At<DeviceRef>,
        /// PCI address on the described machine (`bus-info` of `ethtool -i`), `0000:07:00.0`: for device selectors. The emulated
        /// NIC has another one.
        bus_path: Option<At<String>>,
        /// How many VFs it has (`sriov_numvfs`).
        vfs: At<u8>,
        /// What it is made of: `hardware` (an emulated NIC), `netdevsim` (its VFs are settings and no devices) or `switch` (a
        /// bridge and veth pairs, with the VFs' address, `vlan`, `spoofchk` and `link_state`; it refuses no change of an address).
        /// Default: `hardware`.
        backing: Option<Backing>,
        /// Settings of each VF on the PF, by number.
        #[serde(default, deserialize_with = "in_file_order")]
        vf: IndexMap<At<String>, VfSettingsTable>,
    }
}
link_table! {
    /// A device of netdevsim, the kernel's driver without hardware. The lab builds it from the kernel's source.
    NetdevsimTable {
        /// The netdevsim at the other end of its cable, `namespace:device`, which names this one. Without it the device discards
        /// every frame. Older kernels, 6.1 among them, cannot link two.
        peer: Option<At<DeviceRef>>,
        /// How many VFs it has (`sriov_numvfs`), 4 at the most. They have settings, but no devices.
        vfs: Option<At<u8>>,
        /// Settings of each VF, by number.
        #[serde(default, deserialize_with = "in_file_order")]
        vf: IndexMap<At<String>, VfSettingsTable>,
    }
}
link_table! {
    /// A virtual function of a PF, in any namespace.
    VfTable {
        /// Its PF, `namespace:device`.
        of: At<DeviceRef>,
        /// Its number, from 0.
        index: At<u8>,
    }
}

/// Settings of a VF on its PF: keys are those of `ip link set PF vf N`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VfSettingsTable {
    /// The administrator's address: the VF may not change it without trust.
    pub mac: Option<Mac>,
    /// The tag that is put on all its frames.
    pub vlan: Option<VlanId>,
    /// The tag's priority, 0 to 7; with `vlan`.
    pub qos: Option<At<u8>>,
    /// Whether frames from other source addresses are dropped. QEMU's igb accepts the setting, and drops none.
    pub spoofchk: Option<bool>,
    /// Whether it is trusted: a trusted VF may change its Ethernet address, for example.
    pub trust: Option<bool>,
    /// Whether its carrier follows the PF's. igb refuses it.
    pub link_state: Option<VfLinkState>,
    /// In Mbit/s. igb refuses it for an emulated NIC.
    pub max_tx_rate: Option<u32>,
    /// In Mbit/s.
    pub min_tx_rate: Option<u32>,
}
