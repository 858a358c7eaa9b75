//! The keys of a network configuration, for the JSON Schema; `config` reads them.

use schemars::JsonSchema;

/// A network configuration: either `config` with the JSON of a NetworkAttachmentDefinition, or the same keys in TOML. Keys are
/// those of the plugins; a key that does not belong to `type` is an error.
#[derive(Debug, JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "it is the schema of what `read` takes apart; a test compares the two")]
#[expect(non_snake_case, reason = "the plugins' own words")]
pub struct NetKeys {
    /// The configuration as JSON, or the YAML of a NetworkAttachmentDefinition with it; no other key but `resource` and
    /// `plugin` beside it.
    config: Option<String>,
    /// `own` (the lab's own implementation) or `real` (the plugin's program, from `--cni-plugins`).
    plugin: Option<String>,
    /// Links of the node that a device plugin assigns to pods of this network, in order (sriov).
    resource: Option<Vec<String>>,
    /// What a pod may request in addition to the configuration: `ips`, `mac`.
    capabilities: Option<std::collections::BTreeMap<String, bool>>,
    /// Version of the CNI specification.
    cniVersion: Option<String>,
    /// The network's name, where it differs.
    name: Option<String>,
    /// The plugin: `bond`, `macvlan`, `ipvlan`, `vlan`, `bridge`, `host-device`, `sriov`.
    r#type: String,
    /// Largest packet in bytes.
    mtu: Option<u32>,
    /// Where addresses come from: `type` is `static`, `host-local`, `whereabouts`, `calico-ipam` or `dhcp`.
    ipam: Option<IpamKeys>,
    /// The bond's name in the pod.
    ifname: Option<String>,
    /// The mode of a bond, macvlan or ipvlan.
    mode: Option<String>,
    /// Of a bond, in ms, as a text.
    miimon: Option<String>,
    /// Of a bond: 0, 1 or 2.
    failOverMac: Option<u8>,
    /// Whether a bond's links are in the pod already.
    linksInContainer: Option<bool>,
    /// The links of a bond.
    links: Option<Vec<LinkKeys>>,
    /// Of a bond: 0 or 1.
    allSlavesActive: Option<u8>,
    /// Of a bond: 0 or 1.
    tlbDynamicLb: Option<u8>,
    /// Of a bond.
    xmitHashPolicy: Option<String>,
    /// The parent of a macvlan, ipvlan or vlan.
    master: Option<String>,
    /// Whether the parent is in the pod.
    linkInContainer: Option<bool>,
    /// Of a vlan.
    vlanId: Option<u16>,
    /// The bridge's name.
    bridge: Option<String>,
    /// Whether the bridge has the gateway's address, and forwarding is enabled on its node.
    isGateway: Option<bool>,
    /// As `isGateway`, and it is the pod's default route.
    isDefaultGateway: Option<bool>,
    /// The host's device.
    device: Option<String>,
    /// Ethernet address of a macvlan or VF.
    mac: Option<String>,
    /// The VF's VLAN.
    vlan: Option<u16>,
    /// Its tag's priority, 0 to 7.
    vlanQoS: Option<u8>,
    /// Its tag's EtherType: `802.1q`, the only one that the lab's PFs accept.
    vlanProto: Option<String>,
    /// `auto`, `enable` or `disable`.
    link_state: Option<String>,
    /// Of a VF, in Mbit/s.
    max_tx_rate: Option<u32>,
    /// Of a VF, in Mbit/s.
    min_tx_rate: Option<u32>,
    /// `on` or `off`.
    spoofchk: Option<String>,
    /// `on` or `off`.
    trust: Option<String>,
}

/// Keys of `ipam`.
#[derive(Debug, JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "as NetKeys")]
#[expect(non_snake_case, reason = "as NetKeys")]
pub struct IpamKeys {
    /// The IPAM plugin.
    r#type: String,
    /// Of static.
    addresses: Option<Vec<AddressKeys>>,
    /// Of static, host-local and whereabouts.
    routes: Option<Vec<RouteKeys>>,
    /// Of host-local.
    subnet: Option<String>,
    /// Of host-local.
    rangeStart: Option<String>,
    /// Of host-local.
    rangeEnd: Option<String>,
    /// Of host-local and whereabouts.
    gateway: Option<String>,
    /// Of whereabouts.
    range: Option<String>,
    /// Of whereabouts.
    range_start: Option<String>,
    /// Of whereabouts.
    range_end: Option<String>,
    /// Of whereabouts: networks or addresses that are not assigned.
    exclude: Option<Vec<String>>,
    /// Of host-local: sets of ranges, one address from each.
    ranges: Option<Vec<Vec<RangeKeys>>>,
    /// Of calico-ipam: `true`, as a text.
    assign_ipv4: Option<String>,
    /// Of calico-ipam: names of pools of the topology.
    ipv4_pools: Option<Vec<String>>,
}

/// A link of a bond.
#[derive(Debug, JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "as NetKeys")]
pub struct LinkKeys {
    /// Its name.
    name: String,
}

/// An address of static.
#[derive(Debug, JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "as NetKeys")]
pub struct AddressKeys {
    /// With prefix length.
    address: String,
    /// The next hop of routes that name none.
    gateway: Option<String>,
}

/// A route.
#[derive(Debug, JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "as NetKeys")]
pub struct RouteKeys {
    /// The network.
    dst: String,
    /// The next hop.
    gw: Option<String>,
}

/// A range of host-local.
#[derive(Debug, JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "as NetKeys")]
#[expect(non_snake_case, reason = "as NetKeys")]
pub struct RangeKeys {
    /// The network.
    subnet: String,
    /// The first address.
    rangeStart: Option<String>,
    /// The last address.
    rangeEnd: Option<String>,
    /// The gateway's address, which is never assigned.
    gateway: Option<String>,
}
