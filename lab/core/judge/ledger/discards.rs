//! Devices that take frames and discard them: a dummy, and a netdevsim without a peer.
//!
//! `dummy_xmit()` and `nsim_start_xmit()` free a frame with `dev_kfree_skb()`, as one that was delivered, so that no drop event
//! tells. What tells is what the device has counted: `tx_packets`, or with a newer netdevsim `tx_dropped`.

use crate::judge::account::{Fate, TrialAccount};
use crate::judge::ledger::fates::{claim, take};
use crate::net::frame_set::Frames;
use crate::net::layer::Layer;
use crate::net::link::{Link, LinkKind};
use crate::net::name::DeviceRef;
use crate::plan::Trial;
use crate::plan::op::Op;

/// The reason of such a fate.
pub const DISCARDED: &str = "DISCARDED";

/// Frames that such devices have taken; each is claimed once.
pub struct Discards(Vec<(DeviceRef, u64)>);

impl Discards {
    /// What the counters of a trial's devices say.
    pub fn of(trial: &Trial, account: &TrialAccount) -> Self {
        let mut all = Self(Vec::new());
        trial.ops.iter().for_each(|op| all.add(op, account));
        all
    }

    fn add(&mut self, op: &Op, account: &TrialAccount) {
        match op {
            Op::Create { link, peer: None } if discards(link) => {
                let counters = account.devices.get(&link.device);
                let counter = |name: &str| counters.and_then(|all| all.get(name)).copied().unwrap_or(0);
                self.0.push((link.device.clone(), counter("tx_packets") + counter("tx_dropped")));
            }
            Op::Attach { parts, .. } => {
                parts.iter().flat_map(|part| &part.ops).for_each(|op| self.add(op, account));
            }
            _ => {}
        }
    }

    /// Gives frames of `rest` to the devices on their way that discard what they take.
    pub fn claim(
        &mut self,
        is_on_way: impl Fn(&DeviceRef) -> bool,
        rest: &mut Frames,
        fates: &mut Vec<Fate>,
    ) {
        for (device, packets) in self.0.iter_mut().filter(|(device, _)| is_on_way(device)) {
            let (frames, device) = (take(rest, packets), Some(device.clone()));
            claim(
                fates,
                Fate { layer: Layer::Driver, device, reason: DISCARDED.into(), queue: None, frames },
            );
        }
    }
}

fn discards(link: &Link) -> bool {
    match &link.kind {
        LinkKind::Dummy => true,
        LinkKind::Netdevsim(sim) => sim.peer.is_none(),
        _ => false,
    }
}
