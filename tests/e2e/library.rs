//! The lab as a dependency: a crate outside of this repository, with nothing but a path to it, is built and its tests are run.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use libtest_mimic::Trial;
use tempfile::TempDir;

use crate::machine::{self, LAB};
use crate::pin;

/// The crate's sources; REPOSITORY in its manifest is this repository.
const SOURCES: &str = "tests/dependent";
/// Its dependencies are built once, and not for each run: without this project's profile and flags they are others.
const TARGET_DIR: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/dependent");

/// One test program of the crate, and what it must say.
type Expect = fn(&Dependent);

/// The trials.
pub fn trials() -> Vec<Trial> {
    vec![machine::trial("library/a crate that depends on the lab", pin(), |_, _| {
        let dependent = Dependent::new();
        let expectations: [Expect; 8] =
            [results, bodies, crates, folder, folder_as_nextest_runs_it, failing, skipping, never_ran];
        expectations.iter().for_each(|expect| expect(&dependent));
    })]
}

/// The crate, in a folder of its own.
pub struct Dependent {
    dir: TempDir,
}

/// How a test program of the crate ended, without what varies.
pub struct Said {
    pub is_success: bool,
    pub text: String,
    stdout: String,
}

impl Said {
    #[track_caller]
    pub fn has(&self, parts: &[&str]) {
        for part in parts {
            assert!(self.text.contains(part), "`{part}` is missing:\n{}", self.text);
        }
    }

    #[track_caller]
    pub fn passed(&self, tests: usize) {
        assert!(self.is_success, "{}", self.text);
        self.has(&[&format!("test result: ok. {tests} passed; 0 failed; 0 ignored")]);
    }
}

impl Dependent {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().expect("a folder for the crate");
        let repository = Path::new(env!("CARGO_MANIFEST_DIR"));
        copy(&repository.join(SOURCES), dir.path());
        let manifest = dir.path().join("Cargo.toml.in");
        let text = fs::read_to_string(&manifest).expect("it was copied");
        let text = text.replace("REPOSITORY", &repository.display().to_string());
        fs::write(dir.path().join("Cargo.toml"), text).expect("its manifest");
        // The same versions, so that nothing has to be fetched.
        fs::copy(repository.join("Cargo.lock"), dir.path().join("Cargo.lock")).expect("the lock file");
        Self { dir }
    }

    /// `cargo test` of one program.
    fn test(&self, program: &str, env: &[(&str, &str)]) -> Said {
        self.test_with(program, &["--test-threads", "2"], env)
    }

    /// `cargo test` of one program, with arguments for its harness.
    pub fn test_with(&self, program: &str, arguments: &[&str], env: &[(&str, &str)]) -> Said {
        let words = [&["test", "--quiet", "--test", program, "--"], arguments].concat();
        self.cargo(&words, env)
    }

    /// cargo, with the settings of this project left out.
    pub fn cargo(&self, words: &[&str], env: &[(&str, &str)]) -> Said {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(words).current_dir(self.dir.path()).stdin(Stdio::null());
        // What this project is built and tested with is not the crate's.
        let is_own = |name: &str| {
            let starts = ["CARGO", "RUST", "NEXTEST"].iter().any(|start| name.starts_with(start));
            starts && !name.starts_with("RUSTUP") && name != "CARGO_HOME"
        };
        for (name, _) in std::env::vars().filter(|(name, _)| is_own(name)) {
            cargo.env_remove(name);
        }
        cargo
            .env_remove("CI")
            .env("INSTA_UPDATE", "no")
            .env("CARGO_NET_OFFLINE", "true")
            .env("CARGO_PROFILE_DEV_DEBUG", "0")
            .env("CARGO_TARGET_DIR", TARGET_DIR)
            .env("BONDLAB_LAB", LAB)
            .envs(env.iter().copied());
        let output = cargo.output().expect("cargo has built this program");
        let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
        let text = format!("{stdout}{}", String::from_utf8_lossy(&output.stderr));
        Said { is_success: output.status.success(), text, stdout }
    }
}

fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).expect("the crate's sources") {
        let entry = entry.expect("it can be read");
        let target: PathBuf = to.join(entry.file_name());
        if entry.path().is_dir() {
            fs::create_dir(&target).expect("a folder of the crate");
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), &target).expect("a file of the crate");
        }
    }
}

