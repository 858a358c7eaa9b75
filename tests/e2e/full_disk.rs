//! A cache on a disk that is full: what was to be saved is not, and no run is green for it.

use std::path::Path;
use std::process::{Command, Output};

use bondlab_host::kernel::store::Kernel;
use libtest_mimic::Trial;
use serde_json::json;

use crate::machine::{self, Bench, LAB};
use crate::{KERNEL, gallery_folder, lab_run, pin};

/// A small one.
const TOPOLOGY: &str = "causes/port-queue-held.toml";

pub fn trials() -> Vec<Trial> {
    vec![
        machine::trial("full disk: no room for the saved machine: cold, and it says so", pin(), not_saved),
        machine::trial("full disk: no room for the initramfs: no run", pin(), no_initramfs),
    ]
}

/// The lab in a mount namespace of its own, in which `disk` is small; `shared` of the cache is not on it.
fn lab_on(disk: &Path, size: &str, shared: &[&str], bench: &Bench) -> Output {
    let mut script =
        format!("mount -t tmpfs -o size={size},mode=0755 none '{0}' && cd '{0}'", disk.display());
    for part in shared {
        let whole = bench.cache.path(part);
        script += &format!(" && mkdir {part} && mount --bind '{}' {part}", whole.display());
    }
    // What is left on it is listed after the run.
    script += " && { \"$@\"; code=$?; find . -xdev -type f -size +64k >&2; exit $code; }";
    let mut command = Command::new("unshare");
    let namespaces = if nix::unistd::geteuid().is_root() { "--mount" } else { "-rm" };
    command.args([namespaces, "sh", "-c", &script, "sh", LAB, "run"]).arg(gallery_folder().join(TOPOLOGY));
    command.args(["--kernel", KERNEL, "--format", "json", "--no-install", "--accel", "tcg"]);
    command.env("LAB_CACHE", disk).output().expect("unshare is part of util-linux")
}

fn not_saved(bench: &Bench, _: &Kernel) {
    // The initramfs is in the cache then.
    let (_, with_room) = lab_run::run(&gallery_folder().join(TOPOLOGY), KERNEL);
    let disk = tempfile::tempdir().expect("a temporary directory");
    let output = lab_on(disk.path(), "4m", &["kernels", "initramfs"], bench);
    let said = String::from_utf8_lossy(&output.stderr);
    let document = lab_run::document(&output.stdout).unwrap_or_else(|error| panic!("{error}: {said}"));
    assert_eq!((output.status.code(), &document["outcome"]), (Some(0), &json!("pass")), "{said}");
    assert!(said.contains("could not be saved") && said.contains("booted cold"), "{said}");
    assert!(!said.contains("./machines/"), "nothing half made is left: {said}");
    lab_run::assert_same(
        &lab_run::findings(&document),
        &lab_run::findings(&with_room),
        "on a full disk | with room",
    );
}

fn no_initramfs(bench: &Bench, _: &Kernel) {
    let disk = tempfile::tempdir().expect("a temporary directory");
    let output = lab_on(disk.path(), "1m", &["kernels"], bench);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(![Some(0), Some(1)].contains(&output.status.code()), "{said}");
    assert!(said.contains("No space left on device"), "{said}");
    assert!(
        !said.contains("./initramfs/") && !said.contains("./scratch/"),
        "nothing half made is left: {said}"
    );
}
