//! Every file of snapshots/ is read into values and written again without a difference, and the README shows what two of them say.

use std::fs;
use std::path::Path;

use bondlab_core::report::behaviour::{self, Label};
use bondlab_core::report::grid;
use bondlab_core::report::snapshot::{self, Accepted};
use bondlab_host::kernel::pins::Kernels;

/// The number of files below which the test has not found them.
const FILES_MIN: usize = 150;

#[test]
fn every_snapshot_is_read_and_written_without_a_difference() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("snapshots");
    let mut read = 0;
    for entry in fs::read_dir(&folder).expect("the folder is there") {
        let path = entry.expect("it can be read").path();
        if path.extension().is_none_or(|ending| ending != "snap") {
            continue;
        }
        let content = fs::read_to_string(&path).expect("it can be read");
        let accepted =
            Accepted::parse(&content).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let (_, body) = content.split_once("\n---\n").expect("it has a header");
        assert!(body.trim_end() == accepted.body(), "{}: it is written otherwise", path.display());
        for kernel in accepted.kernels() {
            let behaviour = accepted.behaviour(kernel).expect("it is one of its kernels");
            // A line that is taken for a name is one that the reader does not know.
            let unknown = behaviour.lines.iter().find(|line| matches!(line.label, Label::Name(_)));
            assert!(unknown.is_none(), "{} on {kernel}: {unknown:?}", path.display());
        }
        read += 1;
    }
    assert!(read >= FILES_MIN, "{read} snapshots");
}

/// The topologies whose groups the README shows.
const SHOWN: [&str; 2] = ["carrierless-bond-drops", "veth-ring-full"];

/// What the README shows of a matrix on all kernels is what is accepted of them.
#[test]
fn the_readme_has_the_groups_of_the_accepted_results() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let readme = words(&fs::read_to_string(root.join("README.md")).expect("it is there"));
    let kernels = Kernels::built_in().expect("a unit test reads it too");
    let order = kernels.select("all").expect("it is a set");
    let order: Vec<String> = order.into_iter().map(|pin| pin.name()).collect();
    for name in SHOWN {
        let file = root.join("snapshots").join(snapshot::file_name(name).expect("a name"));
        let content = fs::read_to_string(file).expect("it is there");
        let accepted = Accepted::parse(&content).unwrap_or_else(|error| panic!("{name}: {error}"));
        let seen = order.iter().filter_map(|kernel| {
            let (behaviour, _) = accepted.behaviour(kernel)?.clone().split_features();
            Some((kernel.as_str(), behaviour))
        });
        let seen: Vec<_> = seen.collect();
        assert_eq!(seen.len(), order.len(), "{name} is accepted on every kernel");
        let groups = behaviour::group(seen.iter().map(|(kernel, behaviour)| (*kernel, behaviour)));
        let ranges: Vec<_> = groups.iter().map(|group| behaviour::ranges(&order, &group.kernels)).collect();
        let all: Vec<_> = groups.iter().map(|group| &group.behaviour).collect();
        let differences = grid::differences(&behaviour::differences(&all), "", usize::MAX);
        let shown =
            words(&format!("{name}: {} behaviours\n{}\n{differences}", groups.len(), ranges.join(" | ")));
        assert!(readme.contains(&shown), "the README does not have:\n{shown}");
    }
}
