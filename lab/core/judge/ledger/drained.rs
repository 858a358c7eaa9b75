//! Frames that were held where no counter shows them: by a neighbour that does not answer, by a driver that has stopped.

use crate::judge::account::Fate;
use crate::judge::ledger::fates::claim;
use crate::net::frame_set::Frames;
use crate::net::layer::Layer;
use crate::plan::record::Record;

/// A frame that came out of its place when that was drained.
const HELD: &str = "HELD";

/// A datagram that came to the right socket by another device than it was sent to.
const OTHER_DEVICE: &str = "OTHER_DEVICE";

/// Gives frames of `rest` to the places that had them when everything was counted.
pub fn claim_drained(number: u16, records: &[&Record], rest: &mut Frames, fates: &mut Vec<Fate>) {
    for record in records {
        let Record::Drained { flow, frames, layer, device, .. } = record else { continue };
        if *flow == number {
            let here = rest.intersection(frames);
            *rest = rest.difference(&here);
            let reason = if *layer == Layer::Receiver { OTHER_DEVICE } else { HELD };
            let (device, reason) = (device.clone(), reason.into());
            claim(fates, Fate { layer: *layer, device, reason, queue: None, frames: here.len() });
        }
    }
}
