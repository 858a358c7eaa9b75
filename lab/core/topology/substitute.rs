//! Substitutes for emulated NICs: a netdevsim for a PF's VF settings, or a switch for what passes its VFs.
//!
//! The switch is a bridge in a namespace of its own, with a veth pair for the cable, one for the PF, and one for each VF
//! that is used. It hands a frame to the VF whose address it knows, and to no other. Of a VF's settings it does `mac`, `vlan`, `spoofchk` and `link_state`: a VF loses its carrier with the PF
//! and the cable, unless the file says otherwise. It does not do `qos` and rates, which is an error.
//!
//! A PF refuses a VF's change of the address that it has set, unless it trusts the VF; then its spoofchk passes the new
//! one. A switch can do neither. The end of a veth pair takes any address (`eth_mac_addr()`), and nothing can refuse it: the
//! result says so. A filter that followed the address by the kernel's notifications would come after the first frames
//! from a new one, which a failover's announcements are: so `spoofchk` of a VF that may change its address is an error.

mod hardware_alone;

use std::fmt;

use indexmap::IndexMap;

use crate::net::link::{Link, LinkKind};
use crate::net::mode::{Backing, VfLinkState};
use crate::net::name::{DeviceRef, NsName};
use crate::net::nic::{Netdevsim, Nic, VfSettings};
use crate::net::switch_port::{BRIDGE, Substitute, SwitchPort, inside};
use crate::topology::Topology;
use crate::topology::cni::Attachments;
use crate::topology::fault::Fault;

/// What a switch does that an igb does not, in QEMU: read from QEMU's igb. tests/e2e/substitutions.rs compares
/// two topologies on both, and measures the one about unicast that no VF has; the others are not measured.
pub const DIFFERENCES: [&str; 5] = [
    "frames from the cable to an unknown address are dropped; an igb hands them to its PF, which drops them (OTHERHOST) unless it is promiscuous",
    "of two VFs with the same address, the one that sent last gets the frames; of an igb both do",
    "an address that a VF sets itself is known once it has sent from it; an igb gets it at once",
    "a VF does not get its own multicast back; from an igb it does",
    "VFs lose their carrier at once with the PF, and with a cable that is pulled out; an igb's after up to 2 s, and not with the cable",
];

/// What is in the place of a NIC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Substitution {
    /// The PF, or another NIC.
    pub nic: DeviceRef,
    /// What it is made of.
    pub by: Substitute,
    /// The ports of a switch.
    pub ports: Vec<SwitchPort>,
    /// Those of VFs that lose their carrier with the PF: whose link_state is `auto`, which it is without the key.
    pub followers: Vec<DeviceRef>,
    /// Whether a VF could change an address that a PF would not let it change.
    pub vf_may_change_mac: bool,
}

impl Substitution {
    /// No switch.
    fn portless(nic: DeviceRef, by: Substitute) -> Self {
        Self { nic, by, ports: Vec::new(), followers: Vec::new(), vf_may_change_mac: false }
    }

    /// The ports that give the PF its carrier, and the VFs that lose theirs with it.
    fn carriers(&self) -> impl Iterator<Item = DeviceRef> {
        let own = self.ports.get(1).map(|own| own.device.clone());
        own.into_iter().chain(self.followers.clone())
    }
}

impl fmt::Display for Substitution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} by {}", self.nic, self.by)?;
        if self.vf_may_change_mac {
            f.write_str(", whose VFs may change the address that it has set")?;
        }
        Ok(())
    }
}

/// Puts substitutes in the place of the PFs that are to have one, and of the NICs at the ends of their cables.
pub fn apply(links: &mut IndexMap<DeviceRef, Link>, backing: impl Fn(&Nic) -> Backing) -> Vec<Substitution> {
    let chosen = |link: &Link| match &link.kind {
        LinkKind::Pf(nic) => Some((link.device.clone(), nic.clone(), backing(nic))),
        _ => None,
    };
    let pfs: Vec<(DeviceRef, Nic, Backing)> = links.values().filter_map(chosen).collect();
    let substituted = pfs.iter().filter(|(.., backing)| *backing != Backing::Hardware);
    substituted
        .map(|(pf, nic, backing)| match backing {
            Backing::Switch => switch(links, pf, nic),
            Backing::Netdevsim | Backing::Hardware => {
                let sim =
                    |peer: &DeviceRef, vfs| LinkKind::Netdevsim(Netdevsim { peer: Some(peer.clone()), vfs });
                set_kind(links, pf, sim(&nic.peer, nic.vfs.clone()));
                set_kind(links, &nic.peer, sim(pf, Vec::new()));
                Substitution::portless(pf.clone(), Substitute::Netdevsim)
            }
        })
        .collect()
}

