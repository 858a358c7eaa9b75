//! The command with a cache that cannot be written to, lacks kernels, or was left by a lab that was killed.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use bondlab_host::vm::qemu::{Qemu, VmSpec};
use bondlab_host::wait;
use tempfile::TempDir;

use crate::machine::{LAB, is_root};
use crate::{KERNEL, Test, tests};

/// What is provoked, by name.
pub const TESTS: [(&str, Test); 4] = tests![
    a_read_only_cache_runs_what_is_in_it,
    a_matrix_that_may_not_install_skips_the_kernels_that_are_not_there,
    a_matrix_that_cannot_be_kept_is_printed,
    what_a_killed_lab_left_is_swept_by_the_next_one,
];

const NOBODY: u32 = 65_534;

/// A cache with one kernel, and a copy of the lab that everyone may run.
struct Own(TempDir);

impl Own {
    fn new(spec: &VmSpec) -> Self {
        let everyone = fs::Permissions::from_mode(0o755);
        let dir = tempfile::Builder::new().permissions(everyone).tempdir().unwrap();
        let own = Self(dir);
        let tree = spec.vmlinux.parent().unwrap();
        fs::create_dir_all(own.path("cache/kernels")).unwrap();
        let copied = Command::new("cp")
            .args(["-a".as_ref(), tree.as_os_str(), own.path("cache/kernels").as_os_str()])
            .status();
        assert!(copied.unwrap().success());
        fs::copy(LAB, own.path("lab")).unwrap();
        own
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn lab(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.path("lab"));
        command.args(arguments).env("LAB_CACHE", self.path("cache")).current_dir(self.0.path());
        command
    }

    fn entries(&self, part: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path("cache").join(part)).into_iter().flatten();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }
}

/// The smallest cell: what is looked at is what surrounds it.
fn topology() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("bench/one-flow.toml");
    path.display().to_string()
}

