//! Whether a plan is one of time: what it measures, or most of what it takes.

use super::{Op, Plan};

/// Pauses that are longer than all else in a run, which takes about a second.
const LONG_PAUSES_MS: u32 = 2_000;

impl Plan {
    /// Whether it sends frames at an interval, and looks at how long none of them came; or pauses so long that what the kernel
    /// does meanwhile, by its own timers, must not depend on how late the lab looks.
    pub fn is_timed(&self) -> bool {
        let paced = self.flows.iter().any(|flow| flow.flow.interval_us.is_some());
        paced || self.pauses_ms() >= LONG_PAUSES_MS
    }

    fn pauses_ms(&self) -> u32 {
        let pause = |op: &Op| if let Op::Pause(for_ms) = op { *for_ms } else { 0 };
        self.trials.iter().take(self.round_len()).flat_map(|trial| &trial.ops).map(pause).sum()
    }
}
