//! A matrix with a QEMU that says it is 7.2, which has no igb: a switch stands in for a PF, and nothing is compared.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Output};

use bondlab_core::report::behaviour::Behaviour;
use bondlab_core::report::snapshot;
use bondlab_host::vm::qemu::PROGRAM_VARIABLE;
use libtest_mimic::Trial;
use serde_json::json;
use tempfile::TempDir;

use crate::machine::{self, Bench, LAB};
use crate::{KERNEL, gallery_folder, lab_run, pin};

/// Of what a cache has, what a run only reads. What it keeps is its own: a test's result is none to be accepted.
const SHARED: [&str; 2] = ["kernels", "accelerator.json"];

/// What a switch can stand in for.
const VF: &str = r#"
[ns.node.pf.enp1s0]
driver = "igb"
vfs = 1
peer = "switch:p1"
[ns.pod.vf.net1]
of = "node:enp1s0"
index = 0
addresses = ["192.0.2.1/24"]
[ns.switch.nic.p1]
driver = "e1000e"
peer = "node:enp1s0"
addresses = ["192.0.2.2/24"]
[flow.out]
from = "pod:net1"
to = "switch:p1"
frames = 10
[[step]]
flood = "out"
[[expect]]
flow = "out"
field = "delivered"
equals = 10
"#;

pub fn trial() -> Trial {
    machine::trial("matrix: a QEMU without igb, and a switch in the place of a PF", pin(), |bench, _| {
        let place = Place::new(bench);
        let output = place.matrix();
        let matrix = lab_run::document(&output.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
        let [cable, vf] = [0, 1].map(|number| &matrix["cells"][number]);
        // A cable that is pulled out has no substitute.
        assert_eq!(cable["ran"], "skip", "{cable:#}");
        assert!(cable["reason"].as_str().is_some_and(|reason| reason.contains("QEMU 7.2.19 has none")));
        // Of the other, a failure was accepted, which is not looked at.
        let summary = json!([vf["outcome"], vf["fell_back"], vf["stand_ins"], vf["snapshot"]["standing"]]);
        assert_eq!(summary, json!(["pass", true, ["node:enp1s0 by switch"], "stood-in"]), "{vf:#}");
        let accepted = place.lab(&["accept", "vf"]);
        assert_eq!(accepted.status.code(), Some(1), "{accepted:?}");
        assert!(String::from_utf8_lossy(&accepted.stdout).contains("it shows a substitute"), "{accepted:?}");
    })
}

/// A folder with a cache, a topology, what was accepted for it, and a QEMU that says it is old.
struct Place(TempDir);

impl Place {
    fn new(bench: &Bench) -> Self {
        let place = Self(tempfile::tempdir().expect("a temporary directory"));
        let real = bench.qemu.path.display();
        let script = format!(
            "#!/bin/sh\nif [ \"$1\" = --version ]; then echo 'QEMU emulator version 7.2.19'\n\
             else exec '{real}' \"$@\"; fi\n"
        );
        place.write("qemu", &script);
        let executable = fs::Permissions::from_mode(0o755);
        fs::set_permissions(place.path().join("qemu"), executable).expect("it is ours");
        place.write("vf.toml", VF);
        let mut accepted = snapshot::Accepted::default();
        accepted.set(KERNEL, Behaviour::parse("outcome: fail")).expect("a name");
        let accepted = accepted.to_file("vf.toml", "lab matrix vf.toml");
        for folder in ["cache", "snapshots"] {
            fs::create_dir(place.path().join(folder)).expect("a temporary directory");
        }
        place.write("snapshots/vf.snap", &accepted);
        for name in SHARED {
            symlink(bench.cache.path(name), place.path().join("cache").join(name)).expect("a new name");
        }
        place
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path().join(name), text).expect("a temporary file");
    }

    fn matrix(&self) -> Output {
        let cable = gallery_folder().join("pod-vf-bond-cable.toml").display().to_string();
        self.lab(&["matrix", &cable, "vf.toml", "--kernels", KERNEL, "--format", "json", "--no-install"])
    }

    fn lab(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(LAB);
        command.args(arguments).current_dir(self.path()).env_remove("CI");
        command.env(PROGRAM_VARIABLE, self.path().join("qemu")).env("LAB_CACHE", self.path().join("cache"));
        command.output().expect("cargo has built it")
    }
}
