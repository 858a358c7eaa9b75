//! The same trials again and again: whether a kernel says the same each time.

use std::num::NonZeroU16;

use crate::plan::Plan;

/// Most rounds of one run. All namespaces stand until a run ends, so that memory limits them.
pub const REPETITIONS_MAX: u16 = 25;

impl Plan {
    /// The plan with as many rounds of its trials, each in namespaces of its own on the same kernel; at least one.
    #[must_use]
    pub fn repeated(mut self, times: u16) -> Self {
        let Some(times) = NonZeroU16::new(times) else { return self };
        let round = self.trials.clone();
        self.trials = round.iter().cycle().take(round.len() * usize::from(times.get())).cloned().collect();
        self.repetitions = times;
        self
    }

    /// How many trials a round has.
    pub fn round_len(&self) -> usize {
        self.trials.len() / usize::from(self.repetitions.get())
    }
}

pub(crate) fn once() -> NonZeroU16 {
    NonZeroU16::MIN
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
pub(crate) fn is_once(times: &NonZeroU16) -> bool {
    *times == once()
}
