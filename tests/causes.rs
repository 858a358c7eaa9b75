//! Pages made of accepted results (causes, and obstacles on the way in) say what those say, and each topology of them was
//! seen on enough kernels.

#[path = "causes/delivery.rs"]
mod delivery;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use bondlab_core::plan::Need;
use bondlab_core::report::snapshot;
use bondlab_core::topology::Topology;
use bondlab_host::kernel::pins::Kernels;

const CAUSES: &str = "topologies/causes";
/// Fewest causes, and fewest kernels of each.
const CAUSES_MIN: usize = 25;
const KERNELS_MIN: usize = 6;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn files_of(folder: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(root().join(folder)).expect("the folder is there");
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("it can be read").path()).collect();
    files.sort();
    files
}

/// What the command makes of the accepted results, which the page in docs has to be.
fn assert_page(report: &str, folder: &str, page: &str) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lab"));
    let output = command.current_dir(root()).args(["report", report, folder]).output().expect("it starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let kept = fs::read_to_string(root().join(page)).expect("the page is there");
    let made = String::from_utf8(output.stdout).expect("text");
    let differs = kept.lines().zip(made.lines()).position(|(kept, made)| kept != made);
    assert!(
        kept == made,
        "{page} differs from the accepted results, first in line {}; `lab report {report} {folder} > {page}`",
        differs.unwrap_or(kept.lines().count().min(made.lines().count())) + 1
    );
}

#[test]
fn the_page_says_what_the_accepted_results_say() {
    assert_page("causes", CAUSES, "docs/causes.md");
}

/// Whether a cause needs a hook that Linux 5.10 has not: then that kernel says so, and has no result.
fn needs_a_newer_hook(cause: &Path) -> bool {
    let text = fs::read_to_string(cause).expect("it can be read");
    let topology = Topology::parse("cause", &cause.display().to_string(), &text);
    let topology = topology.unwrap_or_else(|errors| panic!("{errors}"));
    bondlab_core::plan::lower::lower(&topology).needs.iter().any(|need| matches!(need, Need::Hook { .. }))
}

#[test]
fn each_cause_was_seen_from_5_10_to_7_3() {
    let kernels = Kernels::built_in().expect("a unit test reads it too");
    let names: Vec<String> = kernels.pins().map(|pin| pin.name()).collect();
    let causes = files_of(CAUSES);
    assert!(causes.len() >= CAUSES_MIN, "{} causes", causes.len());
    for cause in causes {
        let stem = cause.file_stem().expect("it has a name").to_string_lossy().into_owned();
        let file = root().join("snapshots").join(snapshot::file_name(&stem).unwrap());
        let content = fs::read_to_string(file).unwrap_or_else(|error| panic!("{stem}: {error}"));
        let accepted = snapshot::Accepted::parse(&content).unwrap();
        let seen: Vec<&String> = names.iter().filter(|name| accepted.behaviour(name).is_some()).collect();
        assert!(seen.len() >= KERNELS_MIN, "{stem}: {seen:?}");
        let newest = ["7.3"].into_iter();
        let series = newest.chain((!needs_a_newer_hook(&cause)).then_some("5.10."));
        for series in series {
            assert!(
                seen.iter().any(|kernel| kernel.starts_with(series)),
                "{stem}: none of {series} in {seen:?}"
            );
        }
    }
}
