//! What the lab installs is said before, and installed by one process at a time: apt does not wait for the lock of its lists.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

const LAB: &str = env!("CARGO_BIN_EXE_lab");

/// An apt that fails beside another one, as the real one does, and whose package is a QEMU that can say its version only.
const APT: &str = r#"#!/bin/sh
dir=$(/usr/bin/dirname "$0")
case " $* " in *" indextargets "*) echo "http://mirror.test/debian/ bookworm"; exit 0;; esac
/bin/mkdir "$dir/lock" 2>/dev/null || { echo "E: Could not get lock /var/lib/apt/lists/lock" >&2; exit 100; }
/bin/sleep 0.3
case " $* " in *" install "*)
    echo install >>"$dir/log"
    printf '#!/bin/sh\necho QEMU emulator version 10.0.2\n' >"$dir/qemu-system-x86_64"
    /bin/chmod +x "$dir/qemu-system-x86_64";;
*) echo update >>"$dir/log";;
esac
/bin/rmdir "$dir/lock"
"#;

fn command(dir: &Path) -> Command {
    let topology = Path::new(env!("CARGO_MANIFEST_DIR")).join("bench/one-flow.toml");
    let mut command = Command::new(LAB);
    command
        .arg("run")
        .arg(topology)
        .env("PATH", dir)
        .env("LAB_CACHE", dir.join("cache"))
        .env_remove("LAB_QEMU");
    // No kernel is to be had there, so that the run ends behind the installation.
    command.env("LAB_MIRROR", "http://127.0.0.1:9/debian");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// A folder for `PATH` that has the test's own `apt-get`, and nothing else.
fn folder_with_apt() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let apt = dir.path().join("apt-get");
    fs::write(&apt, APT).unwrap();
    fs::set_permissions(&apt, fs::Permissions::from_mode(0o755)).unwrap();
    dir
}

#[test]
fn two_labs_that_need_a_package_at_once_install_it_once() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: only root installs packages");
        return;
    }
    let dir = folder_with_apt();
    let both = [0; 2].map(|_| command(dir.path()).spawn().unwrap());
    for lab in both {
        let output = lab.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(69), "without a kernel: {said}");
        assert!(!said.contains("Could not get lock") && !said.contains("is missing"), "{said}");
        if let Some(installing) = said.find("installing qemu-system-x86: ") {
            assert_eq!(installing, 0, "it is said first: {said}");
        }
    }
    assert_eq!(fs::read_to_string(dir.path().join("log")).unwrap(), "update\ninstall\n");
}

/// QEMU may be of a suite of its own, whose lists are fetched apart; all others are of one.
#[test]
fn doctor_installs_all_packages_with_one_update_of_the_lists() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: only root installs packages");
        return;
    }
    let dir = folder_with_apt();
    let mut doctor = Command::new(LAB);
    doctor.args(["doctor", "--fix"]).env("PATH", dir.path()).env("LAB_CACHE", dir.path().join("cache"));
    doctor.env_remove("LAB_QEMU").env("LAB_MIRROR", "http://127.0.0.1:9/debian");
    let said = doctor.output().unwrap();
    let log = fs::read_to_string(dir.path().join("log")).unwrap();
    let count = |word: &str| log.lines().filter(|line| *line == word).count();
    assert!(count("update") <= 2 && count("install") >= 2, "{log}{said:?}");
}
