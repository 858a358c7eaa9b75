//! How a run ended. Nine words that are never confused; only one of them is green.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The verdict on one topology on one kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Everything expected held, and every frame is accounted for.
    Pass,
    /// The kernel did something else than expected.
    Fail,
    /// Not run, for a reason that is said.
    Skip,
    /// The kernel does not know an option that the topology asks for, so that what the topology is about was never made.
    Unsupported,
    /// Failed, as the topology says it must on this kernel.
    Xfail,
    /// The kernel panicked.
    Panic,
    /// Nothing moved any more.
    Hang,
    /// The kernel or the agent did not come up.
    BootFail,
    /// The lab cannot tell: records are missing, damaged, or contradict one another.
    Error,
}

impl Outcome {
    /// The word in reports and JSON.
    pub fn word(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::Skip => "skip",
            Self::Unsupported => "unsupported",
            Self::Xfail => "xfail",
            Self::Panic => "panic",
            Self::Hang => "hang",
            Self::BootFail => "boot-fail",
            Self::Error => "error",
        }
    }

    /// Whether the run is what was expected.
    pub fn is_expected(self) -> bool {
        matches!(self, Self::Pass | Self::Xfail)
    }

    /// Whether the run shows that something is wrong: what was not run, and what a kernel does not have, shows nothing.
    pub fn is_failure(self) -> bool {
        !self.is_expected() && !matches!(self, Self::Skip | Self::Unsupported)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}
