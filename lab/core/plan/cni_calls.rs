//! What is asked for on a pod's behalf: a plugin's own program, and a DHCP server.

use serde::{Deserialize, Serialize};

use crate::net::name::{DeviceRef, IfName, NsName};

/// One call of a plugin by the CNI specification.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PluginCall {
    /// CNI_COMMAND.
    pub command: String,
    /// The program's name.
    pub plugin: String,
    /// The namespace it runs in.
    pub node: NsName,
    /// CNI_NETNS.
    pub pod: NsName,
    /// CNI_IFNAME.
    pub ifname: IfName,
    /// CNI_ARGS.
    pub args: String,
    /// The configuration, on its standard input.
    pub config: String,
    /// Devices that are others afterwards, or gone.
    pub changes: Vec<DeviceRef>,
    /// The VF whose PCI address a device plugin would have put into the configuration (`deviceID`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vf: Option<IfName>,
    /// Whether its IPAM asks a daemon, which has to run at the node: the plugin `dhcp`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub asks_daemon: bool,
}

/// A device's exchange with a DHCP server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LeaseCall {
    /// The network, which has one server.
    pub network: String,
    /// Which gets the address.
    pub device: DeviceRef,
    /// As whom it asks (option 61).
    pub client: String,
}
