//! A port of a switch that is used in the place of a NIC.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::net::address::Mac;
use crate::net::mode::VfLinkState;
use crate::net::name::{DeviceRef, IfName, NsName, VlanId};
use crate::net::nic::VfSettings;

/// What the bridge of a switch is called.
pub(crate) const BRIDGE: &str = "switch";

/// What a substitute is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Substitute {
    /// VF settings of a PF, without VF devices.
    Netdevsim,
    /// What passes a PF's VFs.
    Switch,
    /// A cable's end.
    Veth,
}

impl fmt::Display for Substitute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Netdevsim => "netdevsim",
            Self::Switch => "switch",
            Self::Veth => "veth",
        })
    }
}

/// A port of a switch: for the cable, the PF, or a VF. It passes frames to group addresses as a NIC does, LACPDUs among
/// them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SwitchPort {
    /// The switch's end.
    pub device: DeviceRef,
    /// The PF or the VF at the other; none at the cable's port.
    pub end: Option<DeviceRef>,
    /// Whether the VF may change an address that the PF has set.
    pub is_trusted: bool,
    /// The VF's address, where the PF has set it.
    pub address: Option<Mac>,
    /// Frames of any other source are dropped: `spoofchk`.
    pub source: Option<Mac>,
    /// The tag that frames get on their way in, and lose on their way out.
    pub vlan: Option<VlanId>,
    /// The ports that carry the tag.
    pub trunks: Vec<DeviceRef>,
    /// Devices without a receiver for LACPDUs.
    pub lacp_sinks: Vec<DeviceRef>,
}

impl SwitchPort {
    /// The bridge that it is a port of.
    pub fn bridge(&self) -> DeviceRef {
        inside(&self.device.ns, BRIDGE)
    }

    /// Whether it takes frames for unknown addresses: the cable's port alone, so that what a PF or a VF
    /// sends goes out, and comes to no other.
    pub fn takes_unknown(&self) -> bool {
        self.end.is_none()
    }

    /// Whether it is to know what it sends from: an address that the PF has set is the VF's only one, unless it is trusted;
    /// what is at the far end of the cable is none of a NIC's business.
    pub fn learns(&self) -> bool {
        self.end.is_some() && (self.address.is_none() || self.is_trusted)
    }

    /// What it becomes when the VF settings of a PF are applied to it.
    ///
    /// # Errors
    /// What a switch does not do, or does not undo.
    pub fn told(&self, settings: &VfSettings) -> Result<Self, &'static str> {
        let address = settings.mac.or(self.address);
        let is_trusted = settings.trust.unwrap_or(self.is_trusted);
        let settings = VfSettings { mac: address, ..settings.clone() };
        if let Some(word) = unsupported_setting(&settings) {
            return Err(word);
        }
        let vlan = settings.vlan.filter(|vlan| vlan.get() > 0).or(self.vlan);
        match settings {
            VfSettings { vlan: Some(_), .. } if self.vlan.is_some_and(|has| Some(has) != vlan) => {
                Err("other vlan")
            }
            VfSettings { spoofchk: Some(false), .. } if self.source.is_some() => Err("spoofchk taken back"),
            VfSettings { trust: Some(true), .. } if self.source.is_some() => Err("spoofchk with trust"),
            VfSettings { mac: Some(_), .. } if self.source.is_some() && self.source != address => {
                Err("other mac")
            }
            VfSettings { link_state: Some(state), .. } if state != VfLinkState::Auto => Err("link_state"),
            VfSettings { spoofchk: Some(true), .. } => {
                Ok(Self { vlan, address, source: address, is_trusted, ..self.clone() })
            }
            _ => Ok(Self { vlan, address, is_trusted, ..self.clone() }),
        }
    }

    /// A port that neither tags nor checks.
    pub(crate) fn plain(device: DeviceRef) -> Self {
        Self {
            device,
            end: None,
            is_trusted: false,
            address: None,
            source: None,
            vlan: None,
            trunks: Vec::new(),
            lacp_sinks: Vec::new(),
        }
    }
}

/// What of a VF's settings a switch does not do. The address of a VF that is trusted, or has none of the PF, is its own to
/// change, and the PF's check goes with it (`ixgbe_set_vf_mac()`, `igb_set_vf_mac()`).
pub fn unsupported_setting(settings: &VfSettings) -> Option<&'static str> {
    match settings {
        VfSettings { qos: Some(_), .. } => Some("qos"),
        VfSettings { max_tx_rate: Some(_), .. } => Some("max_tx_rate"),
        VfSettings { min_tx_rate: Some(_), .. } => Some("min_tx_rate"),
        VfSettings { spoofchk: Some(true), trust: Some(true), .. } => Some("spoofchk with trust"),
        VfSettings { spoofchk: Some(true), mac: None, .. } => Some("spoofchk without mac"),
        _ => None,
    }
}

pub(crate) fn inside(ns: &NsName, name: &str) -> DeviceRef {
    let name: IfName = name.parse().expect("a constant or with a small number");
    DeviceRef::new(ns, &name)
}
