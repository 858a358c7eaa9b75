//! The rules of lint: name, severity, reason, and the public report behind each.

use crate::topology::lint::Severity::{Error, Info, Warning};
use crate::topology::lint::{Rule, Scope, bonds, options, stack};

/// Bonds without a monitor.
pub static MIIMON_OFF: Rule = Rule {
    name: "miimon-off",
    severity: Warning,
    reason: "with miimon 0 and no ARP monitor a bond never checks the links of its ports: one without carrier stays in use, and \
             in 802.3ad it does not come back (bond_mii_monitor() is not started)",
    report: Some("https://github.com/siderolabs/talos/issues/10752"),
};

/// The ARP monitor where it is refused.
pub static ARP_MONITOR_REFUSED: Rule = Rule {
    name: "arp-monitor-refused",
    severity: Error,
    reason: "the modes 802.3ad, balance-tlb and balance-alb have no ARP monitor: the kernel refuses arp_interval with EACCES \
             (unsuppmodes of bond_opts[]), and targets alone do nothing",
    report: Some("https://docs.kernel.org/networking/bonding.html"),
};

/// Two monitors.
pub static TWO_MONITORS: Rule = Rule {
    name: "two-monitors",
    severity: Warning,
    reason: "miimon and arp_interval exclude each other: the kernel sets the one to 0 that was set first \
             (bond_option_arp_interval_set(), bond_option_miimon_set())",
    report: Some("https://docs.kernel.org/networking/bonding.html"),
};

/// A preferred port that is none.
pub static PRIMARY_NOT_PORT: Rule = Rule {
    name: "primary-not-port",
    severity: Error,
    reason: "the kernel accepts a primary that is no port of the bond: the bond chooses another port, and shows \
             `Primary Slave: None` (bond_option_primary_set())",
    report: Some("https://github.com/systemd/systemd/issues/27432"),
};

/// VFs that cannot take the bond's address.
pub static FAIL_OVER_MAC_VF: Rule = Rule {
    name: "fail-over-mac-vf",
    severity: Warning,
    reason: "a bond gives its own Ethernet address to its ports; a VF may not change its address unless its PF trusts it. With VFs \
             an active-backup bond needs fail_over_mac active, and balance-alb trusted VFs",
    report: Some("https://github.com/k8snetworkplumbingwg/bond-cni/issues/14"),
};

/// MTUs in the wrong order.
pub static MTU_ORDER: Rule = Rule {
    name: "mtu-order",
    severity: Warning,
    reason: "a bond gives its own MTU to each port when it joins (bond_enslave()), and a device on another one cannot have a larger \
             MTU: the kernel answers ERANGE (vlan_dev_change_mtu()), or the larger frames are lost",
    report: Some("https://docs.kernel.org/networking/bonding.html"),
};

/// Selectors that match too much.
pub static SELECTOR_AMBIGUOUS: Rule = Rule {
    name: "selector-ambiguous",
    severity: Warning,
    reason: "a VLAN and a bond have the Ethernet address of the NIC below: a selector by address or driver that lacks `physical: \
             true` matches them too once they are there, and Talos then enslaves the VLAN under its own bond, which is refused \
             with EBUSY",
    report: Some("https://github.com/siderolabs/talos/issues/7331"),
};

/// The rate that the partner is asked for.
pub static LACP_RATE_UNSET: Rule = Rule {
    name: "lacp-rate-unset",
    severity: Info,
    reason: "lacp_rate is how often the partner sends LACPDUs to this bond. The default is slow: one each 30 s, and a partner that \
             stops while the link is up is noticed after 90 s (AD_LONG_TIMEOUT_TIME)",
    report: Some("https://docs.kernel.org/networking/bonding.html"),
};

/// Rates that differ.
pub static LACP_RATE_DIFFERS: Rule = Rule {
    name: "lacp-rate-differs",
    severity: Info,
    reason: "lacp_rate sets how often the other side sends: if one end has fast and the other slow, one of them notices a silent \
             partner after 3 s and the other after 90 s",
    report: Some("https://docs.kernel.org/networking/bonding.html"),
};

