//! The failover page: each topology of the folder has its row, on the kernels that its behaviour was accepted on.
//!
//! Its milliseconds are a measurement and in no accepted result, so they are not compared.

use std::fs;
use std::path::Path;

use bondlab_core::report::snapshot;
use bondlab_host::kernel::pins::Kernels;

const FOLDER: &str = "topologies/failover";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn each_topology_has_a_row_with_all_kernels_and_a_line_in_the_plot() {
    let read = |name: &str| fs::read_to_string(root().join("docs").join(name)).expect("it is there");
    let (page, plot) = (read("failover.md"), read("failover.svg"));
    let kernels = Kernels::built_in().expect("a unit test reads it too");
    let quick = kernels.select("quick").expect("it is a set");
    let head = page.lines().find(|line| line.starts_with("| mode ")).expect("the page has its table");
    for kernel in &quick {
        assert!(head.contains(&kernel.name()), "{} has no column", kernel.name());
    }
    let mut count = 0;
    for entry in fs::read_dir(root().join(FOLDER)).expect("the folder is there") {
        let name = entry.expect("it can be read").file_name().to_string_lossy().into_owned();
        let row = page.lines().find(|line| line.contains(&format!("(../{FOLDER}/{name})")));
        let row = row.unwrap_or_else(|| panic!("{name} has no row: see `lab report failover --help`"));
        assert!(!row.contains(" - |") && !row.contains("error"), "{row}");
        let stem = name.trim_end_matches(".toml");
        let file = root().join("snapshots").join(snapshot::file_name(stem).unwrap());
        let content = fs::read_to_string(file).unwrap_or_else(|error| panic!("{stem}: {error}"));
        let accepted = snapshot::Accepted::parse(&content).unwrap();
        for kernel in &quick {
            assert!(
                accepted.behaviour(&kernel.name()).is_some(),
                "{stem}: nothing accepted on {}",
                kernel.name()
            );
        }
        assert!(
            row.contains("refused") || plot.contains(&format!("<title>{stem} on ")),
            "{stem}: not in the plot"
        );
        count += 1;
    }
    assert!(count >= 20, "{count} topologies");
}

#[test]
fn the_page_begins_with_the_preface_that_the_report_prints() {
    let read = |file: &str| fs::read_to_string(root().join(file)).expect("it is there");
    let preface = read("lab/core/report/failover/preface.md");
    assert!(read("docs/failover.md").starts_with(preface.trim_end()), "see `lab report failover --help`");
}
