//! The one bounded wait of the host's code.

#![expect(clippy::disallowed_methods, reason = "the one place of the host's code that sleeps")]

use std::time::{Duration, Instant};

/// Asks `ready` every `interval` until it answers or `deadline` has passed; asks at least once.
///
/// `None` means the deadline passed without an answer.
pub fn until<T>(deadline: Instant, interval: Duration, mut ready: impl FnMut() -> Option<T>) -> Option<T> {
    loop {
        if let Some(answer) = ready() {
            return Some(answer);
        }
        let left = deadline.checked_duration_since(Instant::now())?;
        std::thread::sleep(interval.min(left));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_or_gives_up() {
        let soon = || Instant::now() + Duration::from_millis(20);
        let mut asked = 0;
        let third = until(soon(), Duration::from_millis(1), || {
            asked += 1;
            (asked == 3).then_some(asked)
        });
        assert_eq!(third, Some(3));
        assert_eq!(until(soon(), Duration::from_millis(1), || None::<()>), None);
        assert_eq!(until(Instant::now(), Duration::from_secs(9), || Some(1)), Some(1));
    }
}
