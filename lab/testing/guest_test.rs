//! What `#[lab::test]` expands to: on the host the test program is started again in a guest, and there the body runs.
//!
//! A test program that gets the name of a test it does not have ends with status 0. So the body itself leaves a proof, in the
//! folder whose files come out of the guest: a line before it, and a line after it. Only both lines and status 0 are a pass.

use std::fs;
use std::io::{self, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Termination, exit};

use nix::sys::signal::Signal;

use crate::testing::command::Ended;
use crate::testing::on::names;
use crate::testing::skip::Skip;
use crate::testing::{command, fail};
use bondlab_core::plan::exec::{OUT_DIR, OUT_VARIABLE, STATUS_TIMED_OUT};
use bondlab_host::ci;

/// The name of the test whose body is to run, in the guest alone.
const TEST_VARIABLE: &str = "BONDLAB_GUEST_TEST";
/// What the proof has to say, so that no other run's is taken for it.
const NONCE_VARIABLE: &str = "BONDLAB_GUEST_NONCE";
/// The file with the proof.
const PROOF: &str = "bondlab-test-body";
/// Exit status of a test program with a failed test (libtest's `ERROR_EXIT_CODE`).
const FAILED: i32 = 101;
/// Exit status of `lab exec` where something needed is not to be had.
const UNAVAILABLE: i32 = 69;
/// Exit status of `lab exec` where it is not known how the program ended.
const UNKNOWN: i32 = 70;
/// What test programs may want to know. The guest has no network to tell it to anybody.
const VARIABLES: [&str; 5] = ["LD_LIBRARY_PATH", "CARGO*", "RUST*", "INSTA*", "NO_COLOR"];

/// A test with a body for the guest, as the macro hands it over.
#[derive(Debug, Clone, Copy)]
pub struct GuestTest {
    /// `module_path!()` where the test is.
    pub module: &'static str,
    /// The test function's name.
    pub name: &'static str,
    /// `CARGO_MANIFEST_DIR` of its package.
    pub package_dir: &'static str,
    /// A version, a set, a range, or several with commas.
    pub kernels: &'static str,
    /// A topology file, from `package_dir`.
    pub topology: Option<&'static str>,
    /// The namespace of the topology that the body is in.
    pub ns: Option<&'static str>,
    /// The longest that the body may take, in s.
    pub timeout_s: u64,
    /// Kernel modules besides those that every guest has.
    pub modules: &'static [&'static str],
    /// More variables for the body, as `lab exec --env` takes them.
    pub env: &'static [&'static str],
}

/// What one kernel came to.
enum Came {
    Passed,
    Skipped(String),
    Failed(String),
}

/// Runs the body on each kernel; in the guest, runs it here.
///
/// # Panics
/// If the body failed on a kernel, or did not run to its end there, with what it printed.
#[track_caller]
pub fn run<T: Termination>(test: &GuestTest, body: impl FnOnce() -> T) {
    if let Some(nonce) = ordered(test) {
        carry_out(&nonce, body)
    }
    let what = |kernel: &str| format!("{} on {kernel}", test.name);
    let kernels = names(test.kernels).unwrap_or_else(|error| fail(&error));
    let mut failures = Vec::new();
    for kernel in &kernels {
        match attempt(test, kernel) {
            Came::Passed => {}
            Came::Skipped(why) if ci::is_ci() => {
                failures.push(format!("{}: not to be skipped where CI is set: {why}", what(kernel)));
            }
            Came::Skipped(why) => drop(Skip::new(&what(kernel), &why)),
            Came::Failed(why) => failures.push(format!("{}: {why}", what(kernel))),
        }
    }
    if !failures.is_empty() {
        fail(&failures.join("\n\n"));
    }
}

impl GuestTest {
    /// The name by which the harness knows it: the path without the crate.
    fn path(&self) -> String {
        let inside = self.module.split_once("::").map(|(_, inside)| format!("{inside}::"));
        inside.unwrap_or_default() + self.name
    }
}

