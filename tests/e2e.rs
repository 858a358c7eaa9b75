//! End to end: each topology of the gallery on each kernel asked for, compared with its snapshot; and the claims of the
//! reports, looked up in the result as a user's script would.
//!
//! `LAB_KERNELS` names kernels as `--kernel` does: a version, a set, a range; else the set `quick`. Without it a topology runs on
//! its own kernel, and once for each behaviour that was accepted, on the newest kernel of those that have it. The other cells
//! are ignored with that reason and counted; `LAB_FULL=1`, for the night, and `--include-ignored` run every cell. A snapshot says what a kernel does, bugs included; `INSTA_UPDATE=always` writes new ones, and CI
//! never does.

use std::num::NonZero;
use std::path::PathBuf;
use std::process::ExitCode;

use bondlab_host::kernel::pins::KernelPin;
use libtest_mimic::{Arguments, Trial};

#[path = "e2e/capture.rs"]
mod capture;
#[path = "e2e/exec.rs"]
mod exec;
#[path = "e2e/full_disk.rs"]
mod full_disk;
#[path = "e2e/gallery.rs"]
mod gallery;
#[path = "e2e/gallery_by_switch.rs"]
mod gallery_by_switch;
#[path = "e2e/lab_run.rs"]
mod lab_run;
mod layouts;
#[path = "e2e/library.rs"]
mod library;
mod machine;
#[path = "e2e/old_qemu.rs"]
mod old_qemu;
#[path = "e2e/own_kernels.rs"]
mod own_kernels;
#[path = "shown/own_side.rs"]
mod own_side;
#[path = "e2e/pcap.rs"]
mod pcap;
#[path = "e2e/plugins.rs"]
mod plugins;
#[path = "e2e/proofs.rs"]
mod proofs;
mod random;
#[path = "e2e/random_topologies.rs"]
mod random_topologies;
#[path = "e2e/report.rs"]
mod report;
#[path = "e2e/reproducer.rs"]
mod reproducer;
#[path = "e2e/runner.rs"]
mod runner;
#[path = "e2e/shared.rs"]
mod shared;
#[path = "e2e/shared_guest.rs"]
mod shared_guest;
#[path = "e2e/soak.rs"]
mod soak;
#[path = "e2e/stand_ins.rs"]
mod stand_ins;
#[path = "e2e/step.rs"]
mod step;
#[path = "e2e/terminal.rs"]
mod terminal;
#[path = "e2e/this_kernel.rs"]
mod this_kernel;
#[path = "e2e/verdicts.rs"]
mod verdicts;

/// Which kernels the gallery runs on.
const KERNELS_VARIABLE: &str = "LAB_KERNELS";
/// Whether every cell runs.
const FULL_VARIABLE: &str = "LAB_FULL";
/// The report's own kernel, for what is not about differences between kernels.
const KERNEL: &str = "6.12.57";

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // Half of a run is waiting: for the carrier of a NIC, for LACP, for a monitor to look.
    let processors = std::thread::available_parallelism().map_or(1, NonZero::get);
    arguments.test_threads.get_or_insert(2 * processors);
    let kernels = std::env::var(KERNELS_VARIABLE);
    let runs_all = kernels.is_ok() || machine::is_set(FULL_VARIABLE) || arguments.include_ignored;
    let pins = machine::pins(kernels.as_deref().unwrap_or("quick"));
    let mut trials: Vec<Trial> = vec![gallery::no_stray_snapshots()];
    trials.extend(gallery::cells(topologies(), &pins, runs_all, &arguments));
    trials.extend(proofs::trials());
    trials.extend(shared_guest::trials());
    trials.extend(capture::trials());
    trials.extend(exec::trials());
    trials.extend(step::trials());
    trials.extend(terminal::trials());
    trials.extend(library::trials());
    trials.extend(runner::trials());
    trials.extend(report::trials());
    trials.extend(reproducer::trials());
    trials.extend(pcap::trials());
    trials.extend(verdicts::trials());
    trials.extend(own_kernels::trials());
    trials.extend(plugins::trials());
    trials.extend(stand_ins::trials());
    trials.extend(gallery_by_switch::trials());
    trials.push(old_qemu::trial());
    trials.extend(this_kernel::trials());
    trials.extend(full_disk::trials());
    trials.push(random_topologies::trial());
    trials.push(soak::trial());
    trials.push(soak::rounds());
    let conclusion = libtest_mimic::run(&arguments, trials);
    for summary in [gallery::summary(), proofs::summary(), shared::summary()].into_iter().flatten() {
        println!("{summary}\n");
    }
    conclusion.exit_code()
}

/// The gallery and its folders, in the order of names.
fn topologies() -> Vec<PathBuf> {
    let mut paths = Vec::new();
    let mut folders = vec![gallery_folder()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("the gallery is there") {
            let path = entry.expect("it can be read").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "toml") {
                paths.push(path);
            }
        }
    }
    paths.sort();
    assert!(!paths.is_empty(), "{} is empty", gallery_folder().display());
    paths
}

fn gallery_folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("topologies")
}

/// The topology of the report, which the tests that are not about topologies use.
fn flagship() -> PathBuf {
    gallery_folder().join("vlan-over-bond-tx-drop.toml")
}

/// The pin of [`KERNEL`].
fn pin() -> KernelPin {
    machine::pins(KERNEL).remove(0)
}
