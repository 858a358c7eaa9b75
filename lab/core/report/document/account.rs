//! The parts of a document that say what became of frames, from the account.

use crate::judge::account::{FlowAccount, QdiscAccount};
use crate::judge::ledger::{Counter, Foreign};
use crate::net::name::DeviceRef;
use crate::report::document::{FlowDocument, KernelFramesDocument, MovedDocument, ReplacedDocument};

/// Places that differ only in how the kernel got there are one.
pub(crate) fn kernel_frames(foreign: &[Foreign]) -> Vec<KernelFramesDocument> {
    let mut all: Vec<KernelFramesDocument> = Vec::new();
    for Foreign { class, vlan, layer, place, frames } in foreign {
        let new = KernelFramesDocument {
            what: class.map_or_else(|| "other".to_owned(), |class| class.to_string()),
            vlan: *vlan,
            layer: layer.map(|layer| layer.to_string()),
            device: place.device.as_ref().map(ToString::to_string),
            reason: place.reason.clone().unwrap_or_else(|| place.location.clone()),
            frames: 0,
        };
        let same = |known: &&mut KernelFramesDocument| {
            KernelFramesDocument { frames: 0, ..(**known).clone() } == new
        };
        match all.iter_mut().find(same) {
            Some(known) => known.frames += frames,
            None => all.push(KernelFramesDocument { frames: *frames, ..new }),
        }
    }
    all
}

pub(crate) fn replaced_document((device, qdisc): &(DeviceRef, QdiscAccount)) -> ReplacedDocument {
    let QdiscAccount { kind, counters, .. } = qdisc.clone();
    ReplacedDocument { device: device.to_string(), kind, counters }
}

pub(crate) fn moved_document((counter, by): (&Counter, &Option<u64>)) -> MovedDocument {
    MovedDocument {
        device: counter.device.to_string(),
        of: counter.of.word().to_owned(),
        counter: counter.name.to_owned(),
        by: *by,
    }
}

pub(crate) fn flow_document(account: &FlowAccount) -> FlowDocument {
    FlowDocument {
        name: account.flow.name.clone(),
        from: account.flow.from.to_string(),
        to: account.flow.to.to_string(),
        socket: account.flow.socket,
        counts_at: Some(account.flow.counts_at),
        asked: account.asked,
        sent: account.sent,
        errors: account.errors.clone(),
        delivered: account.delivered,
        duplicated: account.duplicated,
        unattributed: account.unattributed.len(),
        fates: account.fates.clone(),
        interval_us: account.flow.interval_us,
        silence_ms: account.silence_us.map(|silence| silence / 1000),
        seen_from: account.sources.iter().copied().collect(),
        reordered: account.reordered,
        retransmitted: account.retransmitted,
    }
}