/// Puts switches in the place of all emulated NICs of a topology, where there are none to be had. `false` when it has none.
///
/// # Errors
/// What the topology does that a substitute does not.
pub fn fall_back(topology: &mut Topology) -> Result<bool, String> {
    for alternative in topology.alternatives.values_mut() {
        fall_back(alternative)?;
    }
    let is_nic = |link: &Link| matches!(link.kind, LinkKind::Nic(_) | LinkKind::Pf(_));
    if !topology.links.values().any(is_nic) {
        return Ok(false);
    }
    if let Some(why) = hardware_alone::found(topology) {
        return Err(why);
    }
    let mut substitutions = apply(&mut topology.links, |_| Backing::Switch);
    let cables: Vec<(DeviceRef, DeviceRef)> = topology
        .links
        .values()
        .filter_map(|link| match &link.kind {
            LinkKind::Nic(nic) => Some((link.device.clone(), nic.peer.clone())),
            _ => None,
        })
        .collect();
    for (device, peer) in cables {
        set_kind(&mut topology.links, &device, LinkKind::Veth { peer });
        substitutions.push(Substitution::portless(device, Substitute::Veth));
    }
    for device in topology.links.keys() {
        topology.namespaces.entry(device.ns.clone()).or_default();
    }
    topology.substitutions.extend(substitutions);
    attach_substitutions(topology);
    let mut faults = std::mem::take(&mut topology.scenario.faults);
    for fault in faults.values_mut() {
        if let Fault::Down { device } = fault {
            *fault = set_down(topology, device);
        }
    }
    topology.scenario.faults = faults;
    Ok(true)
}

/// VFs that pods are attached to, as what stands in for them.
fn attach_substitutions(topology: &mut Topology) {
    let ports: Vec<SwitchPort> = topology.substitutions.iter().flat_map(|it| it.ports.clone()).collect();
    let substitution = |link: &mut Link| {
        if let LinkKind::Vf { of, index } = &link.kind {
            let peer = vf_port(&namespace_of(of), *index);
            link.kind = LinkKind::Veth { peer };
        }
    };
    topology.attachments.devices.values_mut().for_each(substitution);
    topology.each_attachment(|attachment| {
        for attached in &mut attachment.delegates {
            attached.links.iter_mut().chain(&mut attached.taken).for_each(substitution);
            let configures_pf = attached.network.delegate.vf_settings().is_some();
            let peers = attached.taken.iter().filter_map(|link| match &link.kind {
                LinkKind::Veth { peer } => Some(peer),
                _ => None,
            });
            let port = |peer: &DeviceRef| ports.iter().find(|port| port.device == *peer).cloned();
            attached.port = peers.filter(|_| configures_pf).find_map(port);
        }
    });
    look_at_tags(&mut topology.links, &topology.attachments);
}

/// Has the bridges look at tags on which a sriov plugin puts a VF into a VLAN.
pub fn look_at_tags(links: &mut IndexMap<DeviceRef, Link>, attachments: &Attachments) {
    for attached in attachments.by_step.values().flat_map(|attachment| &attachment.delegates) {
        let tags = attached.network.delegate.vf_settings().is_some_and(|says| says.vlan.is_some());
        let bridge = attached.port.as_ref().filter(|_| tags).map(SwitchPort::bridge);
        let kind = bridge.and_then(|bridge| links.get_mut(&bridge)).map(|link| &mut link.kind);
        if let Some(LinkKind::Bridge { vlan_filtering, .. }) = kind {
            *vlan_filtering = true;
        }
    }
}

/// The port of a VF.
fn vf_port(ns: &NsName, index: u8) -> DeviceRef {
    inside(ns, &format!("vf{index}"))
}

