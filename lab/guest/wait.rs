//! The one place of the guest that sleeps: wait for something, never for ever.

use std::time::{Duration, Instant};

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