/// Options without an effect.
pub static OPTION_IGNORED: Rule = Rule {
    name: "option-ignored",
    severity: Warning,
    reason: "the kernel takes the option in this mode, or without the other option, and does nothing with it",
    report: Some("https://docs.kernel.org/networking/bonding.html"),
};

/// VLANs below a bond.
pub static VLAN_ON_BOND_PORT: Rule = Rule {
    name: "vlan-on-bond-port",
    severity: Warning,
    reason: "a VLAN on a bond's port has no failover, and sends through this port even if the bond does not use it: on a backup port, or \
             one that LACP has not chosen, the switch does not answer there. Put the VLAN on the bond",
    report: Some("https://docs.kernel.org/networking/bonding.html"),
};

/// A bridge over balance-alb.
pub static BRIDGE_OVER_ALB: Rule = Rule {
    name: "bridge-over-alb",
    severity: Warning,
    reason: "balance-alb rewrites addresses: in ARP of its own host (rlb_arp_xmit()), and the source of frames that leave by another \
             port than the active one (bond_alb_xmit()). A host behind a bridge is then seen with its own address and with those of \
             ports. Use active-backup, balance-xor or 802.3ad under a bridge",
    report: Some("https://docs.kernel.org/networking/bonding.html"),
};

/// One address twice.
pub static DUPLICATE_MAC: Rule = Rule {
    name: "duplicate-mac",
    severity: Warning,
    reason: "two devices of one network have the same Ethernet address: a switch sends the frames for both to the port at which \
             it last received this address, and two such bonds have the same LACP system",
    report: None,
};

/// VLANs that a bridge does not know.
pub static BRIDGE_LACKS_VLAN: Rule = Rule {
    name: "bridge-lacks-vlan",
    severity: Error,
    reason: "a vlan-aware bridge drops frames of a VLAN that its port does not have (br_allowed_ingress()); without a table it \
             knows VLAN 1 alone, and its own device needs an entry too",
    report: Some("https://docs.kernel.org/networking/bridge.html"),
};

/// An entry of the file that silences nothing.
pub static ALLOW_UNUSED: Rule = Rule {
    name: "allow-unused",
    severity: Info,
    reason: "the file allows a finding that is not there any more, and would hide the next mistake of this kind: remove the entry",
    report: None,
};

/// What looks at a topology.
pub(crate) type Check = fn(&mut Scope<'_>);

/// All rules, in the order of their page.
pub static RULES: &[&Rule] = &[
    &MIIMON_OFF,
    &ARP_MONITOR_REFUSED,
    &TWO_MONITORS,
    &PRIMARY_NOT_PORT,
    &FAIL_OVER_MAC_VF,
    &MTU_ORDER,
    &SELECTOR_AMBIGUOUS,
    &LACP_RATE_UNSET,
    &LACP_RATE_DIFFERS,
    &OPTION_IGNORED,
    &VLAN_ON_BOND_PORT,
    &BRIDGE_OVER_ALB,
    &DUPLICATE_MAC,
    &BRIDGE_LACKS_VLAN,
    &ALLOW_UNUSED,
];

/// What finds them in a topology. A primary that is no port is a mistake that the checker refuses: an import finds that one.
pub(crate) static CHECKS: &[Check] = &[
    bonds::miimon_off,
    bonds::arp_monitor_refused,
    bonds::two_monitors,
    bonds::fail_over_mac_vf,
    bonds::selector_ambiguous,
    bonds::lacp_rate_unset,
    bonds::lacp_rate_differs,
    options::ignored,
    stack::mtu_order,
    stack::vlan_on_bond_port,
    stack::bridge_over_alb,
    stack::duplicate_mac,
    stack::bridge_lacks_vlan,
];