/// Exit code, standard output, standard error.
fn said(command: &mut Command) -> (Option<i32>, String, String) {
    let output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

fn a_read_only_cache_runs_what_is_in_it(_: Qemu, spec: VmSpec) {
    if !is_root() {
        eprintln!("skipped: only root can run the lab as a user who may not write there");
        return;
    }
    let own = Own::new(&spec);
    fs::create_dir(own.path("tmp")).unwrap();
    fs::set_permissions(own.path("tmp"), fs::Permissions::from_mode(0o1777)).unwrap();
    fs::copy(topology(), own.path("t.toml")).unwrap();
    let run = || {
        let mut command = own.lab(&["run", "t.toml", "--kernel", KERNEL]);
        said(command.uid(NOBODY).gid(NOBODY).env("TMPDIR", own.path("tmp")).env("HOME", own.path("tmp")))
    };
    let (code, stdout, stderr) = run();
    assert_eq!(code, Some(0), "{stdout}{stderr}");
    assert!(stdout.contains("the cache is read-only and has no saved machine"), "{stdout}");
    assert_eq!(own.entries("machines").len() + own.entries("initramfs").len(), 0);
    assert_eq!(fs::read_dir(own.path("tmp")).unwrap().count(), 0, "what was made beside it is gone");

    assert_eq!(own.lab(&["run", "t.toml", "--kernel", KERNEL]).output().unwrap().status.code(), Some(0));
    assert_eq!(own.entries("machines").len(), 1, "its owner has filled it");
    let (code, stdout, stderr) = run();
    assert_eq!(code, Some(0), "{stdout}{stderr}");
    assert!(!stdout.contains("read-only"), "the saved machine is used: {stdout}");

    // A damaged image is packed again, beside the cache.
    let image = own.path("cache/initramfs").join(&own.entries("initramfs")[0]);
    let length = fs::metadata(&image).unwrap().len();
    fs::File::options().write(true).open(&image).unwrap().set_len(length / 2).unwrap();
    let (code, stdout, stderr) = run();
    assert_eq!(code, Some(0), "{stdout}{stderr}");

    let mut without = own.lab(&["run", "t.toml", "--kernel", KERNEL]);
    without.uid(NOBODY).gid(NOBODY).env("TMPDIR", own.path("tmp/none"));
    let (code, stdout, stderr) = said(&mut without);
    assert_eq!((code, stdout.as_str()), (Some(74), ""), "{stderr}");
    assert!(stderr.lines().count() == 1 && stderr.contains("set TMPDIR"), "{stderr}");

    let mut fetch = own.lab(&["kernels", "prune", "--unused-days", "0"]);
    let (code, _, stderr) = said(fetch.uid(NOBODY).gid(NOBODY).env("TMPDIR", own.path("tmp")));
    assert!(code != Some(0) && stderr.contains("the cache is read-only"), "{code:?} {stderr}");
}

fn a_matrix_that_may_not_install_skips_the_kernels_that_are_not_there(_: Qemu, spec: VmSpec) {
    let own = Own::new(&spec);
    let kernels = format!("{KERNEL},6.18.15");
    let matrix = |kernels: &str| {
        let topology = topology();
        let arguments =
            ["matrix", &topology, "--kernels", kernels, "--no-install", "--no-compare", "--format", "json"];
        said(&mut own.lab(&arguments))
    };
    let (code, stdout, stderr) = matrix(&kernels);
    assert_eq!(code, Some(0), "{stderr}");
    let result: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    let cells: Vec<(&str, &str)> = result["cells"]
        .as_array()
        .unwrap()
        .iter()
        .map(|cell| (cell["kernel"]["id"].as_str().unwrap(), cell["outcome"].as_str().unwrap()))
        .collect();
    assert_eq!(cells, [(KERNEL, "pass"), ("6.18.15", "skip")], "{stderr}");
    let reason = &result["cells"][1]["reason"];
    assert!(reason.as_str().unwrap().contains("`lab kernels fetch 6.18.15` downloads it"), "{reason}");

    let (code, stdout, stderr) = matrix("6.18.15");
    assert_eq!((code, stdout.as_str()), (Some(69), ""), "{stderr}");
}

/// Its result has cost minutes: a full disk, or a file in the way, takes it from `lab accept` alone.
fn a_matrix_that_cannot_be_kept_is_printed(_: Qemu, spec: VmSpec) {
    let own = Own::new(&spec);
    let matrix = || {
        let topology = topology();
        let arguments = ["matrix", &topology, "--kernels", KERNEL, "--no-compare", "--format", "json"];
        said(&mut own.lab(&arguments))
    };
    let is_whole = |stdout: &str| {
        let result: serde_json::Value = serde_json::from_str(stdout).unwrap();
        assert_eq!(result["cells"][0]["outcome"], "pass");
    };
    let folder = own.path("cache/last-matrix");
    fs::write(&folder, "").unwrap();
    let (code, stdout, stderr) = matrix();
    assert_eq!(code, Some(0), "{stderr}");
    is_whole(&stdout);
    assert!(stderr.contains("`lab accept` does not know this result"), "{stderr}");

    // What an older matrix left, and cannot be removed, would be accepted in its place.
    fs::remove_file(&folder).unwrap();
    fs::create_dir_all(folder.join("result.json/in-the-way")).unwrap();
    let (code, stdout, stderr) = matrix();
    assert_eq!(code, Some(69), "{stderr}");
    is_whole(&stdout);
    assert!(stderr.contains("nor remove what an older matrix left there"), "{stderr}");
}

fn what_a_killed_lab_left_is_swept_by_the_next_one(_: Qemu, spec: VmSpec) {
    let own = Own::new(&spec);
    let mut killed = own
        .lab(&["run", &topology(), "--kernel", KERNEL])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // It packs an initramfs there, and later saves a machine.
    let deadline = Instant::now() + Duration::from_secs(60);
    let begun = wait::until(deadline, Duration::from_millis(1), || {
        let begun = !own.entries("scratch").is_empty();
        begun.then_some(())
    });
    killed.kill().unwrap();
    killed.wait().unwrap();
    assert!(begun.is_some() && !own.entries("scratch").is_empty(), "killed amid its work");
    symlink("/nowhere", own.path("cache/scratch/link")).unwrap();

    let (code, _, stderr) = said(&mut own.lab(&["doctor"]));
    assert!(code.is_some(), "{stderr}");
    assert_eq!(own.entries("scratch"), Vec::<String>::new());
    assert_eq!(own.entries("locks").len(), 1, "its own, for the sweep");
}
