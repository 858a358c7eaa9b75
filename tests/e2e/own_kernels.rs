//! Kernels from elsewhere: a Debian kernel in the layouts of Ubuntu, Fedora and Talos, added, booted and removed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use bondlab_host::kernel::modules::module_files;
use bondlab_host::kernel::pins::KernelPin;
use bondlab_host::kernel::store::Kernel;
use libtest_mimic::Trial;

use crate::layouts::{Parts, bzimage, deb, rpm};
use crate::machine::{self, Bench, LAB, trial, trial_with};
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
pub fn trials() -> [Trial; 3] {
    [
        trial_with(
            "own kernels/in a set, a matrix, a search and snapshots",
            pin(),
            older_kernel,
            |bench, newer| {
                let older = bench.kernel(&older_pin()).expect("it is here");
                in_sets_matrix_bisect_and_snapshots(&older, newer);
            },
        ),
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
    // Results without an accepted snapshot are what this is about, and with CI set they are failures.
    lab.args(arguments).current_dir(dir).env("LAB_CACHE", dir.join("cache")).env_remove("CI");
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

/// A bond that has lost its only port: kernels count and name the loss differently.
const NO_PORT: &str = r#"
[ns.a.bond.bond0]
mode = "active-backup"
miimon = 100
ports = ["p"]
addresses = ["192.0.2.1/24"]
[ns.a.veth.p]
peer = "b:p"
[ns.b.veth.p]
peer = "a:p"
addresses = ["192.0.2.2/24"]
[fault.release.no-port]
device = "a:p"
[flow.f]
from = "a:bond0"
to = "b:p"
frames = 20
socket = "packet"
[[step]]
inject = "no-port"
[[step]]
flood = "f"
[[expect]]
flow = "f"
field = "delivered"
equals = 0
"#;

fn older_pin() -> KernelPin {
    machine::pins("5.10.262").remove(0)
}

fn older_kernel(bench: &Bench) -> Result<(), String> {
    bench.kernel(&older_pin()).map(drop)
}

/// Adds a kernel of the cache as one of the user's own.
fn add(dir: &Path, name: &str, kernel: &Kernel) {
    let modules = dir.join("modules").join(name).join(&kernel.release);
    fs::create_dir_all(modules.parent().expect("it is in a folder")).expect("a temporary folder");
    std::os::unix::fs::symlink(&kernel.modules.dir, &modules).expect("a temporary folder");
    let paths = [kernel.vmlinux.clone(), modules];
    let [image, modules] = words(&paths)[..] else { unreachable!("two paths are two words") };
    succeeds(dir, &["kernels", "add", "--name", name, "--vmlinuz", image, "--modules", modules]);
}

fn in_sets_matrix_bisect_and_snapshots(older: &Kernel, newer: &Kernel) {
    let temporary = tempfile::tempdir().expect("a temporary folder");
    let dir = temporary.path();
    for (name, kernel) in [("older", older), ("newer", newer)] {
        add(dir, name, kernel);
    }
    let pins = dir.join("kernels.local.toml");
    let text = fs::read_to_string(&pins).expect("kernels were added");
    fs::write(&pins, text + "\n[sets]\nmine = [\"older\", \"newer\"]\n").expect("it was written before");
    fs::write(dir.join("no-port.toml"), NO_PORT).expect("a temporary folder");

    let matrix = ["matrix", "no-port.toml", "--kernels", "mine", "-j", "1", "--accel", "tcg", "--no-install"];
    let shown = succeeds(dir, &matrix);
    assert!(shown.contains("2 pass; 2 without a snapshot"), "{shown}");
    assert!(shown.contains("older | newer\n    main, a:bond0: tx_dropped 0 | tx_dropped 20\n"), "{shown}");

    let shown = succeeds(dir, &["accept"]);
    assert!(shown.contains("new     no-port on older: pass") && shown.contains("2 taken"), "{shown}");
    let accepted = fs::read_to_string(dir.join("snapshots/no-port.snap")).expect("it was taken");
    assert!(
        accepted.contains("behaviour of newer\n") && accepted.contains("behaviour of older\n"),
        "{accepted}"
    );
    let shown = succeeds(dir, &matrix);
    assert!(shown.contains("2 cells: 2 pass\n"), "as accepted: {shown}");
    // A snapshot that says something else is a difference.
    let changed = accepted.replace("tx_dropped 20", "tx_dropped 19");
    fs::write(dir.join("snapshots/no-port.snap"), changed).expect("it was taken");
    let output = lab(dir, &matrix);
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stdout));

    let search = ["--good", "older", "--bad", "newer", "--accel", "tcg", "--no-install"];
    let shown = succeeds(dir, &[&["bisect", "no-port.toml"], &search[..]].concat());
    let change = "the behaviour changes between older and newer (older | newer):\n    main, a:bond0: tx_dropped 0 | tx_dropped 20\n";
    assert!(shown.contains(change), "{shown}");
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