fn results(dependent: &Dependent) {
    dependent.test("results", &[("CI", "true")]).passed(8);
}

fn bodies(dependent: &Dependent) {
    dependent.test("bodies", &[("CI", "true")]).passed(6);
}

fn folder(dependent: &Dependent) {
    let said = dependent.test("folder", &[]);
    assert!(!said.is_success, "{}", said.text);
    said.has(&[
        "test result: FAILED. 2 passed; 2 failed; 0 ignored",
        "---- wrong-expectation@6.12.57 ----",
        "wrong-expectation: fail",
        "  FAIL flow stream delivered: 99\n    expected 99, observed 100\n",
    ]);
}

fn crates(dependent: &Dependent) {
    dependent.test("crates", &[("CI", "true")]).passed(4);
}

/// The protocol of nextest for test programs with a harness of their own: two lists with nothing else on standard output, and
/// a process for each test.
fn folder_as_nextest_runs_it(dependent: &Dependent) {
    let list = |more: &[&str]| {
        let said = dependent.test_with("folder", &[&["--list", "--format", "terse"], more].concat(), &[]);
        assert!(said.is_success, "{}", said.text);
        let mut lines: Vec<String> = said.stdout.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    let expected = [
        "two-ports@6.12.57: test",
        "two-ports@7.3.4: test",
        "wrong-expectation@6.12.57: test",
        "wrong-expectation@7.3.4: test",
    ];
    assert_eq!(list(&[]), expected);
    assert_eq!(list(&["--ignored"]), Vec::<String>::new());
    let exact = |name| dependent.test_with("folder", &[name, "--nocapture", "--exact"], &[]);
    let said = exact("two-ports@7.3.4");
    assert!(said.is_success, "{}", said.text);
    said.has(&["1 passed; 0 failed; 0 ignored; 0 measured; 3 filtered out"]);
    let said = exact("wrong-expectation@7.3.4");
    assert!(!said.is_success, "{}", said.text);
    said.has(&["0 passed; 1 failed; 0 ignored; 0 measured; 3 filtered out", "expected 99, observed 100"]);
}

fn failing(dependent: &Dependent) {
    let said = dependent.test("failing", &[]);
    assert!(!said.is_success, "{}", said.text);
    said.has(&[
        "test result: FAILED. 0 passed; 10 failed; 0 ignored",
        "99 frames delivered were expected, 100 are observed\nflow stream of trial main, node:p0 -> switch:p0:\n  100 asked, \
         100 accepted\n  100 delivered",
        "trial main has no flow `strem`; it has: stream",
        "cable on 6.12.999: `lab run` ended with 2:\nerror: ",
        "a_body_that_panics on 6.12.57: the body failed\n  | before the panic\n",
        "assertion `left == right` failed: arithmetic\n",
        "a_body_that_ends_the_process on 6.12.57: the body ended the process with status 0 before it returned",
        "a_body_that_returns_an_error on 6.12.57: the body failed\n  | Error: \"not today\"",
        "a_body_that_does_not_end on 6.12.57: the body took longer than 1 s",
        "a_body_that_takes_the_kernel_with_it on 6.12.57: it is not known how the body ended\n",
        "the kernel panicked: sysrq triggered crash",
        "a_body_that_is_killed on 6.12.57: the test program was ended by SIGKILL",
        "a_body_of_another_name on 6.12.57: the body did not run: the test program has no test `a_body_of_another_name`",
    ]);
}

/// The reason is there although the harness captures output; with CI set the test fails with it.
fn skipping(dependent: &Dependent) {
    let said = dependent.test("skipping", &[]);
    said.passed(2);
    said.has(&["skipped: no-driver on 5.10.262: ", "netdevsim"]);
    let said = dependent.test("skipping", &[("CI", "true")]);
    assert!(!said.is_success, "{}", said.text);
    said.has(&["not to be skipped where CI is set: no-driver on 5.10.262: "]);
}

fn never_ran(dependent: &Dependent) {
    let said = dependent.test("never_ran", &[]);
    assert!(!said.is_success, "{}", said.text);
    said.has(&[
        "nobody_knows_it on 6.12.57: the body did not run: the test program has no test `nobody_knows_it`",
    ]);
}
