//! How long a machine has waited for a processor of the host.

use std::fs;
use std::time::{Duration, Instant};

/// A wait may become so many times as long by it: what never gets a processor ends, too.
const FACTOR_MAX: u32 = 4;

/// How long the threads of a process have been runnable and did not run: of each, and the longest. It is 0 where the kernel does not
/// tell, which is one without `CONFIG_SCHED_INFO` (`proc_pid_schedstat()`).
pub(crate) fn of(process: u32) -> Duration {
    let Ok(threads) = fs::read_dir(format!("/proc/{process}/task")) else { return Duration::ZERO };
    let texts =
        threads.flatten().filter_map(|thread| fs::read_to_string(thread.path().join("schedstat")).ok());
    texts.filter_map(|text| parse(&text)).max().unwrap_or_default()
}

/// The second number: nanoseconds of `sched_info.run_delay`.
fn parse(schedstat: &str) -> Option<Duration> {
    schedstat.split_whitespace().nth(1)?.parse().ok().map(Duration::from_nanos)
}

/// A wait for a machine, in which the time that the host did not run it is not counted.
pub(crate) struct Wait {
    process: u32,
    begun: Instant,
    /// By the clock.
    deadline: Instant,
    /// Whatever the host did.
    end: Instant,
    /// How long the machine had waited when this began.
    before: Duration,
    latest: Instant,
}

impl Wait {
    pub(crate) fn begin(process: u32, deadline: Instant, end: Instant) -> Self {
        let latest = deadline.min(end);
        Self { process, begun: Instant::now(), deadline, end, before: of(process), latest }
    }

    /// As far as is known.
    pub(crate) fn latest(&self) -> Instant {
        self.latest
    }

    /// Whether there is more time than was known when [`Wait::latest`] was asked.
    pub(crate) fn goes_on(&mut self) -> bool {
        let allowed = self.deadline.saturating_duration_since(self.begun);
        let more = more_time(allowed, of(self.process).saturating_sub(self.before));
        let later = (self.deadline + more).min(self.end);
        std::mem::replace(&mut self.latest, later) < later
    }
}

/// By how much a wait of `allowed` is longer when the machine was not run for `delayed` of it.
pub(crate) fn more_time(allowed: Duration, delayed: Duration) -> Duration {
    delayed.min(allowed * (FACTOR_MAX - 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[rstest::rstest]
    #[case::of_a_thread("1043592 598686 12\n", Some(598_686))]
    #[case::without_sched_info("0 0 0\n", Some(0))]
    #[case::cut("1043592", None)]
    #[case::no_number("a b c", None)]
    fn the_second_number_is_the_delay(#[case] text: &str, #[case] expected: Option<u64>) {
        assert_eq!(parse(text), expected.map(Duration::from_nanos));
    }

    #[test]
    fn a_process_has_waited_less_than_it_lives() {
        assert!(of(std::process::id()) < Duration::from_secs(3600));
        assert_eq!(of(0), Duration::ZERO, "there is no process 0");
    }

    #[test]
    fn a_wait_goes_on_by_the_time_without_a_processor_and_no_further_than_its_end() {
        let now = Instant::now();
        let [deadline, end] = [10, 12].map(|seconds| now + Duration::from_secs(seconds));
        let begun = |process: u32, end: Instant| Wait {
            process,
            begun: now,
            deadline,
            end,
            before: Duration::ZERO,
            latest: deadline.min(end),
        };
        let delayed = of(std::process::id());
        let mut wait = begun(std::process::id(), end);
        assert!(delayed.is_zero() || wait.goes_on());
        assert!(wait.latest() >= deadline && wait.latest() <= end);
        assert!(!begun(0, end).goes_on(), "there is no process 0, and it has waited for nothing");
        assert!(!begun(std::process::id(), now).goes_on(), "its end is passed");
    }

    #[rstest::rstest]
    #[case::an_idle_host(0, 0)]
    #[case::half_of_a_processor(30, 30)]
    #[case::nearly_none(1000, 180)]
    fn a_wait_of_a_minute_is_longer_by_the_time_without_a_processor(#[case] delayed: u64, #[case] more: u64) {
        let [delayed, more] = [delayed, more].map(Duration::from_secs);
        assert_eq!(more_time(Duration::from_secs(60), delayed), more);
    }
}
