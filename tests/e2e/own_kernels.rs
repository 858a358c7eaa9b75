//! Kernels from elsewhere: a Debian kernel in the layouts of Ubuntu, Fedora and Talos, added, booted and removed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use lab::host::kernel::modules::module_files;
use lab::host::kernel::store::Kernel;
use libtest_mimic::Trial;

use crate::layouts::{Parts, bzimage, deb, rpm};
use crate::machine::{LAB, trial};
use crate::{flagship, pin};

/// Where the modules are that a topology without NICs needs.
const MODULES: [&str; 8] = [
    "kernel/net/",
    "kernel/drivers/net/",
    "kernel/drivers/char/",
    "kernel/drivers/virtio/",
    "kernel/lib/",
    "kernel/crypto/",
    "kernel/fs/fuse/",
    "kernel/fs/overlayfs/",
];

/// The trials.
pub fn trials() -> [Trial; 2] {
    [
        trial("own kernels/each layout boots", pin(), |_, kernel| each_layout_boots(kernel)),
        trial("own kernels/damaged packages are no kernel", pin(), |_, _| damaged()),
    ]
}

/// The kernel of the cache, as packages are made of it.
fn parts(kernel: &Kernel) -> Parts {
    let elf = fs::read(&kernel.vmlinux).expect("it was unpacked");
    let dir = &kernel.modules.dir;
    let inside = |path: &Path| path.strip_prefix(dir).expect("below it").to_str().expect("ASCII").to_owned();
    let files = module_files(dir).expect("it was unpacked").into_iter().map(|path| (inside(&path), path));
    let wanted = files.filter(|(name, _)| MODULES.iter().any(|prefix| name.starts_with(prefix)));
    Parts {
        release: kernel.release.clone(),
        image: bzimage(&elf, &kernel.release),
        modules: wanted.map(|(name, path)| (name, fs::read(path).expect("it was unpacked"))).collect(),
        builtin: fs::read(dir.join("modules.builtin")).expect("it was unpacked"),
    }
}

fn lab(dir: &Path, arguments: &[&str]) -> Output {
    let mut lab = Command::new(LAB);
    lab.args(arguments).current_dir(dir).env("LAB_CACHE", dir.join("cache"));
    lab.output().expect("cargo has built it")
}

fn succeeds(dir: &Path, arguments: &[&str]) -> String {
    let output = lab(dir, arguments);
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{arguments:?}: {stdout}{}", String::from_utf8_lossy(&output.stderr));
    stdout
}

fn words(paths: &[PathBuf]) -> Vec<&str> {
    paths.iter().map(|path| path.to_str().expect("a plain path")).collect()
}

fn each_layout_boots(kernel: &Kernel) {
    let temporary = tempfile::tempdir().expect("a temporary folder");
    let dir = temporary.path();
    let parts = parts(kernel);
    let (debs, rpms) = (parts.ubuntu(&dir.join("ubuntu")), parts.fedora(&dir.join("fedora")));
    let (image, modules) = parts.folder(&dir.join("talos"));
    let talos = [image, modules];
    let talos = words(&talos);
    succeeds(dir, &[&["kernels", "add", "--name", "ubuntu", "--deb"], &words(&debs)[..]].concat());
    succeeds(dir, &[&["kernels", "add", "--name", "fedora", "--rpm"], &words(&rpms)[..]].concat());
    let folder = ["kernels", "add", "--name", "talos", "--vmlinuz", talos[0], "--modules", talos[1]];
    succeeds(dir, &folder);

    let topology = flagship();
    let topology = topology.to_str().expect("a path of the project");
    for name in ["ubuntu", "fedora", "talos"] {
        let document =
            succeeds(dir, &["run", topology, "--kernel", name, "--accel", "tcg", "--format", "json"]);
        let document: serde_json::Value = serde_json::from_str(&document).expect("a document");
        assert_eq!(document["outcome"], "pass", "{name}");
        assert_eq!(document["kernel"]["id"], name);
        assert_eq!(document["kernel"]["release"], kernel.release.as_str(), "{name}");
    }
    for name in ["ubuntu", "fedora", "talos"] {
        succeeds(dir, &["kernels", "remove", name]);
    }
    assert!(!lab(dir, &["run", topology, "--kernel", "ubuntu"]).status.success(), "it is not known any more");
}

fn damaged() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let file = vec![("./lib/modules/6.12.57/vmlinuz".to_owned(), b"text".to_vec())];
    for (option, bytes) in [("--deb", deb(&file)), ("--rpm", rpm(&file))] {
        let package = dir.path().join("package");
        fs::write(&package, bytes).expect("a temporary folder");
        let output = lab(dir.path(), &["kernels", "add", option, package.to_str().expect("a plain path")]);
        assert_eq!(output.status.code(), Some(65), "{}", String::from_utf8_lossy(&output.stderr));
    }
}