fn switch(links: &mut IndexMap<DeviceRef, Link>, pf: &DeviceRef, nic: &Nic) -> Substitution {
    let ns = namespace_of(pf);
    let far = match links.get(&nic.peer).map(|link| &link.kind) {
        // Two PFs at one cable: between their switches, whichever is made first.
        Some(LinkKind::Pf(_)) => inside(&namespace_of(&nic.peer), "wire"),
        _ => nic.peer.clone(),
    };
    let (wire, own) = (inside(&ns, "wire"), inside(&ns, "pf"));
    if far == nic.peer && matches!(links.get(&far).map(|link| &link.kind), Some(LinkKind::Nic(_))) {
        set_kind(links, &far, LinkKind::Veth { peer: wire.clone() });
    }
    set_kind(links, pf, LinkKind::Veth { peer: own.clone() });
    let mut added = vec![port(&wire, &far), port(&own, pf)];
    let mut ports = vec![
        SwitchPort::plain(wire.clone()),
        SwitchPort {
            end: Some(pf.clone()),
            lacp_sinks: vec![inside(&ns, BRIDGE), pf.clone()],
            ..SwitchPort::plain(own.clone())
        },
    ];
    let (mut followers, mut vf_may_change_mac) = (Vec::new(), false);
    let vfs = links.values().filter_map(|link| match &link.kind {
        LinkKind::Vf { of, index } if of == pf => Some((link.device.clone(), *index)),
        _ => None,
    });
    for (vf, index) in vfs.collect::<Vec<_>>() {
        let device = vf_port(&ns, index);
        let settings = nic.vfs.get(usize::from(index)).cloned().unwrap_or_default();
        vf_may_change_mac |= settings.mac.is_some() && settings.trust != Some(true);
        let VfSettings { mac, vlan, spoofchk, link_state, trust, .. } = settings;
        set_kind(links, &vf, LinkKind::Veth { peer: device.clone() });
        added.push(Link { up: link_state != Some(VfLinkState::Disable), ..port(&device, &vf) });
        if matches!(link_state, None | Some(VfLinkState::Auto)) {
            followers.push(device.clone());
        }
        let source = mac.filter(|_| spoofchk == Some(true));
        ports.push(SwitchPort {
            end: Some(vf),
            is_trusted: trust == Some(true),
            address: mac,
            source,
            vlan,
            trunks: vec![wire.clone(), own.clone()],
            ..SwitchPort::plain(device)
        });
    }
    let vlan_filtering = ports.iter().any(|port| port.vlan.is_some());
    let names = added.iter().map(|link| link.device.name.clone()).collect();
    links.extend(added.into_iter().map(|link| (link.device.clone(), link)));
    let bridge = Link::new(inside(&ns, BRIDGE), LinkKind::Bridge { ports: names, vlan_filtering });
    links.insert(bridge.device.clone(), bridge);
    Substitution { nic: pf.clone(), by: Substitute::Switch, ports, followers, vf_may_change_mac }
}

/// A device set down; with a PF that a switch stands in for, its VFs lose their carrier. The cable's far end keeps its own,
/// as it was measured on an emulated igb.
pub fn set_down(topology: &Topology, device: &DeviceRef) -> Fault {
    let device = device.clone();
    match topology.substitutions.iter().find(|it| it.nic == device && it.by == Substitute::Switch) {
        // First the switch's own ports: a bridge sends nothing to one that is down.
        Some(substitution) => {
            let down = substitution.carriers().chain([device.clone()]).collect();
            Fault::CarrierLost { device, down }
        }
        None => Fault::Down { device },
    }
}

/// The cable of a PF that a switch stands in for pulled out, at either end: both ends lose their carrier, and with a PF its
/// VFs. `None` where no switch has that cable.
pub fn unplug(topology: &Topology, device: &DeviceRef) -> Option<Fault> {
    let end_of = |it: &Substitution| it.ports.first().map(|wire| wire.device.clone());
    let far_of = |it: &Substitution| match &topology.links.get(&end_of(it)?)?.kind {
        LinkKind::Veth { peer } => Some(peer.clone()),
        _ => None,
    };
    let near =
        topology.substitutions.iter().find(|it| it.nic == *device || far_of(it).as_ref() == Some(device))?;
    let wire = end_of(near)?;
    let other = topology.substitutions.iter().filter(|it| far_of(it).as_ref() == Some(&wire));
    let lose = [near].into_iter().chain(other).flat_map(Substitution::carriers);
    let down = [wire.clone()].into_iter().chain(lose);
    Some(Fault::CarrierLost { device: device.clone(), down: down.collect() })
}

