//! Counted packets that flows may claim as theirs; each is claimed once.

use std::collections::BTreeMap;

use crate::judge::account::{Fate, TrialAccount};
use crate::judge::ledger::backlog;
use crate::judge::ledger::discards::Discards;
use crate::judge::ledger::fates::{claim, take};
use crate::judge::ledger::ingress::IngressDrops;
use crate::net::frame_set::Frames;
use crate::net::layer::Layer;
use crate::net::name::DeviceRef;
use crate::plan::Trial;
use crate::plan::record::Record;

/// What the counters of a trial have to give.
pub struct Pools {
    /// Packets that queues hold at the end.
    pub held: Vec<(DeviceRef, u64)>,
    /// Packets that a counter says were dropped; used only where no drop event can say it better.
    dropped: Vec<(Layer, DeviceRef, u64)>,
    /// What filters on the way in dropped, where the event alone does not say so.
    pub ingress: IngressDrops,
    /// What devices took that discard everything.
    pub discards: Discards,
}

impl Pools {
    /// Of a trial whose counters are in the account.
    pub fn of(trial: &Trial, account: &TrialAccount, records: &[&Record]) -> Self {
        let value = |counters: &BTreeMap<String, u64>, name: &str| counters.get(name).copied().unwrap_or(0);
        let queues = || account.qdiscs.iter();
        let replaced = account.replaced.iter().map(|(device, qdisc)| (device, qdisc));
        let dropped_by_queues = queues()
            .chain(replaced)
            .map(|(device, qdisc)| (Layer::Qdisc, device.clone(), value(&qdisc.counters, "drops")));
        let dropped_by_hooks = account
            .hooks
            .iter()
            .map(|(device, hook)| (Layer::Tc, device.clone(), value(&hook.counters, "drops")));
        let dropped = if account.unobserved.is_some() {
            dropped_by_hooks.chain(dropped_by_queues).collect()
        } else {
            Vec::new()
        };
        Self {
            held: backlog::held(account, records),
            dropped,
            ingress: IngressDrops::of(account, records),
            discards: Discards::of(trial, account),
        }
    }

    /// Gives frames of `rest` to the places whose counters say that they dropped some.
    pub fn claim_dropped(&mut self, rest: &mut Frames, fates: &mut Vec<Fate>) {
        for (layer, device, packets) in &mut self.dropped {
            let (device, frames) = (Some(device.clone()), take(rest, packets));
            claim(fates, Fate { layer: *layer, device, reason: "COUNTED".into(), queue: None, frames });
        }
    }
}
