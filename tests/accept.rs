//! `lab accept` on results made by hand: what it takes, what it refuses, and that insta reads what it writes.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use bondlab_core::judge::outcome::Outcome;
use bondlab_core::report::behaviour::Behaviour;
use bondlab_core::report::document::{Document, KernelDocument, Timing};
use bondlab_core::report::matrix::{Matrix, Measures, Policy, judge};
use bondlab_core::report::rounds::Repetitions;
use bondlab_core::report::snapshot;
use tempfile::TempDir;

const LOCAL: Policy = Policy { compare: true, new_fails: false };

fn document(topology: &str, kernel: &str, outcome: Outcome, reason: &str) -> Document {
    let kernel = KernelDocument {
        id: kernel.into(),
        release: format!("{kernel}-cloud-amd64"),
        backend: "vm".into(),
        accelerator: "tcg".into(),
        clock: "real".into(),
    };
    let mut document = Document::unfinished(topology, kernel, outcome, reason.into(), Timing::default());
    if reason.is_empty() {
        document.reason = None;
    }
    document
}

/// A cache with a last matrix in it.
fn last_matrix(documents: Vec<Document>) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let names = |of: fn(&Document) -> &String| {
        let mut names: Vec<String> = documents.iter().map(|document| of(document).clone()).collect();
        names.dedup();
        names
    };
    let topologies = names(|document| &document.topology);
    let kernels = names(|document| &document.kernel.id);
    let cells = documents.into_iter().map(|one| judge(one, "topologies/t.toml", None, LOCAL)).collect();
    let matrix = Matrix::new(cells, &topologies, &kernels, Measures::default());
    fs::create_dir_all(dir.path().join("last-matrix")).unwrap();
    fs::write(dir.path().join("last-matrix/result.json"), serde_json::to_vec(&matrix).unwrap()).unwrap();
    dir
}

fn accept(dir: &Path, arguments: &[&str], ci: bool) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lab"));
    command.arg("accept").args(arguments).current_dir(dir).env("LAB_CACHE", dir).env_remove("CI");
    if ci {
        command.env("CI", "true");
    }
    command.output().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn takes_what_is_new_or_changed_and_refuses_what_is_no_behaviour() {
    let dir = last_matrix(vec![
        document("t", "5.10.262", Outcome::Pass, ""),
        document("t", "6.1.192", Outcome::Fail, ""),
        document("t", "6.12.57", Outcome::Panic, "the kernel panicked: x (a < b)\n  | console"),
        document("t", "6.18.15", Outcome::Hang, "the guest hung\nnext: again"),
        document("t", "7.3.4", Outcome::Skip, "7.3.4 lacks:\n  igb"),
    ]);
    let snapshots = dir.path().join("snapshots");
    fs::create_dir(&snapshots).unwrap();
    let mut before = snapshot::Accepted::default();
    before.set("6.1.192", Behaviour::parse("outcome: pass")).unwrap();
    fs::write(snapshots.join("t.snap"), before.to_file("x", "y")).unwrap();

    let first = accept(dir.path(), &[], false);
    assert_eq!(first.status.code(), Some(1), "a refusal is told by the exit code");
    let expected = "new     t on 5.10.262: pass\nchanged t on 6.1.192: fail (before | now)\n    \
        outcome: pass | fail\nnew     t on 6.12.57: panic\nrefused t on 6.18.15: hang, which is no behaviour of \
        the kernel: the guest hung\n3 taken, 0 as before, 1 refused, 1 skipped by the matrix, with nothing to accept\n";
    assert_eq!(stdout(&first), expected);
    let mut written: Vec<_> =
        fs::read_dir(&snapshots).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    written.sort();
    assert_eq!(written, ["t.snap"]);

    let again = accept(dir.path(), &["--kernels", "5.10.262,6.12.57"], false);
    assert_eq!((again.status.code(), stdout(&again).as_str()), (Some(0), "0 taken, 2 as before\n"));
}

#[test]
fn takes_nothing_that_a_substitution_did() {
    let one = document("t", "6.12.57", Outcome::Pass, "");
    let substitutions = vec!["node:enp1s0 by switch".into()];
    let dir = last_matrix(vec![Document { substitutions, used_fallback: true, ..one }]);
    let output = accept(dir.path(), &[], false);
    let expected = "refused t on 6.12.57: it shows a substitute, and not the NICs that the topology asks for: \
        node:enp1s0 by switch\n0 taken, 0 as before, 1 refused\n";
    assert_eq!((output.status.code(), stdout(&output).as_str()), (Some(1), expected));
    assert!(!dir.path().join("snapshots").exists());
}

#[test]
fn takes_nothing_that_was_another_thing_in_another_round() {
    let mut document = document("t", "6.12.57", Outcome::Fail, "");
    let rounds = Repetitions { rounds: 25, alike: 24, frames: 2500, unattributed: 0, differing: Vec::new() };
    document.repetitions = Some(rounds);
    let dir = last_matrix(vec![document]);
    let output = accept(dir.path(), &[], false);
    assert!(!dir.path().join("snapshots").exists());
    assert!(format!("{output:?}").contains("24 of 25 rounds say the same"), "{output:?}");
}

#[test]
fn ci_writes_nothing() {
    let dir = last_matrix(vec![document("t", "6.12.57", Outcome::Pass, "")]);
    assert_eq!(accept(dir.path(), &[], true).status.code(), Some(2));
    assert!(!dir.path().join("snapshots").exists());
}

#[test]
fn says_what_the_last_matrix_has() {
    let dir = last_matrix(vec![document("t", "6.12.57", Outcome::Pass, "")]);
    let other = accept(dir.path(), &["topologies/u.toml"], false);
    assert_eq!(other.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&other.stderr).contains("no u; it has t"), "{other:?}");
    let empty = tempfile::tempdir().unwrap();
    let none = accept(empty.path(), &[], false);
    assert_eq!(none.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&none.stderr).contains("`lab matrix topologies/` first"), "{none:?}");
}

#[test]
fn insta_reads_what_is_accepted() {
    let one = document("t", "6.12.57", Outcome::Panic, "the kernel panicked: \"x\" (a < b)");
    let seen = snapshot::behaviour(&one);
    let dir = last_matrix(vec![one]);
    assert_eq!(accept(dir.path(), &["t"], false).status.code(), Some(0));
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path(dir.path().join("snapshots"));
    settings.set_prepend_module_to_snapshot(false);
    let mut accepted = snapshot::Accepted::default();
    accepted.set("6.12.57", seen).unwrap();
    settings.bind(|| insta::assert_snapshot!("t", accepted.body()));
    // Had insta not found the file, or found another text, it would have written its own.
    assert!(!dir.path().join("snapshots/t.snap.new").exists());
}
