//! How much a guest may say: a plan asks for so many things, and each has so many records.
//!
//! Only the places where frames are lost are not the plan's. Measured on 6.12.57 with twelve topologies, one for each layer:
//! 41 to 52 records in a run, of 480 to 570 bytes on average, the largest 15 KB; frames of one flow were lost at no more than 2
//! places of a trial. The limits are far above that, and far below what fills a host's memory.

use crate::plan::Plan;
use crate::plan::op::Op;

/// Places of a trial where frames of one flow, or frames of the kernel's own, may be lost or held.
const PLACES_MAX: usize = 256;

/// What a trial has once: its start or that it was left out, counters before and after, tables, log, drop observer.
const RECORDS_OF_TRIAL: usize = 7;

/// An operation is done or failed, and has one result of its own: a wait, a pod, a capture. It may ask for a cable, or a
/// mended fault for each of those it took.
const RECORDS_OF_OPERATION: usize = 3;

/// What was sent, what was seen, the silence, the sources.
const RECORDS_OF_FLOW: usize = 4;

/// What a record has beside numbers of frames, on average over a run.
const RECORD_BYTES_MAX: u64 = 16 * 1024;

/// Numbers of frames are written as ranges, `10-12`. At worst each is a range of its own, in what was sent, what was seen
/// and what was lost.
const FRAME_BYTES_MAX: u64 = 64;

/// What a run of a plan may come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Records, the last one among them.
    pub records: usize,
    /// Bytes of their lines.
    pub bytes: u64,
}

impl Bounds {
    /// Of this plan.
    #[must_use]
    pub fn of(plan: &Plan) -> Self {
        let flows = plan.flows.len();
        let places = (flows + 1).saturating_mul(PLACES_MAX);
        let once = RECORDS_OF_TRIAL + flows.saturating_mul(RECORDS_OF_FLOW) + plan.slots.len();
        let mut records = 2_usize;
        let mut frames = 0_u64;
        for trial in &plan.trials {
            let operations = trial.ops.len().saturating_mul(RECORDS_OF_OPERATION);
            records = records.saturating_add(operations).saturating_add(once).saturating_add(places);
            let floods = trial.ops.iter().filter_map(|op| match op {
                Op::Flood { flow, .. } => plan.flows.get(usize::from(*flow)),
                _ => None,
            });
            frames = floods.fold(frames, |sum, flow| sum.saturating_add(u64::from(flow.flow.frames)));
        }
        let bytes = (records as u64).saturating_mul(RECORD_BYTES_MAX);
        let bytes = bytes.saturating_add(frames.saturating_mul(FRAME_BYTES_MAX));
        let (tapped_records, tapped_bytes) = plan.tapped_bounds();
        Self { records: records.saturating_add(tapped_records), bytes: bytes.saturating_add(tapped_bytes) }
    }
}
