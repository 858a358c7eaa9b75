//! Stand-ins for emulated NICs: a netdevsim for what a PF is told, or a switch for what passes its VFs.
//!
//! The switch is a bridge in a namespace of its own, with a veth pair for the cable, one for the PF, and one for each VF
//! that is used. Of a VF's settings it does `mac`, `vlan`, `spoofchk` and `link_state`. It does not do `qos` and
//! rates, which is an error; it leaves `trust` alone, for a pod may give its end of a veth pair any address; and its VFs
//! do not lose their carrier with the PF.

use std::fmt;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use crate::hardware::{Netdevsim, Nic, VfSettings};
use crate::link::{Backing, DeviceRef, IfName, Mac, NsName, VfLinkState, VlanId};
use crate::scenario::{Condition, Fault, Subject};
use crate::topology::{Link, LinkKind, Topology};

/// What is in the place of a NIC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StandIn {
    /// The PF, or another NIC.
    pub nic: DeviceRef,
    /// What it is made of.
    pub by: Substitute,
    /// The ports of VFs.
    pub ports: Vec<SwitchPort>,
}

/// What a stand-in is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Substitute {
    /// What a PF is told, without VF devices.
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

/// What a port of a switch does in the place of a VF.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SwitchPort {
    /// The switch's end.
    pub device: DeviceRef,
    /// Frames of any other source are dropped: `spoofchk`.
    pub source: Option<Mac>,
    /// The tag that frames get on their way in, and lose on their way out.
    pub vlan: Option<VlanId>,
    /// The ports that carry the tag.
    pub trunks: Vec<DeviceRef>,
}

impl SwitchPort {
    /// Whether it is not an ordinary port.
    pub fn does_something(&self) -> bool {
        self.source.is_some() || self.vlan.is_some()
    }
}

impl fmt::Display for StandIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} by {}", self.nic, self.by)
    }
}

/// What of a VF's settings a switch does not do.
pub fn not_done(settings: &VfSettings) -> Option<&'static str> {
    match settings {
        VfSettings { qos: Some(_), .. } => Some("qos"),
        VfSettings { max_tx_rate: Some(_), .. } => Some("max_tx_rate"),
        VfSettings { min_tx_rate: Some(_), .. } => Some("min_tx_rate"),
        _ => None,
    }
}

/// Puts stand-ins in the place of the PFs that are to have one, and of the NICs at the ends of their cables.
pub fn apply(links: &mut IndexMap<DeviceRef, Link>, backing: impl Fn(&Nic) -> Backing) -> Vec<StandIn> {
    let chosen = |link: &Link| match &link.kind {
        LinkKind::Pf(nic) => Some((link.device.clone(), nic.clone(), backing(nic))),
        _ => None,
    };
    let pfs: Vec<(DeviceRef, Nic, Backing)> = links.values().filter_map(chosen).collect();
    let stood_in = pfs.iter().filter(|(.., backing)| *backing != Backing::Hardware);
    stood_in
        .map(|(pf, nic, backing)| match backing {
            Backing::Switch => switch(links, pf, nic),
            Backing::Netdevsim | Backing::Hardware => {
                let sim =
                    |peer: &DeviceRef, vfs| LinkKind::Netdevsim(Netdevsim { peer: Some(peer.clone()), vfs });
                set_kind(links, pf, sim(&nic.peer, nic.vfs.clone()));
                set_kind(links, &nic.peer, sim(pf, Vec::new()));
                StandIn { nic: pf.clone(), by: Substitute::Netdevsim, ports: Vec::new() }
            }
        })
        .collect()
}

/// Puts switches in the place of all emulated NICs of a topology, where there are none to be had. `false` when it has none.
///
/// # Errors
/// What the topology does that a stand-in does not.
pub fn fall_back(topology: &mut Topology) -> Result<bool, String> {
    let is_nic = |link: &Link| matches!(link.kind, LinkKind::Nic(_) | LinkKind::Pf(_));
    if !topology.links.values().any(is_nic) {
        return Ok(false);
    }
    if !topology.attachments.pods.is_empty() {
        return Err("attaches pods to VFs".into());
    }
    let is_refusal = |expected: &&Condition| matches!(expected.subject, Subject::Refused { .. });
    if let Some(refused) = topology.scenario.expect.iter().find(is_refusal) {
        return Err(format!("expects a refusal of a driver's own ({})", refused.subject));
    }
    let pfs = topology.links.values().filter_map(|link| match &link.kind {
        LinkKind::Pf(nic) => Some((link, nic)),
        _ => None,
    });
    for (link, nic) in pfs {
        if let Some(word) = nic.vfs.iter().find_map(not_done) {
            return Err(format!("sets {word} of a VF of {}", link.device));
        }
    }
    let is_pf = |device: &DeviceRef| {
        matches!(topology.links.get(device).map(|link| &link.kind), Some(LinkKind::Pf(_)))
    };
    for (name, fault) in &topology.scenario.faults {
        match fault {
            Fault::Unplug { .. } => return Err(format!("pulls a cable out (fault {name})")),
            Fault::Down { device } if is_pf(device) => return Err(format!("sets a PF down (fault {name})")),
            _ => {}
        }
    }
    let mut stand_ins = apply(&mut topology.links, |_| Backing::Switch);
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
        stand_ins.push(StandIn { nic: device, by: Substitute::Veth, ports: Vec::new() });
    }
    for device in topology.links.keys() {
        topology.namespaces.entry(device.ns.clone()).or_default();
    }
    topology.stand_ins.extend(stand_ins);
    topology.fell_back = true;
    Ok(true)
}

