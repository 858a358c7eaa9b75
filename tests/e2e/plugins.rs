//! Pods attached by the plugins' own programs and by what the lab does in their place: both leave the same.

use std::path::Path;

use lab::host::install;
use libtest_mimic::Trial;
use serde_json::Value;

use crate::{KERNEL, gallery_folder, lab_run, machine, pin};

const PACKAGE: &str = "containernetworking-plugins";
const FOLDER: &str = "/usr/lib/cni";
/// Each type that Debian's package has, by what attaches it and by what detaches it; and `dhcp` with its daemon.
const TOPOLOGIES: [&str; 7] = [
    "cni-real-plugins",
    "cni-real-plugins-del",
    "cni-real-bridge",
    "cni-dhcp",
    "cni-dhcp-next-pod",
    "cni-second-default-route",
    "cni-bridge-gateway",
];
/// What of a result says what ADD, CHECK and DEL came to. Counters have the kernel's own frames in them.
const COMPARED: [&str; 4] = ["outcome", "checks", "states", "flows"];

pub fn trials() -> Vec<Trial> {
    let trial = |name: &'static str| {
        machine::trial_with(format!("plugins: {name} by both ways"), pin(), installed, move |_, _| {
            let [own, real] = ["own", "real"].map(|way| result(name, way));
            assert_eq!(own["outcome"], "pass", "{own:#}");
            for part in COMPARED {
                lab_run::assert_same(
                    &own[part],
                    &real[part],
                    &format!("{part}: the lab's way and the plugins'"),
                );
            }
        })
    };
    TOPOLOGIES.into_iter().map(trial).collect()
}

fn result(name: &str, way: &str) -> Value {
    let topology = gallery_folder().join(format!("{name}.toml"));
    let more = ["--cni", way, "--cni-plugins", FOLDER];
    let (_, stdout) = lab_run::output_with(&topology, KERNEL, &more);
    lab_run::document(&stdout).expect("one document")
}

/// Debian's package, got where it is missing and we are root.
fn installed(_: &machine::Bench) -> Result<(), String> {
    let is_there = || Path::new(FOLDER).join("macvlan").is_file();
    if !is_there() && machine::is_root() && install::has_apt() {
        eprintln!("installing {PACKAGE}: the programs that the lab's own way is compared with");
        install::install(PACKAGE).map_err(|error| error.to_string())?;
    }
    if is_there() { Ok(()) } else { Err(format!("no plugins in {FOLDER}: apt-get install {PACKAGE}")) }
}
