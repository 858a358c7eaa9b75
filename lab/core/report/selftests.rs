//! The kernel's own bonding selftests: what each script said on each kernel, read as KTAP, and the page that shows it.
//!
//! A script's own word is not enough: one whose tools printed errors and that ends with 0 all the same is `broken`, not
//! passed. Such scripts test nothing of what their names say.

pub mod ktap;
pub mod page;

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::report::selftests::ktap::Ktap;

/// The results of `lab selftests`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Results {
    /// One for each script and kernel, in the order of kernels.
    pub runs: Vec<Run>,
    /// The scripts of each source that was used, by its version: what has no run was not run.
    #[serde(default)]
    pub sources: BTreeMap<String, Vec<String>>,
}

/// One script on one kernel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// The kernel that was under test.
    pub kernel: String,
    /// The version of the source that the script is from.
    pub source: String,
    /// The script's file name.
    pub script: String,
    /// Why there is no result: the guest died, or the time was up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub no_result: Option<String>,
    /// Whole seconds from the start of the machine; not on the page, because chance decides them.
    pub seconds: u64,
    /// Everything that kselftest's runner printed, standard error included.
    pub output: String,
}

/// What came of a script.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It passed, and none of its tools complained.
    Pass,
    /// It failed.
    Fail,
    /// It did not run here, and says so.
    Skip,
    /// It failed, and is expected to.
    Xfail,
    /// It says that it passed, and its tools printed errors: what it tests was not tested.
    Broken,
    /// It did not end in time.
    Timeout,
    /// It is not known how it ended.
    None,
}

impl Run {
    /// What came of it.
    pub fn outcome(&self) -> Outcome {
        if self.no_result.is_some() {
            return Outcome::None;
        }
        let ktap = Ktap::read(&self.output);
        match ktap.outcome {
            Outcome::Pass if !ktap.tool_errors.is_empty() => Outcome::Broken,
            Outcome::Pass if ktap.cases.iter().any(|case| case.outcome == Outcome::Fail) => Outcome::Broken,
            outcome => outcome,
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::Skip => "skip",
            Self::Xfail => "xfail",
            Self::Broken => "broken",
            Self::Timeout => "timeout",
            Self::None => "no result",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(output: &str) -> Outcome {
        let run = Run {
            kernel: "7.3.4".into(),
            source: "7.3.4".into(),
            script: "x.sh".into(),
            no_result: None,
            seconds: 1,
            output: output.into(),
        };
        run.outcome()
    }

    #[rstest::rstest]
    #[case("# PASS\nok 1 selftests: drivers/net/bonding: x.sh\n", Outcome::Pass)]
    #[case("# TEST: a   [ OK ]\nok 1 selftests: drivers/net/bonding: x.sh\n", Outcome::Pass)]
    #[case("# FAIL\nnot ok 1 selftests: drivers/net/bonding: x.sh # exit=1\n", Outcome::Fail)]
    #[case("ok 1 selftests: drivers/net/bonding: x.sh # SKIP\n", Outcome::Skip)]
    #[case("ok 1 selftests: drivers/net/bonding: x.sh # XFAIL\n", Outcome::Xfail)]
    #[case("not ok 1 selftests: drivers/net/bonding: x.sh # TIMEOUT 60 seconds\n", Outcome::Timeout)]
    #[case("# PASS\n", Outcome::None)]
    #[case("", Outcome::None)]
    // A shell without `source`, and an ip(8) that does not know an option, beside a word of success.
    #[case(
        "# ./x.sh: 26: source: not found\n# PASS\nok 1 selftests: drivers/net/bonding: x.sh\n",
        Outcome::Broken
    )]
    #[case(
        "# unknown option \"actor_port_prio\"?\n# TEST: a [ OK ]\nok 1 selftests: x.sh\n",
        Outcome::Broken
    )]
    #[case("# Usage: ip link\n# TEST: a [ OK ]\nok 1 selftests: x.sh\n", Outcome::Broken)]
    #[case("# ./x.sh: line 9: [: : integer expression expected\nok 1 selftests: x.sh\n", Outcome::Broken)]
    // A case that failed in a script that ends with 0.
    #[case("# TEST: a [FAIL]\n# TEST: b [ OK ]\nok 1 selftests: x.sh\n", Outcome::Broken)]
    fn the_outcome_is_what_was_tested_and_not_what_was_said(#[case] output: &str, #[case] expected: Outcome) {
        assert_eq!(run(output), expected, "{output}");
    }
}
