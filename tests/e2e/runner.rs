//! `lab exec` as cargo's target runner: the tests of a crate that knows nothing of the lab, with `cargo test` and with nextest.

use std::process::{Command, Stdio};

use libtest_mimic::{Completion, Trial};

use crate::library::{Dependent, Said};
use crate::machine::{self, LAB};
use crate::{KERNEL, pin};

/// cargo's own name of the runner.
const RUNNER: &str = "CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER";

/// The trials.
pub fn trials() -> Vec<Trial> {
    vec![
        machine::trial("runner/cargo test runs a crate's tests in a guest", pin(), |_, _| cargo_test()),
        nextest_trial(),
    ]
}

/// nextest is not built for this one test: that takes minutes.
fn nextest_trial() -> Trial {
    let name = "runner/nextest runs each test of a crate in a guest";
    if has_nextest() {
        return machine::trial(name, pin(), |_, _| nextest());
    }
    Trial::ignorable_test(name, || Ok(Completion::ignored_with("not run: there is no cargo-nextest here")))
}

/// Runs cargo with the runner that docs/exec.md has, and what the tests look for.
fn cargo(words: &[&str]) -> Said {
    let passed_on = "--env LD_LIBRARY_PATH --env CARGO* --env RUST*";
    let runner = format!("{LAB} exec --kernel {KERNEL} {passed_on} --env EXPECTED_KERNEL={KERNEL} --");
    Dependent::new().cargo(words, &[(RUNNER, &runner)])
}

fn cargo_test() {
    let said = cargo(&["test", "--quiet", "--test", "plain"]);
    assert!(said.is_success, "{}", said.text);
    said.has(&["test result: ok. 3 passed; 0 failed; 1 ignored"]);
    let said = cargo(&["test", "--quiet", "--test", "plain", "--", "--ignored"]);
    assert!(!said.is_success, "{}", said.text);
    said.has(&["test result: FAILED. 0 passed; 1 failed; 0 ignored", "arithmetic in the guest"]);
}

/// nextest asks the program for its tests through the runner, and starts the runner once for each of them.
fn nextest() {
    let run = ["nextest", "run", "--no-fail-fast", "--test", "plain"];
    let said = cargo(&[&run[..], &["--run-ignored", "all"]].concat());
    assert!(!said.is_success, "{}", said.text);
    said.has(&["4 tests run: 3 passed, 1 failed, 0 skipped", "arithmetic in the guest"]);
    let said = cargo(&run);
    assert!(said.is_success, "{}", said.text);
    said.has(&["3 tests run: 3 passed, 1 skipped"]);
}

fn has_nextest() -> bool {
    let mut asked = Command::new(env!("CARGO"));
    asked.args(["nextest", "--version"]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    asked.status().is_ok_and(|status| status.success())
}
