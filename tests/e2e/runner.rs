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

/// Another kernel than the guest's: the test that looks at it fails in the guest.
const WRONG: &str = "5.10.0-wrong";

/// Runs cargo with the runner that docs/exec.md has, and the kernel that the tests are to find.
fn cargo(words: &[&str], expected: &str) -> Said {
    let passed_on = "--env LD_LIBRARY_PATH --env CARGO* --env RUST*";
    let runner = format!("{LAB} exec --kernel {KERNEL} {passed_on} --env EXPECTED_KERNEL={expected} --");
    Dependent::new().cargo(words, &[(RUNNER, &runner)])
}

fn cargo_test() {
    let words = ["test", "--quiet", "--test", "plain"];
    cargo(&words, KERNEL).passed(3);
    let said = cargo(&words, WRONG);
    assert!(!said.is_success, "{}", said.text);
    said.has(&["test result: FAILED. 2 passed; 1 failed; 0 ignored", "is not 5.10.0-wrong"]);
}

/// nextest asks the program for its tests through the runner, and starts the runner once for each of them.
fn nextest() {
    let words = ["nextest", "run", "--no-fail-fast", "--test", "plain"];
    let said = cargo(&words, KERNEL);
    assert!(said.is_success, "{}", said.text);
    said.has(&["3 tests run: 3 passed, 0 skipped"]);
    let said = cargo(&words, WRONG);
    assert!(!said.is_success, "{}", said.text);
    said.has(&["3 tests run: 2 passed, 1 failed, 0 skipped", "is not 5.10.0-wrong"]);
}

fn has_nextest() -> bool {
    let mut asked = Command::new(env!("CARGO"));
    asked.args(["nextest", "--version"]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    asked.status().is_ok_and(|status| status.success())
}