fn switch(links: &mut IndexMap<DeviceRef, Link>, pf: &DeviceRef, nic: &Nic) -> StandIn {
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
    let mut ports = Vec::new();
    let vfs = links.values().filter_map(|link| match &link.kind {
        LinkKind::Vf { of, index } if of == pf => Some((link.device.clone(), *index, link.mac)),
        _ => None,
    });
    for (vf, index, mac) in vfs.collect::<Vec<_>>() {
        let device = inside(&ns, &format!("vf{index}"));
        let settings = nic.vfs.get(usize::from(index)).cloned().unwrap_or_default();
        let VfSettings { vlan, spoofchk, link_state, .. } = settings;
        set_kind(links, &vf, LinkKind::Veth { peer: device.clone() });
        added.push(Link { up: link_state != Some(VfLinkState::Disable), ..port(&device, &vf) });
        let source = mac.filter(|_| spoofchk == Some(true));
        ports.push(SwitchPort { device, source, vlan, trunks: vec![wire.clone(), own.clone()] });
    }
    let vlan_filtering = ports.iter().any(|port| port.vlan.is_some());
    let names = added.iter().map(|link| link.device.name.clone()).collect();
    links.extend(added.into_iter().map(|link| (link.device.clone(), link)));
    let bridge = Link::new(inside(&ns, "switch"), LinkKind::Bridge { ports: names, vlan_filtering });
    links.insert(bridge.device.clone(), bridge);
    StandIn { nic: pf.clone(), by: Substitute::Switch, ports }
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

fn inside(ns: &NsName, name: &str) -> DeviceRef {
    let name: IfName = name.parse().expect("a constant or with a small number");
    DeviceRef::new(ns, &name)
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
        let [stand_in] = &topology.stand_ins[..] else { panic!("one PF") };
        assert_eq!(stand_in.to_string(), "node:enp1s0 by switch");
        assert!(topology.fell_back);
        let port = &stand_in.ports[0];
        assert_eq!(port.device.to_string(), "node-enp1s0-switch:vf0");
        assert_eq!(port.source, "02:00:5e:00:53:01".parse().ok());
        assert!(topology.namespaces.contains_key(&port.device.ns));
        assert_eq!(fall_back(&mut topology), Ok(false), "there is nothing to do any more");
    }

    #[test]
    fn both_ends_of_a_cable_without_a_pf_are_told() {
        let text = "[ns.a.nic.eth0]\ndriver = 'igb'\npeer = 'b:eth0'\n\
                    [ns.b.nic.eth0]\ndriver = 'e1000e'\npeer = 'a:eth0'\n";
        let mut topology = Topology::parse("t", "t.toml", text).unwrap_or_else(|errors| panic!("{errors}"));
        assert_eq!(fall_back(&mut topology), Ok(true));
        let told: Vec<String> = topology.stand_ins.iter().map(ToString::to_string).collect();
        assert_eq!(told, ["a:eth0 by veth", "b:eth0 by veth"]);
    }

    #[test]
    fn what_the_file_asks_for_is_no_falling_back() {
        let mut topology = topology("backing = 'switch'");
        assert_eq!(fall_back(&mut topology), Ok(false));
        assert_eq!((topology.stand_ins.len(), topology.fell_back), (1, false));
    }

    #[rstest::rstest]
    #[case("vf.0 = { vlan = 70, qos = 3 }", "sets qos of a VF of node:enp1s0")]
    #[case("[fault.down.out]\ndevice = 'node:enp1s0'", "sets a PF down (fault out)")]
    #[case("[fault.unplug.out]\ndevice = 'node:enp1s0'", "pulls a cable out (fault out)")]
    fn what_a_switch_does_not_do(#[case] more: &str, #[case] expected: &str) {
        let mut topology = topology(more);
        assert_eq!(fall_back(&mut topology), Err(expected.into()));
        assert!(topology.stand_ins.is_empty() && !topology.fell_back, "nothing is half done");
    }
}