fn port(device: &DeviceRef, peer: &DeviceRef) -> Link {
    Link::new(device.clone(), LinkKind::Veth { peer: peer.clone() })
}

/// The switch's namespace, named after the PF.
fn namespace_of(pf: &DeviceRef) -> NsName {
    let letters = |text: &str| {
        text.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect::<String>()
    };
    let name = format!("{}-{}-switch", letters(pf.ns.as_str()), letters(pf.name.as_str()));
    let start = name.len().saturating_sub(32);
    name[start..].parse().expect("letters and dashes, 32 at the most")
}

fn set_kind(links: &mut IndexMap<DeviceRef, Link>, device: &DeviceRef, kind: LinkKind) {
    if let Some(link) = links.get_mut(device) {
        link.kind = kind;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topology(more: &str) -> Topology {
        let text = format!(
            "[ns.node.pf.enp1s0]\ndriver = 'igb'\nvfs = 1\npeer = 'switch:p1'\n{more}\n\
             [ns.pod.vf.net1]\nof = 'node:enp1s0'\nindex = 0\n"
        );
        Topology::parse("t", "t.toml", &text).unwrap_or_else(|errors| panic!("{errors}"))
    }

    #[test]
    fn nothing_of_the_hardware_is_left() {
        let mut topology = topology("vf.0 = { vlan = 70, spoofchk = true, mac = '02:00:5e:00:53:01' }");
        assert_eq!(fall_back(&mut topology), Ok(true));
        assert!(topology.links.values().all(|link| !link.kind.is_hardware()));
        let [substitution] = &topology.substitutions[..] else { panic!("one PF") };
        let told = "node:enp1s0 by switch, whose VFs may change the address that it has set";
        assert_eq!(substitution.to_string(), told);
        let [wire, pf, port] = &substitution.ports[..] else { panic!("a cable, a PF and a VF") };
        assert_eq!((wire.vlan, pf.source), (None, None));
        assert_eq!(port.device.to_string(), "node-enp1s0-switch:vf0");
        assert_eq!(port.source, "02:00:5e:00:53:01".parse().ok());
        assert!(topology.namespaces.contains_key(&port.device.ns));
        assert_eq!(fall_back(&mut topology), Ok(false), "there is nothing to do any more");
    }

    /// `node:vf0`, which the plugin tells about in TOML.
    const SRIOV: &str = "[ns.node.vf.vf0]\nof = 'node:enp1s0'\nindex = 1\n[[step]]\n\
                         attach = { pod = 'pod', node = 'node', networks = ['s@net2'] }\n\
                         [net.s]\ntype = 'sriov'\nresource = ['vf0']\n";

    fn attached(vf: &str, says: &str, backing: &str) -> Result<Topology, String> {
        let text = format!(
            "[ns.node.pf.enp1s0]\ndriver = 'igb'\nvfs = 2\npeer = 'switch:p1'\n{backing}\n{vf}\n{SRIOV}{says}\n"
        );
        Topology::parse("t", "t.toml", &text).map_err(|errors| errors.to_string())
    }

    /// With its other settings, too.
    #[rstest::rstest]
    #[case("vlan = 70\nlink_state = 'disable'", "link_state")]
    #[case("spoofchk = 'on'\nlink_state = 'disable'", "link_state")]
    #[case("spoofchk = 'on'\nmac = '02:00:5e:00:53:09'", "other mac")]
    fn what_a_switch_cannot_be_told(#[case] says: &str, #[case] word: &str) {
        let vf = "vf.1 = { mac = '02:00:5e:00:53:01', spoofchk = true }";
        let errors = attached(vf, says, "backing = 'switch'").expect_err("it does not do that");
        assert!(errors.contains(word), "{errors}");
    }

    #[rstest::rstest]
    #[case("", "vlan = 70\nspoofchk = 'off'", "vlan 70")]
    #[case("vf.1 = { mac = '02:00:5e:00:53:01' }", "spoofchk = 'on'", "source 02:00:5e:00:53:01")]
    fn a_sriov_plugin_tells_the_switch(#[case] vf: &str, #[case] says: &str, #[case] expected: &str) {
        let mut fallen_back = attached(vf, says, "").unwrap_or_else(|errors| panic!("{errors}"));
        assert_eq!(fall_back(&mut fallen_back), Ok(true));
        let asked = attached(vf, says, "backing = 'switch'").unwrap_or_else(|errors| panic!("{errors}"));
        for topology in [fallen_back, asked] {
            let plan = crate::plan::lower::lower(&topology).to_string();
            let told = format!("switch port node-enp1s0-switch:vf1 {expected}");
            assert!(plan.contains(&told), "{plan}");
            let bridge: DeviceRef = "node-enp1s0-switch:switch".parse().unwrap();
            let looks = &topology.links[&bridge].kind;
            let tags = expected.starts_with("vlan");
            assert!(matches!(looks, LinkKind::Bridge { vlan_filtering, .. } if *vlan_filtering == tags));
        }
    }

    #[rstest::rstest]
    #[case("", "spoofchk = 'on'", "spoofchk without mac")]
    #[case("vf.1 = { mac = '02:00:5e:00:53:01' }", "spoofchk = 'on'\ntrust = 'on'", "spoofchk with trust")]
    #[case("vf.1 = { vlan = 69 }", "vlan = 70", "other vlan")]
    fn what_a_sriov_plugin_cannot_tell_a_switch(#[case] vf: &str, #[case] says: &str, #[case] word: &str) {
        let mut topology = attached(vf, says, "").unwrap_or_else(|errors| panic!("{errors}"));
        assert_eq!(fall_back(&mut topology), Err(format!("has a sriov plugin ask for {word}")));
        let errors = attached(vf, says, "backing = 'switch'").expect_err("a switch does not do it");
        assert!(errors.contains(&format!("does no {word}")), "{errors}");
    }

    #[test]
    fn two_pfs_on_one_cable_have_no_substitute() {
        let text = "[ns.a.pf.p]\ndriver = 'igb'\nvfs = 1\npeer = 'b:p'\n\
                    [ns.b.pf.p]\ndriver = 'igb'\nvfs = 1\npeer = 'a:p'\n";
        let mut topology = Topology::parse("t", "t.toml", text).unwrap_or_else(|errors| panic!("{errors}"));
        assert_eq!(fall_back(&mut topology), Err("links two PFs (a:p and b:p)".into()));
        for backing in ["switch", "netdevsim"] {
            let errors = Topology::parse("t", "t.toml", &format!("{text}backing = '{backing}'\n"));
            let errors = errors.expect_err("a cable without a second end").to_string();
            assert!(errors.contains("a:p is a PF as well, and b:p is no hardware"), "{errors}");
        }
    }

    /// An expectation about a device of the topology, in a namespace with a VF.
    #[rstest::rstest]
    #[case(
        "flow = 'f'\nlayer = 'ip'\ndevice = 'node:enp1s0'",
        "a PF does with frames (flow f lost at ip of node:enp1s0)"
    )]
    #[case(
        "ns = 'pod'\nip_address = \"\"\"\n2: net1: <BROADCAST,UP> mtu 1500 qdisc mq state UP\n    link/ether 02:00:5e:00:53:01 brd ff:ff:ff:ff:ff:ff\n\"\"\"",
        "`ip address` prints of net1: a veth has `@`"
    )]
    fn what_is_expected_of_hardware_has_no_substitute(#[case] expected: &str, #[case] what: &str) {
        let text = format!(
            "[ns.switch.nic.p1]\ndriver = 'e1000e'\npeer = 'node:enp1s0'\naddresses = ['192.0.2.1/24']\n\
             [flow.f]\nfrom = 'pod:net1'\nto = 'switch:p1'\nframes = 1\n[[step]]\nflood = 'f'\n\
             [[expect]]\nname = 'it'\n{expected}\nequals = 1\n"
        );
        assert_eq!(fall_back(&mut topology(&text)), Err(format!("expects what {what}")));
    }

    #[test]
    fn both_ends_of_a_cable_without_a_pf_are_reported() {
        let text = "[ns.a.nic.eth0]\ndriver = 'igb'\npeer = 'b:eth0'\n\
                    [ns.b.nic.eth0]\ndriver = 'e1000e'\npeer = 'a:eth0'\n";
        let mut topology = Topology::parse("t", "t.toml", text).unwrap_or_else(|errors| panic!("{errors}"));
        assert_eq!(fall_back(&mut topology), Ok(true));
        let told: Vec<String> = topology.substitutions.iter().map(ToString::to_string).collect();
        assert_eq!(told, ["a:eth0 by veth", "b:eth0 by veth"]);
    }

    #[test]
    fn a_pf_takes_its_vfs_down() {
        let mut topology = topology("[fault.down.out]\ndevice = 'node:enp1s0'\n[[step]]\ninject = 'out'");
        assert_eq!(fall_back(&mut topology), Ok(true));
        let Fault::CarrierLost { down, .. } = &topology.scenario.faults["out"] else {
            panic!("a switch does it")
        };
        let down: Vec<String> = down.iter().map(ToString::to_string).collect();
        assert_eq!(down, ["node-enp1s0-switch:pf", "node-enp1s0-switch:vf0", "node:enp1s0"]);
    }

    #[rstest::rstest]
    #[case("node:enp1s0", "", "wire pf vf0")]
    #[case("switch:p1", "vf.0 = { link_state = 'auto' }", "wire pf vf0")]
    #[case("node:enp1s0", "vf.0 = { link_state = 'enable' }", "wire pf")]
    #[case("node:enp1s0", "vf.0 = { link_state = 'disable' }", "wire pf")]
    fn who_hears_of_a_cable_that_is_pulled_out(#[case] end: &str, #[case] vf: &str, #[case] expected: &str) {
        let fault = format!("[fault.unplug.out]\ndevice = '{end}'\n[[step]]\ninject = 'out'");
        let topology = topology(&format!("backing = 'switch'\n{vf}\n{fault}"));
        let Fault::CarrierLost { down, .. } = &topology.scenario.faults["out"] else {
            panic!("a switch does it")
        };
        let down: Vec<&str> = down.iter().map(|device| device.name.as_str()).collect();
        assert_eq!(down.join(" "), expected);
    }

    #[test]
    fn what_the_file_asks_for_is_no_falling_back() {
        let mut topology = topology("backing = 'switch'");
        assert_eq!(fall_back(&mut topology), Ok(false));
        assert_eq!(topology.substitutions.len(), 1);
    }

    #[rstest::rstest]
    #[case("vf.0 = { vlan = 70, qos = 3 }", "sets qos of a VF of node:enp1s0")]
    #[case("vf.0 = { spoofchk = true }", "sets spoofchk without mac of a VF of node:enp1s0")]
    #[case(
        "[fault.unplug.out]\ndevice = 'node:enp1s0'\n[[step]]\ninject = 'out'",
        "pulls a cable out (fault out)"
    )]
    fn what_a_switch_does_not_do(#[case] more: &str, #[case] expected: &str) {
        let mut topology = topology(more);
        assert_eq!(fall_back(&mut topology), Err(expected.into()));
        assert!(topology.substitutions.is_empty(), "nothing is half done");
    }

    #[test]
    fn what_a_nic_refuses_is_not_expected_of_a_veth() {
        let text = "[ns.a.nic.eth0]\ndriver = 'e1000e'\npeer = 'b:eth0'\naddresses = ['192.0.2.1/24']\n\
            [ns.b.nic.eth0]\ndriver = 'e1000e'\npeer = 'a:eth0'\naddresses = ['192.0.2.2/24']\n\
            [flow.f]\nfrom = 'a:eth0'\nto = 'b:eth0'\nframes = 10\n[[step]]\nflood = 'f'\n\
            [[expect]]\nflow = 'f'\nlayer = 'wire'\nreason = 'NOT_RECEIVED'\nequals = 10\n";
        let mut topology = Topology::parse("t", "t.toml", text).unwrap_or_else(|errors| panic!("{errors}"));
        let refused = fall_back(&mut topology).expect_err("a veth takes in every frame");
        assert!(refused.starts_with("expects what a NIC itself refuses (flow f"), "{refused}");
        assert!(topology.substitutions.is_empty(), "nothing is half done");
    }
}
