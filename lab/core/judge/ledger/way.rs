//! The devices whose queues a flow's frames may be in: those that they leave by on their way.
//!
//! A frame goes down from its sender (a VLAN's parent, a bond's ports), crosses a cable, and goes up at the other end. From a
//! bridge, and in a namespace that forwards, it may go down again. A queue that it never leaves by holds none of its frames,
//! whatever is in it.

use std::collections::BTreeSet;

use crate::net::link::{Link, LinkKind};
use crate::net::name::{DeviceRef, NsName};
use crate::plan::Trial;
use crate::plan::op::Op;

/// A frame at a device: on its way out, or on its way in.
type Visit<'p> = (&'p DeviceRef, bool);

/// The devices by which frames from one device may leave.
pub fn of<'p>(trial: &'p Trial, from: &'p DeviceRef) -> BTreeSet<&'p DeviceRef> {
    let map = Map::of(trial);
    let mut seen: BTreeSet<Visit> = BTreeSet::new();
    let mut next: Vec<Visit> = vec![(from, true)];
    while let Some(visit) = next.pop() {
        if seen.insert(visit) {
            next.extend(map.onwards(visit));
        }
    }
    seen.into_iter().filter(|(_, is_out)| *is_out).map(|(device, _)| device).collect()
}

/// How the devices of a trial hang together.
#[derive(Default)]
struct Map<'p> {
    /// Every device that is ever made, in every namespace that it is ever in.
    devices: BTreeSet<&'p DeviceRef>,
    /// The upper device, and the one below.
    below: BTreeSet<(&'p DeviceRef, &'p DeviceRef)>,
    /// The ends of a cable, in both orders; a device before and after it was moved.
    across: BTreeSet<(&'p DeviceRef, &'p DeviceRef)>,
    moved: BTreeSet<(&'p DeviceRef, &'p DeviceRef)>,
    bridges: BTreeSet<&'p DeviceRef>,
    /// Namespaces that pass packets on.
    forwarding: BTreeSet<&'p NsName>,
}

impl<'p> Map<'p> {
    fn of(trial: &'p Trial) -> Self {
        let mut map = Self::default();
        trial.ops.iter().for_each(|op| map.add(op));
        map
    }

    fn add(&mut self, op: &'p Op) {
        match op {
            Op::Create { link, peer } => {
                self.link(link);
                peer.iter().for_each(|peer| {
                    self.link(peer);
                    self.cable(&link.device, &peer.device);
                });
            }
            Op::Adopt { link, .. } => self.link(link),
            // A VF's frames leave by its PF's cable, or come out at another function of the same NIC.
            Op::AdoptVf { link, of, .. } => {
                self.link(link);
                self.below.insert((&link.device, of));
                self.bridges.insert(of);
            }
            Op::Join { port, controller } => drop(self.below.insert((controller, port))),
            Op::Move { from, to } => {
                self.devices.extend([from, to]);
                self.moved.extend([(from, to), (to, from)]);
            }
            Op::Forward(ns) => drop(self.forwarding.insert(ns)),
            Op::Masquerade(device) => drop(self.forwarding.insert(&device.ns)),
            Op::Attach { parts, .. } => parts.iter().flat_map(|part| &part.ops).for_each(|op| self.add(op)),
            _ => {}
        }
    }

    fn link(&mut self, link: &'p Link) {
        self.devices.insert(&link.device);
        match &link.kind {
            LinkKind::Veth { peer } | LinkKind::Gadget { peer } | LinkKind::GadgetHost { peer } => {
                self.cable(&link.device, peer);
            }
            LinkKind::Nic(nic) | LinkKind::Pf(nic) => self.cable(&link.device, &nic.peer),
            LinkKind::Netdevsim(sim) => sim.peer.iter().for_each(|peer| self.cable(&link.device, peer)),
            LinkKind::Tun(tun) => tun.peer.iter().for_each(|peer| self.cable(&link.device, peer)),
            LinkKind::Bridge { .. } => drop(self.bridges.insert(&link.device)),
            _ => {}
        }
        self.below.extend(link.kind.parent().map(|parent| (&link.device, parent)));
    }

    fn cable(&mut self, one: &'p DeviceRef, other: &'p DeviceRef) {
        self.across.extend([(one, other), (other, one)]);
    }

    /// Where a frame goes from here.
    fn onwards(&self, (at, is_out): Visit<'p>) -> Vec<Visit<'p>> {
        let pairs = |pairs: &BTreeSet<(&'p DeviceRef, &'p DeviceRef)>| -> Vec<&'p DeviceRef> {
            pairs.iter().filter(|(one, _)| *one == at).map(|(_, other)| *other).collect()
        };
        let above = || self.below.iter().filter(|(_, below)| *below == at).map(|(above, _)| (*above, false));
        let mut next: Vec<Visit> = pairs(&self.moved).into_iter().map(|device| (device, is_out)).collect();
        if is_out {
            next.extend(pairs(&self.below).into_iter().map(|device| (device, true)));
            next.extend(pairs(&self.across).into_iter().map(|device| (device, false)));
            // Devices on one parent may reach one another above it: macvlan, ipvlan.
            next.extend(above());
            return next;
        }
        next.extend(above());
        if self.bridges.contains(at) {
            next.push((at, true));
        }
        if self.forwarding.contains(&at.ns) {
            let beside = self.devices.iter().filter(|device| device.ns == at.ns);
            next.extend(beside.map(|device| (*device, true)));
        }
        next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::topology::Topology;

    const BOND: &str = r#"
[ns.a]
forwarding = true
[ns.a.veth.x]
peer = "s:x"
[ns.a.veth.y]
peer = "s:y"
[ns.a.veth.z]
peer = "t:z"
[ns.a.bond.bond0]
mode = "active-backup"
ports = ["x", "y"]
[ns.a.vlan.v]
parent = "bond0"
id = 7
[ns.s.veth.x]
peer = "a:x"
[ns.s.veth.y]
peer = "a:y"
[ns.s.veth.p]
peer = "b:p"
[ns.s.bridge.br0]
ports = ["x", "y", "p"]
[ns.b.veth.p]
peer = "s:p"
[ns.t.veth.z]
peer = "a:z"
"#;

    fn way(from: &str, text: &str) -> Vec<String> {
        let topology = Topology::parse("t", "t.toml", text).unwrap_or_else(|errors| panic!("{errors}"));
        let (plan, from) = (crate::plan::lower::lower(&topology), from.parse().unwrap());
        of(&plan.trials[0], &from).into_iter().map(ToString::to_string).collect()
    }

    #[test]
    fn frames_leave_by_what_is_below_and_by_the_other_ports_of_a_bridge() {
        let text = BOND.replace("forwarding = true", "");
        let expected = ["a:bond0", "a:v", "a:x", "a:y", "s:br0", "s:p", "s:x", "s:y"];
        assert_eq!(way("a:v", &text), expected);
        assert_eq!(way("t:z", &text), ["t:z"]);
    }

    #[test]
    fn a_namespace_that_forwards_sends_them_on_by_any_device() {
        assert!(way("t:z", BOND).contains(&"s:p".to_owned()));
    }
}
