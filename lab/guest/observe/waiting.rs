//! Waits for a condition: looks again and again until it holds or the time is over.

use std::time::Duration;

use indexmap::IndexMap;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::agent::testbed::Testbed;
use crate::observe::capture::{self, Tap};
use crate::observe::shown::Baseline;
use crate::observe::states;
use bondlab_core::plan::record::OpError;
use bondlab_core::topology::condition::{Condition, Subject};
use bondlab_core::topology::value;

/// Between two looks at what is waited for.
const LOOK_INTERVAL: Duration = Duration::from_millis(5);
/// The same after a while: what takes so long follows timers of 100 ms and more, and each look reads all links of all namespaces,
/// which takes some ms of the processor.
const SLOW_INTERVALS: [(Duration, Duration); 2] = [
    (Duration::from_secs(2), Duration::from_millis(50)),
    (Duration::from_millis(500), Duration::from_millis(20)),
];

/// How a wait ended.
pub struct Ended {
    /// The number as it was last seen.
    pub value: Option<u64>,
    /// What was shown last, of what the kernel shows.
    pub text: Option<String>,
    /// Whether it was what was wanted.
    pub held: bool,
}

/// Waits until a condition holds, for `within_ms` at the most; it looks once at least.
///
/// # Errors
/// No complete answer.
pub async fn wait(
    bed: &Testbed,
    captures: &mut IndexMap<String, Tap>,
    baseline: &mut Baseline,
    until: &Condition,
    within_ms: u32,
) -> Result<Ended, OpError> {
    let begun = Instant::now();
    let deadline = begun + Duration::from_millis(within_ms.into());
    let mut ticks = interval(LOOK_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let captured = capture::count(captures)?;
        let (value, text) = match &until.subject {
            Subject::Shown { shown, test } => {
                let text = baseline.read(bed, shown).await?;
                (test.number(text.as_deref()), text)
            }
            subject => (value::value_of(subject, &states::read(bed).await?, &captured), None),
        };
        let held = value.is_some_and(|value| until.bounds.hold(value));
        if held || Instant::now() >= deadline {
            return Ok(Ended { value, text, held });
        }
        let slow = SLOW_INTERVALS.into_iter().find(|(after, _)| begun.elapsed() >= *after);
        if let Some((_, interval)) = slow {
            ticks.reset_after(interval);
        }
    }
}
