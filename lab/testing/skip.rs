//! A test that cannot run: its reason, and when that is a failure.

use std::fmt;
use std::io::Write;

use bondlab_core::net::clean;
use bondlab_host::ci;

/// Why a topology or a test body did not run: no QEMU, a kernel that is not there, a driver that the kernel lacks.
///
/// The harness of `cargo test` knows no skipped tests, so the reason is printed to standard error, where it does not capture
/// it. With the variable `CI` set there is no such value: the test fails instead, with the same reason.
#[must_use = "a test that goes on without a result proves nothing"]
#[derive(Clone, PartialEq, Eq)]
pub struct Skip {
    reason: String,
}

impl Skip {
    /// A skip, said to the user; a failure with `CI` set.
    #[track_caller]
    pub(crate) fn new(what: &str, reason: &str) -> Self {
        let skip = Self::quiet(what, reason);
        if ci::is_ci() {
            crate::testing::fail(&format!("not to be skipped where CI is set: {skip}"));
        }
        // Where standard error is closed the reason is in the value still.
        let _ = writeln!(std::io::stderr().lock(), "skipped: {skip}");
        skip
    }

    /// A skip that a harness reports itself.
    pub(crate) fn quiet(what: &str, reason: &str) -> Self {
        let reason = format!("{what}: {}", reason.trim_end());
        Self { reason: clean::lines(&reason).into_owned() }
    }

    /// What did not run, and why.
    #[must_use]
    pub fn reason(&self) -> &str {
        &self.reason
    }
}

impl fmt::Display for Skip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl fmt::Debug for Skip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "skipped: {}", self.reason)
    }
}

impl std::error::Error for Skip {}