/// In a guest that was started for this test, what its proof has to say. Anywhere else a body must not run: it is root there.
fn ordered(test: &GuestTest) -> Option<String> {
    let is = |variable: &str, value: &str| std::env::var(variable).is_ok_and(|found| found == value);
    let is_here = is(TEST_VARIABLE, &test.path()) && is(OUT_VARIABLE, OUT_DIR) && Path::new(OUT_DIR).is_dir();
    std::env::var(NONCE_VARIABLE).ok().filter(|_| is_here)
}

/// Runs the body, and ends the process: what the harness would print of it is of no use on the host.
fn carry_out<T: Termination>(nonce: &str, body: impl FnOnce() -> T) -> ! {
    let prove = |text: &str| {
        if let Err(error) = fs::write(Path::new(OUT_DIR).join(PROOF), text) {
            fail(&format!("leave a proof of the body's run: {error}"));
        }
    };
    prove(&begun(nonce));
    // The panic's message is on standard error already.
    let ended = catch_unwind(AssertUnwindSafe(|| body().report()));
    // What is written late is lost; its reader is the lab, which is there.
    let _ = io::stdout().flush();
    match ended {
        Ok(status) if status == ExitCode::SUCCESS => {
            prove(&whole(nonce));
            exit(0)
        }
        _ => exit(FAILED),
    }
}

fn begun(nonce: &str) -> String {
    format!("begun {nonce}\n")
}

fn whole(nonce: &str) -> String {
    format!("begun {nonce}\nended {nonce}\n")
}

fn attempt(test: &GuestTest, kernel: &str) -> Came {
    let failed = |error: io::Error| Came::Failed(error.to_string());
    let program = match command::find() {
        Ok(program) => program,
        Err(why) => return Came::Failed(why),
    };
    let out = match tempfile::tempdir() {
        Ok(out) => out,
        Err(error) => return failed(error),
    };
    // The folder is a new one for each run, and so is its name.
    let nonce = out.path().display().to_string();
    let run =
        exec(test, kernel, program, out.path(), &nonce).and_then(|mut command| command::run(&mut command));
    match run {
        Ok(ended) => {
            judge(&ended, &fs::read_to_string(out.path().join(PROOF)).unwrap_or_default(), &nonce, test)
        }
        Err(error) => failed(error),
    }
}

fn exec(test: &GuestTest, kernel: &str, program: &Path, out: &Path, nonce: &str) -> io::Result<Command> {
    let mut command = Command::new(program);
    command.args(["exec", "--kernel", kernel, "--timeout", &test.timeout_s.to_string(), "--out"]).arg(out);
    if let Some(topology) = test.topology {
        command.arg("--topology").arg(PathBuf::from(test.package_dir).join(topology));
    }
    if let Some(ns) = test.ns {
        command.args(["--ns", ns]);
    }
    for name in VARIABLES.iter().chain(test.env) {
        command.args(["--env", name]);
    }
    for module in test.modules {
        command.args(["--module", module]);
    }
    command.arg("--env").arg(format!("{TEST_VARIABLE}={}", test.path()));
    command.arg("--env").arg(format!("{NONCE_VARIABLE}={nonce}"));
    command.arg("--").arg(std::env::current_exe()?).arg(test.path());
    // Two threads, although there is one test: with one, libtest runs it on the main thread, under another name.
    command.args(["--exact", "--nocapture", "--test-threads=2"]);
    Ok(command)
}

