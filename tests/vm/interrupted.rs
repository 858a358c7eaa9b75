//! `lab matrix` that a signal ends: it prints what was done, and the command that runs the rest.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use bondlab_host::vm::qemu::{Qemu, VmSpec};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::machine::LAB;
use crate::{KERNEL, Test, tests};

/// What is provoked, by name.
pub const TESTS: [(&str, Test); 2] = tests![
    a_matrix_that_is_terminated_prints_what_was_done_and_how_to_go_on,
    a_matrix_that_is_interrupted_keeps_to_its_format,
];

/// As a shell's Ctrl-C.
const INTERRUPTED: i32 = 130;
const NAMES: [&str; 3] = ["a", "b", "c"];
const TOPOLOGY: &str = r#"
[ns.x.dummy.d]
[[expect]]
device = "x:d"
state = "up"
equals = 1
"#;

fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for name in NAMES {
        fs::write(folder.path().join(format!("{name}.toml")), TOPOLOGY).unwrap();
    }
    folder
}

/// Exit code, standard output and standard error of a matrix that gets a signal when its first cell is done.
fn ended_by(signal: Signal, folder: &Path, format: &str) -> (Option<i32>, String, String) {
    let arguments = ["matrix", ".", "--guests", "own", "-j", "1", "--no-compare", "--kernels", KERNEL];
    let out = folder.join("out");
    let mut matrix = Command::new(LAB)
        .args(arguments)
        .args(["--format", format])
        .current_dir(folder)
        .stdout(fs::File::create(&out).unwrap())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(matrix.stderr.take().unwrap()).lines().map(Result::unwrap);
    let first = lines.by_ref().find(|line| line.contains("  pass  ")).expect("a cell is done");
    kill(Pid::from_raw(matrix.id().cast_signed()), signal).unwrap();
    let said = lines.fold(first, |said, line| format!("{said}\n{line}"));
    let status = matrix.wait().unwrap();
    (status.code(), fs::read_to_string(out).unwrap(), said)
}

/// The cells that a text says are missing.
fn missing(text: &str) -> Vec<&str> {
    let end = format!(" on {KERNEL}");
    text.lines().filter_map(|line| line.strip_prefix("  missing: ")?.strip_suffix(&end)).collect()
}

fn a_matrix_that_is_terminated_prints_what_was_done_and_how_to_go_on(_: Qemu, _: VmSpec) {
    let folder = folder();
    let (code, stdout, stderr) = ended_by(Signal::SIGTERM, folder.path(), "text");
    assert_eq!(code, Some(INTERRUPTED), "{stdout}{stderr}");
    let rows: Vec<Vec<&str>> = stdout.lines().skip(1).take(3).map(|row| row.split("  ").collect()).collect();
    assert_eq!(rows[0], ["a", "pass"], "{stdout}");
    let of_rows: Vec<&str> = rows.iter().filter(|row| row[1] == "not run").map(|row| row[0]).collect();
    assert!(!of_rows.is_empty() && missing(&stdout) == of_rows, "{stdout}");
    assert!(stdout.contains(&format!("interrupted: {} cells were not run", of_rows.len())), "{stdout}");

    let rest = stderr.lines().find_map(|line| line.strip_prefix("to go on: lab ")).expect("a command");
    let script = format!("exec \"$0\" {rest}");
    let Output { status, stdout, .. } =
        Command::new("sh").args(["-c", &script, LAB]).current_dir(folder.path()).output().unwrap();
    let stdout = String::from_utf8(stdout).unwrap();
    assert!(status.success(), "{rest}: {stdout}");
    assert!(stdout.contains(&format!("{} cells: {} pass\n", of_rows.len(), of_rows.len())), "{stdout}");
}

fn a_matrix_that_is_interrupted_keeps_to_its_format(_: Qemu, _: VmSpec) {
    let folder = folder();
    let (code, stdout, stderr) = ended_by(Signal::SIGINT, folder.path(), "json");
    assert_eq!(code, Some(INTERRUPTED), "{stdout}{stderr}");
    let result: serde_json::Value = serde_json::from_str(&stdout).expect("one document and nothing else");
    assert_eq!(result["interrupted"], true);
    let done = result["cells"].as_array().unwrap().len();
    let missing = missing(&stderr);
    assert!(done > 0 && !missing.is_empty() && missing == NAMES[done..], "{done} {stderr}");

    // What was kept of it is red, and names the same cells.
    let merged =
        Command::new(LAB).args(["report", "merge", "out"]).current_dir(folder.path()).output().unwrap();
    let stdout = String::from_utf8(merged.stdout).unwrap();
    assert_eq!((merged.status.code(), self::missing(&stdout)), (Some(1), missing), "{stdout}");
}
