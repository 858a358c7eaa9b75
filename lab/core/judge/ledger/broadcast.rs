//! Frames of which one port of a broadcast bond holds a copy.
//!
//! `bond_xmit_broadcast()` gives a frame to each port, and may call it refused although one has taken it: up to 5.17 the last
//! port's answer is the bond's, and later NET_XMIT_CN, which a queue says that took the frame and dropped another one, is no
//! success. What sits in a port's queue is held there, whatever became of its other copies: it arrives when the queue drains.

use std::collections::BTreeSet;

use crate::judge::account::Fate;
use crate::judge::ledger::fates::{claim, take};
use crate::judge::ledger::place::Cables;
use crate::net::frame_set::Frames;
use crate::net::layer::Layer;
use crate::net::link::{Link, LinkKind};
use crate::net::mode::BondMode;
use crate::net::name::DeviceRef;
use crate::plan::Trial;
use crate::plan::op::Op;
use crate::plan::record::DropPlace;
use crate::topology::scenario::{Flow, Socket};

/// The ports of a trial's broadcast bonds.
fn ports(trial: &Trial) -> BTreeSet<&DeviceRef> {
    let acts = || {
        trial.ops.iter().flat_map(|op| match op {
            Op::Attach { parts, .. } => parts.iter().flat_map(|part| &part.ops).collect(),
            op => vec![op],
        })
    };
    let is_broadcast = |bond: &DeviceRef| {
        acts().any(|op| {
            matches!(op, Op::Create { link: Link { device, kind: LinkKind::Bond(it), .. }, .. }
                if device == bond && it.mode == BondMode::Broadcast)
        })
    };
    acts()
        .filter_map(|op| match op {
            Op::Join { port, controller } if is_broadcast(controller) => Some(port),
            _ => None,
        })
        .collect()
}

/// Gives frames of `rest` to the ports whose queues hold copies of them. A copy that was dropped at a port, or at the other
/// end of its cable, is not in that port's queue; of the others those come first of which no copy was dropped.
///
/// Which segments of TCP a queue holds is not known.
pub fn claim_held(
    (trial, flow, way): (&Trial, &Flow, &BTreeSet<&DeviceRef>),
    drops: &[(&DropPlace, &Frames)],
    held: &mut [(DeviceRef, u64)],
    rest: &mut Frames,
    fates: &mut Vec<Fate>,
) {
    if flow.socket == Socket::Tcp {
        return;
    }
    let (mut ports, cables) = (ports(trial), Cables::of(trial));
    ports.retain(|port| way.contains(port));
    for (port, packets) in held.iter_mut().filter(|(device, packets)| *packets > 0 && ports.contains(device))
    {
        let is_here = |place: &DropPlace| {
            place.device.as_ref().is_some_and(|it| it == port || cables.other_end(port) == Some(it))
        };
        let union = |here: bool| {
            let places = drops.iter().filter(|(place, _)| is_here(place) == here);
            places.fold(Frames::default(), |all, (_, frames)| all.union(frames))
        };
        let (dropped_here, dropped_elsewhere) = (union(true), union(false));
        let possible = rest.difference(&dropped_here);
        let whole = possible.difference(&dropped_elsewhere);
        let mut frames = 0;
        for mut candidates in [whole.clone(), possible.difference(&whole)] {
            let before = candidates.clone();
            frames += take(&mut candidates, packets);
            *rest = rest.difference(&before.difference(&candidates));
        }
        let (device, reason) = (Some(port.clone()), "BACKLOG".into());
        claim(fates, Fate { layer: Layer::Qdisc, device, reason, queue: None, frames });
    }
}
