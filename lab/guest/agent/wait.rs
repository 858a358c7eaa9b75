//! The one place of the guest that sleeps: wait for something, never for ever.

#![expect(clippy::disallowed_methods, reason = "the one place of the guest that sleeps")]

use std::time::{Duration, Instant};

use nix::time::{ClockId, clock_gettime};

/// Asks `probe` every `interval` until it gives a value; `None` when `deadline` passed without one.
pub fn until<T>(deadline: Instant, interval: Duration, mut probe: impl FnMut() -> Option<T>) -> Option<T> {
    loop {
        if let Some(value) = probe() {
            return Some(value);
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return None;
        }
        std::thread::sleep(interval.min(left));
    }
}

/// Lets time pass: waits for what never comes.
pub fn pause(time: Duration) {
    until(Instant::now() + time, time, || None::<()>);
}

/// Waits for a whole second of the monotonic clock, which counts from boot. The plan comes from the host, at any time: jiffies,
/// and every timer that is rounded to them, then have another phase in each run.
pub fn whole_second() {
    let Ok(now) = clock_gettime(ClockId::CLOCK_MONOTONIC) else { return };
    let past = Duration::from_nanos(now.tv_nsec().unsigned_abs());
    std::thread::sleep(Duration::from_secs(1).saturating_sub(past));
}
