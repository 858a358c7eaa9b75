//! Fates of frames, one for each place.

use crate::judge::account::Fate;
use crate::judge::ledger::place::is_purge;
use crate::net::frame_set::Frames;
use crate::net::layer::Layer;
use crate::plan::record::DropPlace;

/// Adds frames to the account of one place; places that differ only in what the account does not show are one.
pub fn claim(fates: &mut Vec<Fate>, new: Fate) {
    if new.frames == 0 {
        return;
    }
    let same = |fate: &&mut Fate| {
        fate.layer == new.layer
            && fate.device == new.device
            && fate.reason == new.reason
            && fate.queue == new.queue
    };
    match fates.iter_mut().find(same) {
        Some(fate) => fate.frames += new.frames,
        None => fates.push(new),
    }
}

/// Takes up to `packets` of the frames in `rest` out of it, and out of the pool they are claimed from.
pub fn take(rest: &mut Frames, packets: &mut u64) -> u32 {
    let here: Frames = rest.iter().take(usize::try_from(*packets).unwrap_or(usize::MAX)).collect();
    *packets -= u64::from(here.len());
    *rest = rest.difference(&here);
    here.len()
}

/// The fate that an event tells of.
pub fn fate(layer: Layer, place: &DropPlace, frames: u32) -> Fate {
    let reason = place.reason.clone().unwrap_or_else(|| place.location.clone());
    // Of a queue that is drained the event shows what came in its place.
    let queue = if layer == Layer::Qdisc && !is_purge(place) { place.qdisc.clone() } else { None };
    Fate { layer, device: place.device.clone(), reason, queue, frames }
}
