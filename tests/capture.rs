//! `lab capture`: on this machine, and its script with nothing but `ip` and `cat`.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const LAB: &str = env!("CARGO_BIN_EXE_lab");

fn found(program: &str) -> PathBuf {
    let path = std::env::var_os("PATH").expect("there is a PATH");
    let more = ["/usr/sbin", "/sbin"].map(PathBuf::from);
    let mut folders = std::env::split_paths(&path).chain(more);
    let found = folders.find_map(|folder| Some(folder.join(program)).filter(|path| path.exists()));
    found.unwrap_or_else(|| panic!("{program} is not installed"))
}

fn text(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Its links and its end, whatever this machine has.
fn assert_whole(text: &str) {
    assert!(text.starts_with("### lab capture on kernel release "), "{text}");
    assert!(text.contains("<LOOPBACK,UP,LOWER_UP>"), "{text}");
    let fences = text.lines().filter(|line| line.trim_end() == "```").count();
    assert_eq!(fences % 2, 0, "{text}");
    assert!(text.contains("\n### not seen\n"), "{text}");
}

fn script(folder: &Path) -> PathBuf {
    let path = folder.join("capture.sh");
    fs::write(&path, text(&Command::new(LAB).args(["capture", "--script"]).output().expect("it starts")))
        .expect("written");
    path
}

#[test]
fn this_machine_is_captured_with_what_could_not_be_seen() {
    let output = Command::new(LAB).arg("capture").output().expect("it starts");
    let captured = text(&output);
    assert_whole(&captured);
    if !Path::new("/proc/net/bonding").exists() {
        let why = "/proc/net/bonding: the kernel has no bonding driver, or it is not loaded";
        assert!(captured.contains(why), "{captured}");
        assert!(String::from_utf8_lossy(&output.stderr).contains(why));
    }
}

#[test]
fn the_script_needs_ip_and_cat_only() {
    let folder = tempfile::tempdir().expect("there is room");
    let programs = folder.path().join("bin");
    fs::create_dir(&programs).expect("it is new");
    for program in ["ip", "cat"] {
        symlink(found(program), programs.join(program)).expect("it is new");
    }
    let output = Command::new(found("sh"))
        .arg(script(folder.path()))
        .env("PATH", &programs)
        .output()
        .expect("it starts");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert_whole(&text(&output));
}

/// A POSIX shell is enough: each that is installed prints the same sections.
#[test]
fn the_script_runs_in_each_shell() {
    let folder = tempfile::tempdir().expect("there is room");
    let script = script(folder.path());
    let headings = |program: &str, arguments: &[&str]| {
        let output = Command::new(program).args(arguments).arg(&script).output();
        let output = output.unwrap_or_else(|error| panic!("{program}: {error}"));
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{program}");
        let text = text(&output);
        assert_whole(&text);
        text.lines().filter(|line| line.starts_with("### ")).map(str::to_owned).collect::<Vec<_>>()
    };
    let of_sh = headings("sh", &[]);
    // BusyBox's shell may run its own `ip`: tests/e2e/capture.rs.
    let others: [(&str, &[&str]); 3] = [("dash", &[]), ("bash", &["--posix"]), ("mksh", &[])];
    let is_there = |program: &str| {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path).any(|folder| folder.join(program).exists())
    };
    for (program, arguments) in others.into_iter().filter(|(program, _)| is_there(program)) {
        assert_eq!(headings(program, arguments), of_sh, "{program}");
    }
}

/// BusyBox's `ip` has neither counters nor details, and says so by its exit status.
#[test]
fn the_script_says_what_a_plain_ip_does_not_show() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().expect("there is room");
    let plain = folder.path().join("ip");
    let code =
        format!("#!/bin/sh\ncase \"$1\" in -s|-d) exit 1;; esac\nexec {} \"$@\"\n", found("ip").display());
    fs::write(&plain, code).expect("written");
    fs::set_permissions(&plain, fs::Permissions::from_mode(0o755)).expect("it is ours");
    symlink(found("cat"), folder.path().join("cat")).expect("it is new");
    let output = Command::new(found("sh"))
        .arg(script(folder.path()))
        .env("PATH", folder.path())
        .output()
        .expect("it starts");
    let captured = text(&output);
    assert_whole(&captured);
    assert!(captured.contains("this ip has no -s or -d"), "{captured}");
    assert!(captured.contains("### cat /proc/net/dev"), "{captured}");
}

#[test]
fn a_text_of_elsewhere_is_masked() {
    let folder = tempfile::tempdir().expect("there is room");
    let path = folder.path().join("node.txt");
    fs::write(&path, "link/ether b4:96:91:00:00:07 brd ff:ff:ff:ff:ff:ff\nrack7 is 8.8.4.4\n")
        .expect("written");
    let mut lab = Command::new(LAB);
    lab.args(["capture", "--mask", "--host-name", "rack7", "--from"]).arg(&path);
    let masked = text(&lab.output().expect("it starts"));
    assert_eq!(masked, "link/ether b4:00:01:00:00:01 brd ff:ff:ff:ff:ff:ff\nhost1 is 198.18.0.4\n");
}