/// What the status and the proof together mean.
fn judge(ended: &Ended, proof: &str, nonce: &str, test: &GuestTest) -> Came {
    let stdout = String::from_utf8_lossy(&ended.stdout).into_owned();
    let printed = printed(&stdout, &ended.stderr);
    let has_begun = proof.starts_with(&begun(nonce));
    let why = match ended.status {
        0 if proof == whole(nonce) => {
            show(&printed);
            return Came::Passed;
        }
        0 if has_begun => "the body ended the process with status 0 before it returned".to_owned(),
        0 => format!("the body did not run: the test program has no test `{}`", test.path()),
        UNAVAILABLE if !has_begun => return Came::Skipped(ended.stderr.clone()),
        UNKNOWN if !has_begun => "it is not known how the body ended".to_owned(),
        FAILED if has_begun => "the body failed".to_owned(),
        status if status == i32::from(STATUS_TIMED_OUT) => {
            format!("the body took longer than {} s", test.timeout_s)
        }
        status @ 129..=192 => format!("the test program was ended by {}", signal_name(status - 128)),
        status if has_begun => format!("the body ended the process with status {status}"),
        status => format!("the body did not run: `lab exec` ended with status {status}"),
    };
    Came::Failed(format!("{why}\n{printed}").trim_end().to_owned())
}

fn signal_name(number: i32) -> String {
    Signal::try_from(number).map_or_else(|_| format!("signal {number}"), |signal| signal.to_string())
}

/// Both streams, without the harness's own words before the body.
fn printed(stdout: &str, stderr: &str) -> String {
    let stdout = stdout.trim_start_matches('\n');
    let stdout = stdout.strip_prefix("running 1 test\n").unwrap_or(stdout);
    let lines = stdout.lines().chain(stderr.lines());
    lines.map(|line| format!("  | {}\n", bondlab_core::net::clean::line(line))).collect()
}

/// Of a body that passed, through the harness: it keeps it to itself unless it is asked.
fn show(printed: &str) {
    if !printed.is_empty() {
        print!("{printed}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEST: GuestTest = GuestTest {
        module: "tests::bond",
        name: "is_up",
        package_dir: "/package",
        kernels: "6.12.57",
        topology: None,
        ns: None,
        timeout_s: 60,
        modules: &[],
        env: &[],
    };

    fn came(status: i32, proof: &str, stderr: &str) -> String {
        let stdout = b"\nrunning 1 test\nof the body\n".to_vec();
        match judge(&Ended { status, stdout, stderr: stderr.into() }, proof, "n", &TEST) {
            Came::Passed => "passed".into(),
            Came::Skipped(why) => format!("skipped: {why}"),
            Came::Failed(why) => why,
        }
    }

    #[rstest::rstest]
    #[case(0, "begun n\nended n\n", "", "passed")]
    #[case(
        0,
        "begun n\n",
        "",
        "the body ended the process with status 0 before it returned\n  | of the body"
    )]
    #[case(0, "", "", "the body did not run: the test program has no test `bond::is_up`\n  | of the body")]
    #[case(
        0,
        "begun other\nended other\n",
        "",
        "the body did not run: the test program has no test `bond::is_up`\n  | of the body"
    )]
    #[case(101, "begun n\n", "panicked\n", "the body failed\n  | of the body\n  | panicked")]
    #[case(101, "", "", "the body did not run: `lab exec` ended with status 101\n  | of the body")]
    #[case(69, "", "error: no QEMU\n", "skipped: error: no QEMU\n")]
    #[case(69, "begun n\n", "", "the body ended the process with status 69\n  | of the body")]
    #[case(
        70,
        "",
        "error: the guest died\n",
        "it is not known how the body ended\n  | of the body\n  | error: the guest died"
    )]
    #[case(124, "begun n\n", "", "the body took longer than 60 s\n  | of the body")]
    #[case(134, "begun n\n", "", "the test program was ended by SIGABRT\n  | of the body")]
    #[case(3, "begun n\n", "", "the body ended the process with status 3\n  | of the body")]
    fn only_a_body_that_proves_its_end_has_passed(
        #[case] status: i32,
        #[case] proof: &str,
        #[case] stderr: &str,
        #[case] expected: &str,
    ) {
        assert_eq!(came(status, proof, stderr), expected);
    }

    #[test]
    fn a_test_at_the_root_of_its_program_has_no_module() {
        assert_eq!(GuestTest { module: "program", ..TEST }.path(), "is_up");
    }

    #[test]
    fn a_body_is_never_run_on_the_host() {
        assert_eq!(ordered(&TEST), None);
    }
}
