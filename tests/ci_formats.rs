//! Results for GitHub Actions and for KCIDB, as the command prints them, and the summary of the test programs.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

/// The Python that has kcidb-io, of the version that `.ci/run` installs.
const PYTHON: &str = "LAB_KCIDB_PYTHON";

const TOPOLOGY: &str = r#"[ns.a.dummy.x]
[[step]]
pause_ms = 1
[[expect]]
name = "100% are sent"
device = "a:x"
counter = "tx_packets"
equals = 3
"#;

/// A run in which the condition did not hold.
fn result() -> Value {
    let check = json!({ "name": "100% are sent", "outcome": "fail", "expected": "3", "observed": "2" });
    json!({
        "topology": "t", "about": "Three frames are sent.", "outcome": "fail",
        "kernel": { "id": "6.12.57", "release": "6.12.57+deb12-amd64", "backend": "vm", "accelerator": "tcg" },
        "checks": [check], "flows": [], "devices": {}, "qdiscs": {}, "hooks": {}, "states": {}, "hypotheses": [],
        "trials": [], "timing_ms": { "start": 300, "build": 100, "run": 200, "total": 1700 },
    })
}

/// `lab report merge` of that run, in a folder that has its topology where a checkout has it.
fn merge(format: &str, actions: bool) -> Output {
    let folder: TempDir = tempfile::tempdir().expect("a temporary folder");
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).expect("a file");
    for name in ["topologies", "snapshots"] {
        std::fs::create_dir(folder.path().join(name)).expect("a folder");
    }
    write("topologies/t.toml", TOPOLOGY);
    write("t.json", &result().to_string());
    let mut command = Command::new(env!("CARGO_BIN_EXE_lab"));
    command.args(["report", "merge", "t.json", "--format", format]).current_dir(folder.path());
    command.env_remove("GITHUB_ACTIONS").env_remove("LAB_KCIDB_ORIGIN");
    if actions {
        command.env("GITHUB_ACTIONS", "true");
    }
    command.output().expect("cargo has built it")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

const ANNOTATION: &str =
    "::error file=topologies/t.toml,line=4,title=t on 6.12.57::100%25 are sent%0Aexpected 3%0Aobserved 2\n";

#[test]
fn github_shows_a_failure_at_the_line_of_its_condition() {
    let said = merge("github", false);
    assert_eq!(text(&said.stdout), ANNOTATION, "{}", text(&said.stderr));
    assert_eq!(said.status.code(), Some(1));
}

#[test]
fn in_github_actions_annotations_are_beside_every_other_format() {
    for format in ["json", "text", "junit"] {
        let said = merge(format, true);
        assert!(text(&said.stderr).contains(ANNOTATION), "{format}: {}", text(&said.stderr));
        assert!(!text(&said.stdout).contains("::error"), "{format}: {}", text(&said.stdout));
        assert!(!text(&merge(format, false).stderr).contains("::error"), "{format}");
    }
    let said = merge("github", true);
    assert_eq!((text(&said.stdout).as_str(), text(&said.stderr).contains("::error")), (ANNOTATION, false));
}

/// The schema's own package has the last word on what a submission is.
#[test]
fn kcidb_io_takes_the_submission() {
    let said = merge("kcidb", false);
    let submission: Value = serde_json::from_slice(&said.stdout).expect("JSON and nothing else");
    assert_eq!(submission["tests"][0]["status"], "FAIL");
    let named = std::env::var(PYTHON).ok();
    let python = named.clone().unwrap_or_else(|| "python3".into());
    let is_there = Command::new(&python).args(["-c", "import kcidb_io"]).output();
    if !is_there.is_ok_and(|output| output.status.success()) {
        // `.ci/run` names a Python where the package could be had.
        assert_eq!(named, None, "it has no kcidb-io");
        eprintln!(
            "skipped: {python} has no kcidb-io: pip install kcidb-io==141, and name that Python in {PYTHON}"
        );
        return;
    }
    assert!(validates(&python, &submission).0, "{}", validates(&python, &submission).1);
    let mut wrong = submission.clone();
    wrong["tests"][0]["status"] = json!("GREEN");
    assert!(!validates(&python, &wrong).0, "the package looks at it");
}

fn validates(python: &str, submission: &Value) -> (bool, String) {
    const PROGRAM: &str =
        "import json, sys\nfrom kcidb_io import schema\nschema.LATEST.validate(json.load(sys.stdin))\n";
    let mut command = Command::new(Path::new(python));
    let child = command.args(["-c", PROGRAM]).stdin(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = child.expect("it has just run");
    let mut input = child.stdin.take().expect("it is piped");
    input.write_all(submission.to_string().as_bytes()).expect("it reads");
    drop(input);
    let output = child.wait_with_output().expect("it ends");
    (output.status.success(), text(&output.stderr))
}

const OF_CARGO: &str = "     Running unittests lab/lib.rs (target/debug/deps/lab-1)
test a::b ... ok
test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s
";

/// `.ci/summary` on what cargo prints: its own last lines, and whether it ends well.
fn summary(more: &str) -> (String, bool) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join(".ci/summary");
    let mut command = Command::new(script);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("bash starts");
    let text = format!("{OF_CARGO}{more}");
    child.stdin.take().expect("a pipe").write_all(text.as_bytes()).expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    let said = String::from_utf8(output.stdout).expect("text");
    let own = said.strip_prefix(&text).unwrap_or_else(|| panic!("it prints what it reads: {said}"));
    (own.trim_start().to_owned(), output.status.success())
}

#[rstest::rstest]
#[case::good(
    "   Doc-tests lab\ntest result: ok. 7 passed; 0 failed; 0 ignored\n",
    "2 test programs: 10 passed, 0 failed, 1 ignored\n",
    true
)]
#[case::cut(
    "   Doc-tests lab\ntest result: ok. 7 passed; 0 failed; 0 ignored",
    "2 test programs: 10 passed, 0 failed, 1 ignored\n",
    true
)]
#[case::one_fails(
    "     Running tests/e2e.rs (t)\ntest exec: a b ... FAILED\ntest result: FAILED. 2 passed; 1 failed; 0 ignored;\n",
    "2 test programs: 5 passed, 1 failed, 1 ignored\n  tests/e2e.rs: exec: a b\n",
    false
)]
#[case::one_dies(
    "     Running tests/vm.rs (t)\ntest c ... ok\n   Doc-tests lab\ntest result: ok. 7 passed; 0 failed; 0 ignored\n",
    "3 test programs: 10 passed, 1 failed, 1 ignored\n  tests/vm.rs ended without a result\n",
    false
)]
#[case::the_last_dies(
    "     Running tests/vm.rs (t)\n",
    "2 test programs: 3 passed, 1 failed, 1 ignored\n  tests/vm.rs ended without a result\n",
    false
)]
fn one_summary_ends_all_test_programs(#[case] more: &str, #[case] expected: &str, #[case] is_good: bool) {
    assert_eq!(summary(more), (format!("== {expected}"), is_good));
}
